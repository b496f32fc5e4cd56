"""The world in a thread of its own, for clients that are not of Trio."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from tests.frontends.reference.kept import kept
from tests.frontends.reference.world import MAKERS, World, open_world


@dataclass(frozen=True, slots=True)
class Target:
    """A served demo, elsewhere."""

    world: World
    token: trio.lowlevel.TrioToken
    made: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def base_url(self) -> str:
        """Where it listens."""
        return str(self.world.client.base_url)

    @property
    def key(self) -> str:
        """Of the account."""
        return str(self.world.client.headers["authorization"]).removeprefix("Bearer ")

    def kept(self) -> dict[str, str]:
        """What a provider keeps for the account."""
        return trio.from_thread.run(kept, self.world, trio_token=self.token)

    def known(self, variable: str, operation: str) -> str | None:
        """What may stand for a variable of the operation's path; made once for each."""
        maker = MAKERS.get(variable)
        if maker is None:
            return None
        if (variable, operation) not in self.made:
            self.made[variable, operation] = trio.from_thread.run(
                maker, self.world, operation, trio_token=self.token
            )
        return self.made[variable, operation]


@contextmanager
def open_target(folder: Path) -> Iterator[Target]:
    """Serve until the block is left; then the invariants are checked."""
    started: queue.SimpleQueue[Target | BaseException] = queue.SimpleQueue()
    stop = trio.Event()

    async def serve() -> None:
        async with open_world(folder) as world:
            started.put(Target(world, trio.lowlevel.current_trio_token()))
            await stop.wait()

    def run() -> None:
        try:
            trio.run(serve)
        except BaseException as error:
            started.put(error)
            raise

    thread = threading.Thread(target=run)
    thread.start()
    target = started.get(timeout=60)
    if isinstance(target, BaseException):
        raise target
    try:
        yield target
    finally:
        trio.from_thread.run_sync(stop.set, trio_token=target.token)
        thread.join(60)
    assert not thread.is_alive()
    assert started.empty(), started.get()
