"""The answer to one request as something to read: what the httpx transport hands to its caller.

The reader of the connection puts in, the caller takes out; the provider may send as many bytes
more as were taken, so an answer that nobody reads holds up no other.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Final

import httpx
import trio

from engine.errors import UpstreamError
from engine.lateness import listen_if_late
from engine.wire.http import Delivery, Headers
from engine.wire.http2 import ErrorCodes

from .errors import StreamLostError
from .streams import UpstreamStream

_UPLOAD_CHECKS: Final = 8
"""Looks at an upload's progress in the shortest of its timeouts, at least 8 a second."""


class Answer(httpx.AsyncByteStream):
    """Receives one upstream stream; iterated by httpx.

    Attributes:
        head: status and fields, once they have come.
        unprocessed: it failed, and the provider never acted on the request.
    """

    def __init__(self, read_timeout_s: float, on_over: Callable[[Answer], None]) -> None:
        self.head: Headers | None = None
        self.unprocessed = False
        self._read_timeout_s = read_timeout_s
        self._on_over = on_over
        self._stream: UpstreamStream | None = None
        self._parts: list[bytes] = []
        self._flow_bytes = 0
        self._ended = False
        self._closed = False
        self._error: httpx.TransportError | None = None
        self._changed = trio.Event()

    # -- what the transport asks ------------------------------------------------------------------

    @property
    def over(self) -> bool:
        """Nothing more comes from the provider."""
        return self._ended or self._closed or self._error is not None

    def opened(self, stream: UpstreamStream) -> None:
        """The request is on its way on this stream."""
        self._stream = stream

    async def wait_changed(self) -> None:
        """Return when something has come since the last wait."""
        await self._changed.wait()
        self._changed = trio.Event()

    async def wait_ready(self) -> None:
        """Until there is something to take, or the end. Unlike taking it, it can be given up."""
        while not (self._parts or self.over):
            await self.wait_changed()

    async def wait_head(self, write_timeout_s: float) -> Headers:
        """Status and fields. Until the request has gone out, only its progress is timed.

        Raises:
            httpx.WriteTimeout, httpx.ReadTimeout: nothing moved in time; the stream is reset.
            httpx.TransportError: the stream failed first.
        """
        assert self._stream is not None
        progress_s, unsent_bytes = trio.current_time(), self._stream.unsent_bytes
        pause_s = min(write_timeout_s, self._read_timeout_s, 1.0) / _UPLOAD_CHECKS
        while self.head is None:
            if self._error is not None:
                raise self._error
            if not unsent_bytes:
                await self._wait()
                continue
            with trio.move_on_after(pause_s):
                await self.wait_changed()
            now_s, left_bytes = trio.current_time(), self._stream.unsent_bytes
            if left_bytes < unsent_bytes:
                progress_s, unsent_bytes = now_s, left_bytes
            elif now_s - progress_s >= write_timeout_s:
                self.fail(httpx.WriteTimeout("The provider took nothing of the request."))
        return self.head

    @property
    def http_version(self) -> str:
        """As in a request line."""
        assert self._stream is not None
        return self._stream.http_version

    def fail(self, error: httpx.TransportError) -> None:
        """Reset the stream; whoever reads gets this error after what has come."""
        if not self.over:
            self._error = error
            self._let_go()

    # -- what httpx asks --------------------------------------------------------------------------

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if (data := await self._next()) is None:
            raise StopAsyncIteration
        return data

    async def aclose(self) -> None:
        """Reset the stream if it has not ended. Does not wait."""
        self.close()

    def close(self) -> None:
        """Reset the stream if it has not ended; what was not read is dropped."""
        self._closed = True
        self._parts.clear()
        self._let_go()

    async def _next(self) -> bytes | None:
        """Everything that has come, as one piece; None at the end."""
        while True:
            if self._closed:
                raise httpx.StreamClosed
            if self._parts:
                await trio.lowlevel.checkpoint_if_cancelled()
                data, flow_bytes = b"".join(self._parts), self._flow_bytes
                self._parts.clear()
                self._flow_bytes = 0
                assert self._stream is not None
                self._stream.acknowledge(flow_bytes)
                if data:
                    return data
            elif self._error is not None:
                raise self._error
            elif self._ended:
                return None
            else:
                await self._wait()

    async def _wait(self) -> None:
        due_s = trio.current_time() + self._read_timeout_s
        try:
            with trio.move_on_at(due_s):
                await self.wait_changed()
                return
            await listen_if_late(due_s)
        except trio.Cancelled:
            self.close()  # who read it is gone: the provider is told now, not when httpx gets to it
            raise
        if not self._changed.is_set():
            self.fail(httpx.ReadTimeout("The provider was silent for too long."))

    # -- what the connection's reader calls -------------------------------------------------------

    def deliver(self, delivery: Delivery) -> None:
        """See Receiver."""
        if delivery.head is not None:
            self.head = delivery.head
        if delivery.flow_bytes and not self._closed:
            self._parts.append(delivery.data)
            self._flow_bytes += delivery.flow_bytes
        if delivery.reset_code is not None:
            self.unprocessed = delivery.unprocessed
            self._over(httpx.RemoteProtocolError(_reset_message(delivery.reset_code)))
        elif delivery.ended:
            self._over(None)
        self._changed.set()

    def lost(self, error: UpstreamError) -> None:
        """See Receiver."""
        self.unprocessed = isinstance(error, StreamLostError) and error.unprocessed
        self._over(httpx.ReadError(error.message))
        self._changed.set()

    def _over(self, error: httpx.TransportError | None) -> None:
        if error is None:
            self._ended = True
        elif self._error is None:
            self._error = error
        self._on_over(self)

    def _let_go(self) -> None:
        if self._stream is not None:
            self._stream.reset_nowait()
        self._changed.set()
        self._on_over(self)


def _reset_message(code: int) -> str:
    name = ErrorCodes(code).name if code in ErrorCodes._value2member_map_ else hex(code)
    return f"The provider reset the stream: {name}."
