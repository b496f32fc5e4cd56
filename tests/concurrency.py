"""Where flake8-async has something to look for."""

from __future__ import annotations

import re

CONCURRENT = re.compile(r"\basync\b|\btrio\b|\bBaseException\b|\bexcept:")
"""Where none of these is, there is nothing: in two thirds of our files, and in functions of others
that name nothing imported by a line with one."""
