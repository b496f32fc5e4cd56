"""One open stream of an HTTP/2 connection, and the errors of both."""

from __future__ import annotations

from dataclasses import dataclass

from h2.stream import H2Stream

from .http import Delivery, Headers


class Http2Error(Exception):
    """The connection must end: write what `outgoing()` holds, then close.

    Attributes:
        code: RFC 9113 section 7.
        deliveries: what the same read brought before the fault; it counts.
    """

    def __init__(self, message: str, code: int, deliveries: list[Delivery] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.deliveries = deliveries or []


class Http2StreamLimit(Exception):  # noqa: N818
    """No stream can be opened now: the peer's limit is reached, or the connection drains."""


class Http2StreamClosed(Exception):  # noqa: N818
    """The stream can send no more: it ended, was reset, or never was."""


@dataclass(frozen=True, slots=True)
class Windows:
    """Bytes that may be sent and received: by the connection, and by the stream that may least."""

    send_bytes: int
    receive_bytes: int
    stream_send_min_bytes: int | None
    stream_receive_min_bytes: int | None


class Stream:
    """An open stream, and what this read has brought for it so far."""

    __slots__ = (
        "code", "data", "ended", "flow_bytes", "h2", "head", "head_sent", "left_bytes", "more",
        "no_body", "over", "receiving", "sending", "stream_id", "touched", "trailers",
        "unacknowledged", "unprocessed",
    )  # fmt: skip

    def __init__(self, stream_id: int, h2: H2Stream) -> None:
        self.stream_id = stream_id
        self.h2 = h2
        self.receiving = False
        """The head has come, the end has not: DATA may."""
        self.over = False
        """The end has come."""
        self.sending = True
        self.head_sent = False
        self.no_body = False
        self.left_bytes: int | None = None
        """What content-length still promises."""
        self.unacknowledged = 0
        self.data: list[bytes] = []
        self.flow_bytes = 0
        self.touched = False
        self.more = False
        """This read has brought more than data."""
        self.clear()

    def clear(self) -> None:
        """Forget what is not data."""
        self.more = False
        self.head: Headers | None = None
        self.trailers: Headers | None = None
        self.ended = False
        self.code: int | None = None
        self.unprocessed = False
