"""Where client bytes go: one buffer, one flusher."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import trio


class Sink(Protocol):
    """A client's side of a relay. Head, heartbeats and body all pass through it, in order."""

    @property
    def delivered_bytes(self) -> int:
        """How much of what was sent has been handed to the client."""

    @property
    def gone(self) -> bool:
        """The client has left."""

    def send_nowait(self, data: bytes) -> bool:
        """Take bytes; False when past the high-water mark: stop acknowledging. Never raises."""

    def uncork(self, head: bytes) -> None:
        """Send `head` and then whatever has gathered; a sink starts corked."""

    def abort(self) -> None:
        """Drop the client at once."""

    async def wait_drained(self) -> None:
        """Return when everything was handed to the client, or it has left."""


class Discard:
    """What a client that has left would have got; nothing of it is delivered."""

    gone = False

    def __init__(self, delivered_bytes: int) -> None:
        self.delivered_bytes = delivered_bytes

    def send_nowait(self, data: bytes) -> bool:
        """Let go of them; never past any mark."""
        return True

    def uncork(self, head: bytes) -> None:
        """Nobody is there."""

    def abort(self) -> None:
        """It has left already."""

    async def wait_drained(self) -> None:
        """Nothing waits."""
        await trio.lowlevel.checkpoint()


class PullSink:
    """A sink whose client takes the bytes itself, by `take`; what it took counts as delivered
    when it comes back for more."""

    def __init__(self, high_water_bytes: int, on_drained: Callable[[], None]) -> None:
        self.delivered_bytes = 0
        self.gone = False
        self._high_water_bytes = high_water_bytes
        self._on_drained = on_drained
        self._parts: list[bytes] = []
        self._waiting_bytes = 0
        self._taken_bytes = 0
        self._drained = trio.Event()
        self._drained.set()

    def send_nowait(self, data: bytes) -> bool:
        """Take bytes; False when past the high-water mark."""
        if data and not self.gone:
            self._parts.append(data)
            self._waiting_bytes += len(data)
            if self._drained.is_set():
                self._drained = trio.Event()
        return self._waiting_bytes < self._high_water_bytes

    def uncork(self, head: bytes) -> None:
        """The taker frames its own head; bytes are there to be taken from the start."""
        self.send_nowait(head)

    def abort(self) -> None:
        """Drop what waits."""
        self.gone = True
        self._parts.clear()
        self._waiting_bytes = 0
        self._drained.set()
        self._on_drained = _nobody_waits  # whoever waited holds the sink, and could not be freed

    def take(self) -> bytes:
        """Everything that waits, or b""; what was taken before is now delivered."""
        self.delivered_bytes += self._taken_bytes
        data = b"".join(self._parts)
        self._parts.clear()
        self._taken_bytes, self._waiting_bytes = len(data), 0
        self._drained.set()
        if data:
            self._on_drained()
        return data

    async def wait_drained(self) -> None:
        """Return when everything was taken."""
        await self._drained.wait()


def _nobody_waits() -> None:
    """Nothing will be taken any more."""


async def wait_taken(sink: Sink, stall_s: float) -> None:
    """Wait for a client to take what was sent; one that does not within `stall_s` has left."""
    with trio.move_on_after(stall_s) as scope:
        await sink.wait_drained()
    if scope.cancelled_caught:
        sink.abort()
