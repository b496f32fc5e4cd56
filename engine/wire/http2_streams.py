"""The open streams of an HTTP/2 connection: their windows, and how they end."""

from __future__ import annotations

from h2.errors import ErrorCodes
from h2.stream import StreamClosedBy

from .http2_limits import FloodGuard, Http2Limits
from .http2_machine import Http2Machine
from .http2_stream import Http2Error, Stream


class Http2Streams:
    """State of a connection; `Http2Inbound` adds what is received."""

    def __init__(
        self, *, client_side: bool, limits: Http2Limits, machine: Http2Machine, guard: FloodGuard
    ) -> None:
        self.client_side = client_side
        self.limits = limits
        self.draining = False
        """GOAWAY was seen or sent: no stream opens from here on."""
        self.goaway_last_id: int | None = None
        self.goaway_code: int | None = None
        self.settings_seen = 0
        """SETTINGS of the peer, acknowledgements not counted; 0: its preface has not come."""
        self.pings_answered = 0
        self.last_pong: bytes | None = None
        self._machine = machine
        self._guard = guard
        self._streams: dict[int, Stream] = {}
        self._touched: list[Stream] = []
        self._blocked: dict[int, None] = {}
        self._writable: dict[int, None] = {}
        self._failed: Http2Error | None = None

    def send_window(self, stream_id: int) -> int:
        """Bytes that could be sent on the stream now; 0 when it can send no more."""
        stream = self._streams.get(stream_id)
        return self._window(stream) if stream is not None and stream.sending else 0

    def reset(self, stream_id: int, code: int = ErrorCodes.CANCEL) -> None:
        """End the stream with RST_STREAM. Idempotent; what is still in flight is credited."""
        stream = self._streams.get(stream_id)
        if stream is None or self._failed is not None:
            return
        self._machine.reset_stream(stream_id, code)
        self._forget(stream)

    def _window(self, stream: Stream) -> int:
        window = min(
            self._machine.outbound_flow_control_window, stream.h2.outbound_flow_control_window
        )
        return max(0, window)

    def _forget_if_closed(self, stream: Stream) -> None:
        if stream.h2.closed:
            self._forget(stream)

    def _forget(self, stream: Stream, closed_by: StreamClosedBy | None = None) -> None:
        """The stream is closed: hand back what it holds of the connection's window."""
        stream.receiving = stream.sending = False
        self._credit_all(stream)
        del self._streams[stream.stream_id]
        self._blocked.pop(stream.stream_id, None)
        self._writable.pop(stream.stream_id, None)
        self._machine.forget(stream.h2, closed_by)

    def _credit_all(self, stream: Stream) -> None:
        if stream.unacknowledged:
            self._machine.credit(stream.unacknowledged, None)
            stream.unacknowledged = 0

    def _touch(self, stream: Stream) -> Stream:
        stream.more = True
        if not stream.touched:
            stream.touched = True
            self._touched.append(stream)
        return stream
