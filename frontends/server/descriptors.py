"""File descriptors: one for each client, and what the process needs besides."""

from __future__ import annotations

import logging
import resource
from contextlib import suppress
from typing import Final

log = logging.getLogger("parshall.server")

OTHERS: Final = 1_024
"""Connections to providers, which most share; the database; files."""


def make_room(connections_max: int) -> None:
    """Let this process open as many files as it may; warn where `connections_max` will not fit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(OSError, ValueError):  # some systems refuse what they call unlimited
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    needed = connections_max + OTHERS
    if soft != resource.RLIM_INFINITY and soft < needed:
        log.warning(
            "connections_max = %d needs up to %d open files, and %d are allowed: raise the limit "
            "(LimitNOFILE of systemd, ulimit -n), or lower connections_max",
            connections_max,
            needed,
            soft,
        )
