"""Waking one waiter, again and again."""

from __future__ import annotations

import trio


class Alarm:
    """Wakes one waiter; set again and again."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = trio.Event()

    def set(self) -> None:
        """Wake the waiter, now or when it comes."""
        self._event.set()

    async def wait(self) -> None:
        """Return when it is set, and unset it."""
        await self._event.wait()
        self._event = trio.Event()
