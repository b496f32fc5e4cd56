"""The table of what is followed: a row for each kind of jobs."""

from __future__ import annotations

from typing import Final

from engine.jobs.follows import MEDIA, Follows
from engine.jobs.responses import RESPONSE

FOLLOWS: Final[Follows] = {**MEDIA, "response": RESPONSE}
