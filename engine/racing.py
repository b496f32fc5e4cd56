"""What begins, beside what else happens meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from engine.nurseries import open_tasks


async def race(
    begin: Sequence[Callable[[], Awaitable[None]]],
    wait: Callable[[], Awaitable[bool]],
    begun: Callable[[], None],
) -> bool:
    """Have each of these begin while `wait` waits, which each that has `begun` wakes; what that
    returns. Whatever has not begun by then is cancelled: it leaves nothing behind, and can be taken
    up again."""

    async def run(one: Callable[[], Awaitable[None]]) -> None:
        await one()
        begun()

    async with open_tasks() as nursery:
        for each in begin:
            nursery.start_soon(run, each)
        changed = await wait()
        nursery.cancel_scope.cancel()
    return changed
