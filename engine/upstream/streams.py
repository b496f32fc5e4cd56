"""A stream, as the exchange that opened it sees it, and who gets its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from engine.errors import UpstreamError
from engine.wire.http import Delivery
from engine.wire.http2 import ErrorCodes

from .bodies import Body, SpooledBody

if TYPE_CHECKING:
    from .opening import AnyConnection


NO_BODY: Final = memoryview(b"")
_STEPS_PER_WINDOW: Final = 16


class Receiver(Protocol):
    """Who gets a stream's answer. Called by the reader; neither call may wait."""

    def deliver(self, delivery: Delivery) -> None:
        """Take what one read brought for this stream.

        A delivery with `ended` or `reset_code` is the last call. An exception ends the stream,
        and comes back through `lost`.
        """

    def lost(self, error: UpstreamError) -> None:
        """The stream ended without an end; the last call.

        `error` is a StreamLostError, whose `unprocessed` says that sending again is safe.
        """


class _Nobody:
    """Gets the answer that nobody wants."""

    def deliver(self, delivery: Delivery) -> None:
        """Forget it."""

    def lost(self, error: UpstreamError) -> None:
        """As expected."""


NOBODY: Final = _Nobody()


class UpstreamStream:
    """One request and its answer on a shared connection.

    The other attributes belong to the connection.
    """

    __slots__ = (
        "_connection", "_consumed_bytes", "_step_bytes", "body", "dispatched", "offset", "reading",
        "receiver", "spooled", "stream_id",
    )  # fmt: skip

    def __init__(
        self,
        connection: AnyConnection,
        stream_id: int,
        receiver: Receiver,
        body: Body,
        window_bytes: int,
    ) -> None:
        self.stream_id = stream_id
        self._consumed_bytes = 0
        self._step_bytes = window_bytes // _STEPS_PER_WINDOW
        self._connection = connection
        self.receiver: Receiver = receiver
        self.spooled = body if isinstance(body, SpooledBody) else None
        """What the rest of the body is read from; None once it has been."""
        self.offset = 0
        """How much of it has been read."""
        self.reading = False
        self.body = NO_BODY if isinstance(body, SpooledBody) else memoryview(body)
        """What is in memory of the body and not sent."""
        self.dispatched = False

    @property
    def http_version(self) -> str:
        """As in a request line: `HTTP/2` or `HTTP/1.1`."""
        return self._connection.http_version

    @property
    def unsent_bytes(self) -> int:
        """What is left of the body, in memory or in a file; 0 once all of it is on its way."""
        spooled = 0 if self.spooled is None else self.spooled.size_bytes - self.offset
        return len(self.body) + spooled

    def forget_body(self) -> None:
        """The request is over: what has not been sent of it never will be."""
        self.body = NO_BODY
        self.spooled = None

    def acknowledge(self, flow_bytes: int) -> None:
        """Delivered bytes have been consumed: the provider may send as many more.

        It is told of a part of the window at a time: a token is but a few bytes.
        """
        self._consumed_bytes += flow_bytes
        if self._consumed_bytes >= self._step_bytes:
            flow_bytes, self._consumed_bytes = self._consumed_bytes, 0
            self._connection.acknowledge(self, flow_bytes)

    def reset_nowait(self, code: int = ErrorCodes.CANCEL) -> None:
        """Tell the provider to stop. Nothing is delivered from here on. No-op when ended."""
        self._connection.reset(self, code)
        self.receiver = NOBODY  # who holds the stream, and could not be freed
