"""The wall clock, as what is told from outside: nothing of the engine reads it but through this.

Durations are measured by Trio's clock. This one may be set while the process runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Milliseconds since 1970, UTC."""


def wall_ms() -> int:
    """The system's clock."""
    return time.time_ns() // 1_000_000
