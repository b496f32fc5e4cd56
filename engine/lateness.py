"""Who was stopped listens before it judges who was silent.

A machine is stopped now and then: a virtual one that is moved, a container past its share. All its
deadlines are over when it goes on, and what has come meanwhile is still with the kernel, or on its
way there: timers are told first.
"""

from __future__ import annotations

from typing import Final

import trio

_LATE_S: Final = 0.1
"""Less late is nobody whose machine runs."""
_LISTEN_S: Final = 0.1
"""For many turns of the event loop: each reads 16 KiB of a connection that streams share."""


async def listen_if_late(due_s: float) -> None:
    """Who was to wake at `due_s`, in Trio's time, and wakes much later, waits for others to read
    what has come; in time it returns at once, without a checkpoint."""
    if trio.current_time() - due_s > _LATE_S:
        await trio.sleep(_LISTEN_S)


async def sleep_and_listen(seconds: float) -> None:
    """Sleep; where this process was stopped meanwhile, until what has come has been read."""
    due_s = trio.current_time() + seconds
    await trio.sleep_until(due_s)
    await listen_if_late(due_s)
