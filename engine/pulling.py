"""An exchange pulled as canonical events."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable

from engine.errors import GatewayError
from engine.events import Event


class Events:
    """Canonical events of one exchange; iterated once.

    `chunks` are the client's bytes, which make the events be `tapped`: those of the attempt that
    serves, which may be another one later. `error` is what the answer ended with, where it did not
    end well.
    """

    def __init__(
        self,
        chunks: AsyncIterator[bytes],
        tapped: Callable[[], deque[Event]],
        error: Callable[[], GatewayError | None],
    ) -> None:
        self._chunks = chunks
        self._tapped = tapped
        self._error = error

    def __aiter__(self) -> AsyncIterator[Event]:
        """Itself."""
        return self

    async def __anext__(self) -> Event:
        """The next event. Raises GatewayError, as `Exchange.events` says."""
        while not (tapped := self._tapped()):
            # The bytes are let go: taking them is what lets the provider send on.
            if await anext(self._chunks, None) is None and not self._tapped():
                if (error := self._error()) is not None:
                    raise error
                raise StopAsyncIteration
        return tapped.popleft()
