"""One HTTP/1.1 connection without I/O, client role (RFC 9112), on httptools.

llhttp, under httptools, says what is a head, a chunk or a trailer, and strictly refuses what is
none: bare line feeds, folded lines, Content-Length beside Transfer-Encoding. Decided here: which
answers have a body, where one may end, whether the connection can carry another request, and how
much of what is not content a server may send.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

import httptools

from .http import Delivery, Headers
from .http1_request import encode_request

__all__ = ["Http1Busy", "Http1ClosedError", "Http1Connection", "Http1Error", "Http1Limits"]

_CHUNK_HEAD_BYTES: Final = 64
"""What a chunk may cost beside its data: a size, two line ends, room for a small extension."""
_FIELD_OVERHEAD_BYTES: Final = 4
_OPENING: Final = b"HTTP/"
_LINE_END: Final = frozenset(b"\r\n")
_NO_BODY: Final = frozenset({204, 304})
_HOP_BY_HOP: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade"}
)
_keep_alive_timeout = re.compile(rb"(?:^|[,\s])timeout\s*=\s*(\d{1,6})(?!\d)").search


@dataclass(frozen=True, slots=True)
class Http1Limits:
    """Bounds on what a server may send beside content.

    Attributes:
        head_max_bytes: of a final head and the interim ones before it; of trailers.
        header_fields_max: in a head, in trailers.
        informational_max: interim (1xx) heads before an answer.
        framing_max_bytes: what chunk extensions and trailers may cost above 64 bytes a chunk.
    """

    head_max_bytes: int = 65_536
    header_fields_max: int = 128
    informational_max: int = 16
    framing_max_bytes: int = 16_384


class Http1Error(Exception):
    """The connection must end.

    Attributes:
        delivery: what the same read brought before the fault; it counts.
    """

    def __init__(self, message: str, delivery: Delivery | None = None) -> None:
        super().__init__(message)
        self.delivery = delivery


class Http1ClosedError(Http1Error):
    """The server closed the connection before its answer was whole."""


class Http1Busy(Exception):  # noqa: N818
    """No request can be sent now: one is being answered, or the connection is at its end."""


class _State(Enum):
    IDLE = auto()
    QUEUED = auto()
    """A request waits in `outgoing`; nothing of it has left."""
    HEAD = auto()
    """Waiting for the final head of the answer."""
    BODY = auto()
    CLOSED = auto()


class Http1Connection:
    """Bytes in, deliveries out; one request at a time. Nothing here waits.

    The owner writes `outgoing()` and then the request's body, and hands every read to `receive`,
    the empty one to `receive_eof`. It must not send another request on a connection whose last
    request's body it has not sent to the end.
    """

    def __init__(self, limits: Http1Limits = Http1Limits()) -> None:
        self._limits = limits
        self._state = _State.IDLE
        self._stream_id = 0
        self._head = b""
        self._answer: _Answer | None = None
        self._read_bytes = 0
        self._opening = b""
        self.keep_alive_s: float | None = None
        """How long the server says it keeps an idle connection (`Keep-Alive: timeout=`)."""

    @property
    def idle(self) -> bool:
        """A request can be sent."""
        return self._state is _State.IDLE

    @property
    def closed(self) -> bool:
        """Nothing more can be sent or received."""
        return self._state is _State.CLOSED

    @property
    def draining(self) -> bool:
        """No request can follow the one that is being answered."""
        answer = self._answer
        return self.closed or (answer is not None and answer.head_seen and not answer.persistent)

    @property
    def answer_begun(self) -> bool:
        """Something has come since the last request."""
        return self._read_bytes > 0

    # -- requests -------------------------------------------------------------------------------

    def next_stream(self, headers: Headers, *, body_bytes: int) -> int:
        """Queue a request's head; returns the id of its stream.

        Args:
            headers: as HTTP/2 takes them, pseudo-headers first.
            body_bytes: how long the body is that the owner will send after `outgoing()`.

        Raises:
            Http1Busy: not `idle`.
            MalformedFieldsError: the head cannot be said in HTTP/1.1.
        """
        if self._state is not _State.IDLE:
            raise Http1Busy("the connection is not idle")
        self._head = encode_request(headers, body_bytes)
        self._answer = _Answer(self._limits, head_only=(b":method", b"HEAD") in headers)
        self._state = _State.QUEUED
        self._stream_id += 1
        self._read_bytes = 0
        self._opening = b""
        return self._stream_id

    def outgoing(self) -> bytes:
        """Move out what is to be written now: from here on the request counts as sent."""
        head, self._head = self._head, b""
        if self._state is _State.QUEUED:
            self._state = _State.HEAD
        return head

    def withdraw(self) -> bool:
        """Forget a request of which nothing has left; False when it has."""
        if self._state is not _State.QUEUED:
            return False
        self._head = b""
        self._end(_State.IDLE)
        return True

    # -- answers --------------------------------------------------------------------------------

    def receive(self, data: bytes) -> Delivery | None:
        """Take what one read brought; None when none of it is for the stream.

        What follows a whole answer is not looked at; the connection is `closed` then.

        Raises:
            Http1Error: this is no answer, or to no request.
        """
        answer = self._answer
        if self._state is _State.CLOSED or not data:
            return None
        if answer is None or self._state is _State.QUEUED:
            self._end(_State.CLOSED)
            raise Http1Error("the server sent bytes without having been asked")
        self._read_bytes += len(data)
        body_before = answer.head_seen
        fault = (
            self._other_protocol(data)
            or answer.feed(data)
            or self._beyond_bounds(answer, len(data), body_before)
        )
        delivery = answer.take(self._stream_id)
        if fault is not None:
            self._end(_State.CLOSED)
            raise Http1Error(fault, delivery)
        if answer.over:
            self.keep_alive_s = answer.keep_alive_s
            reusable = answer.persistent and not answer.excess
            self._end(_State.IDLE if reusable else _State.CLOSED)
        elif answer.head_seen:
            self._state = _State.BODY
        return delivery

    def receive_eof(self) -> Delivery | None:
        """The server has ended its side.

        Raises:
            Http1ClosedError: in the middle of an answer, or before one. Only a body that has
                neither a length nor chunks ends so (RFC 9112 section 8).
        """
        state, answer = self._state, self._answer
        self._end(_State.CLOSED)
        if answer is None:
            return None
        if state is _State.BODY and answer.until_close:
            return Delivery(self._stream_id, ended=True)
        raise Http1ClosedError("the server closed the connection before the end of its answer")

    def _other_protocol(self, data: bytes) -> str | None:
        """llhttp would take RTSP and ICE too."""
        if len(self._opening) < len(_OPENING):
            self._opening = (self._opening + data)[: len(_OPENING)]
            if not _OPENING.startswith(self._opening):
                return "this is not HTTP/1.1"
        return None

    def _beyond_bounds(self, answer: _Answer, size: int, body_before: bool) -> str | None:
        if not answer.head_seen:
            if self._read_bytes > self._limits.head_max_bytes:
                return "the head is too large"
        elif body_before and answer.chunked and not answer.over:
            return answer.weigh_framing(size)
        return None

    def _end(self, state: _State) -> None:
        self._state = state
        if self._answer is not None:
            self._answer.close()
            self._answer = None


class _Refused(Exception):  # noqa: N818
    """Raised in a callback of the parser, which stops there."""


class _Answer:
    """One answer as it is parsed; its `on_` methods are what httptools calls."""

    def __init__(self, limits: Http1Limits, *, head_only: bool) -> None:
        self._limits = limits
        self._head_only = head_only
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._fields: Headers = []
        self._fields_bytes = 0
        self._interim_heads = 0
        self._head: Headers | None = None
        self._body: list[bytes] = []
        self._fed_bytes = 0
        self._chunks = 0
        self._framing_bytes = 0
        self.head_seen = False
        self.persistent = False
        self.chunked = False
        self.until_close = False
        self.keep_alive_s: float | None = None
        self.over = False
        self.excess = False
        """Something follows the answer."""

    def close(self) -> None:
        """Let go of the parser, which holds on to us."""
        self._parser = None

    def feed(self, data: bytes) -> str | None:
        """Parse; returns what is wrong, if anything is. What follows the answer is not wrong."""
        assert self._parser is not None
        self._chunks = 0
        self._fed_bytes = 0
        try:
            if self.head_seen and data[-1] not in _LINE_END:
                self._parser.feed_data(data)
                return None
            # Line ends after an answer, which llhttp skips in silence, show in that it is over
            # before the last byte.
            view = memoryview(data)
            if len(data) > 1:
                self._parser.feed_data(view[:-1])
            if self.over:
                self.excess = True
            else:
                self._parser.feed_data(view[-1:])
        except httptools.HttpParserCallbackError as error:
            if not isinstance(error.__context__, _Refused):
                raise
            return str(error.__context__)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self.over:
                return str(error)
            self.excess = True
        return None

    def take(self, stream_id: int) -> Delivery | None:
        """What has come since last asked."""
        head, self._head = self._head, None
        data = b"".join(self._body)
        self._body.clear()
        if head is None and not data and not self.over:
            return None
        trailers = self._kept(self._fields, frozenset()) if self.over else None
        return Delivery(
            stream_id,
            head=head,
            data=data,
            flow_bytes=len(data),
            trailers=trailers or None,
            ended=self.over,
        )

    def weigh_framing(self, size: int) -> str | None:
        """Bound what of `size` bytes was no content, above a fair share for each chunk."""
        own = size - self._fed_bytes - self._chunks * _CHUNK_HEAD_BYTES
        self._framing_bytes = max(0, self._framing_bytes + own)
        if self._framing_bytes > self._limits.framing_max_bytes:
            return "chunk extensions or trailers are too large"
        return None

    # -- what httptools calls -------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self.over:
            self.excess = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.over:
            return
        self._fields.append((name.lower(), value.strip(b" \t")))
        self._fields_bytes += len(name) + len(value) + _FIELD_OVERHEAD_BYTES
        if len(self._fields) > self._limits.header_fields_max:
            raise _Refused("there are too many header fields")
        if self._fields_bytes > self._limits.head_max_bytes:
            raise _Refused("the head is too large")

    def on_headers_complete(self) -> None:
        if self.over:
            return
        assert self._parser is not None
        status, version = self._parser.get_status_code(), self._parser.get_http_version()
        if version not in ("1.0", "1.1") or status < 100:
            raise _Refused("this is not HTTP/1.1")
        fields, self._fields = self._fields, []
        if status == 101:
            raise _Refused("the server switched protocols without having been asked")
        if status < 200:
            self._interim_heads += 1
            if self._interim_heads > self._limits.informational_max:
                raise _Refused("there are too many interim answers")
            return
        self._fields_bytes = 0
        self._read_head(status, version, fields)

    def on_body(self, data: bytes) -> None:
        if self.over:
            self.excess = True
            return
        self._body.append(data)
        self._fed_bytes += len(data)

    def on_chunk_header(self) -> None:
        self._chunks += 1
        if self.over:
            self.excess = True

    def on_message_complete(self) -> None:
        if self.head_seen:
            self.over = True

    def _read_head(self, status: int, version: str, fields: Headers) -> None:
        options = frozenset(
            option.strip().lower()
            for name, value in fields
            if name == b"connection"
            for option in value.split(b",")
        )
        named = dict(fields)
        codings = [value.lower() for name, value in fields if name == b"transfer-encoding"]
        if codings and (codings != [b"chunked"] or version == "1.0"):
            raise _Refused("the transfer coding is not 'chunked', or not of HTTP/1.1")
        self.chunked = bool(codings)
        self.over = self._head_only or status in _NO_BODY
        self.until_close = not (self.over or self.chunked or b"content-length" in named)
        wanted = b"close" not in options and (version == "1.1" or b"keep-alive" in options)
        self.persistent = wanted and not self.until_close
        if timeout := _keep_alive_timeout(named.get(b"keep-alive", b"")):
            self.keep_alive_s = float(timeout[1])
        self._head = [(b":status", b"%d" % status), *self._kept(fields, options)]
        self.head_seen = True

    @staticmethod
    def _kept(fields: Headers, options: frozenset[bytes]) -> Headers:
        """Without what is about the connection (RFC 9110 section 7.6.1)."""
        dropped = _HOP_BY_HOP | options if options else _HOP_BY_HOP
        return [field for field in fields if field[0] not in dropped]
