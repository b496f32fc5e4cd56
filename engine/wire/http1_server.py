"""The requests of one HTTP/1.1 connection without I/O, server role.

One request at a time: the next is looked at only after the answer. Heads are read by `http1_head`;
chunks are read here, since a reader of pipelined requests has to know at which byte a body ends
(RFC 9112 section 7.1), and as strictly.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, NamedTuple

from .http1_head import CHUNKED, HEADER_FIELDS_MAX, BadHead, RequestHead, read_head

__all__ = ["BadFraming", "Body", "RequestLimits", "RequestReader"]


CHUNK_MIN_BYTES: Final = 64


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """Bounds on what a client may send beside content.

    Attributes:
        head_max_bytes: of a request's head.
        header_fields_max: in a head.
        chunk_line_max_bytes: of a chunk's size with its extensions.
        framing_max_bytes: what the extensions and trailers of one body may cost in all.
        small_chunks_max: of one body; more have to hold `CHUNK_MIN_BYTES` on average.
    """

    head_max_bytes: int = 32_768
    header_fields_max: int = HEADER_FIELDS_MAX
    chunk_line_max_bytes: int = 1_024
    framing_max_bytes: int = 16_384
    small_chunks_max: int = 256


class Body(NamedTuple):
    """What has come of a request's body. A tuple because one is made for every read."""

    data: bytes
    ended: bool


class BadFraming(Exception):  # noqa: N818
    """A body that nobody can tell the end of: 400, and the connection has to end."""

    status: Final = 400


class _State(Enum):
    HEAD = auto()
    LENGTH = auto()
    CHUNK_SIZE = auto()
    CHUNK_DATA = auto()
    CHUNK_END = auto()
    TRAILERS = auto()
    DONE = auto()
    """The request is whole; what follows waits until `next_request`."""
    FAILED = auto()


_search_end: Final = re.compile(rb"\n\r*+\n").search
"""Where a head ends, also one that is not said properly, so that it is refused at once."""
_match_start: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]").match
_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_QUOTED: Final = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*+"'
_match_size: Final = re.compile(
    rb"([0-9A-Fa-f]{1,16}+)((?:;%b(?:=(?:%b|%b))?)*+)" % (_TOKEN, _TOKEN, _QUOTED)
).fullmatch
_match_plain_size: Final = re.compile(rb"([0-9A-Fa-f]{1,16}+)\r\n").match
_match_trailer: Final = re.compile(rb"(%b):[\t\x20-\x7e\x80-\xff]*+" % _TOKEN).fullmatch
_REFUSED_TRAILERS: Final = frozenset({b"content-length", b"transfer-encoding", b"host"})


class RequestReader:
    """Bytes in, requests out. Any split of the same bytes gives the same, but for where bodies
    are cut into pieces."""

    def __init__(self, limits: RequestLimits = RequestLimits()) -> None:
        self._limits = limits
        self._state = _State.HEAD
        self._data = b""
        self._searched = 0
        self._skipped_line = False
        self._left_bytes = 0
        self._framing_bytes = 0
        self._chunks = 0
        self._chunked_bytes = 0

    @property
    def done(self) -> bool:
        """The whole request has been given; the next one waits for `next_request`."""
        return self._state is _State.DONE

    @property
    def waiting_bytes(self) -> int:
        """What was fed and is not given yet: a part of a head, or what follows the request."""
        return len(self._data)

    def feed(self, data: bytes) -> None:
        """Take what one read brought."""
        self._data = self._data + data if self._data else data

    def take_rest(self) -> bytes:
        """What follows the request, for whoever speaks another protocol from here on."""
        assert self._state is _State.DONE
        rest, self._data = self._data, b""
        return rest

    def next_request(self) -> None:
        """The request was answered: go on to the next."""
        assert self._state is _State.DONE
        self._state = _State.HEAD
        self._searched = 0
        self._skipped_line = False

    def next_event(self) -> RequestHead | Body | None:
        """A head, or all there is of a body; None until more is fed, or the request is done.

        A head whose `framing` is None or 0 is the whole request: no `Body` follows.

        Raises:
            BadHead, BadFraming: the connection cannot go on.
        """
        try:
            match self._state:
                case _State.HEAD:
                    return self._read_head()
                case _State.LENGTH:
                    return self._read_length()
                case _State.DONE | _State.FAILED:
                    return None
                case _:
                    return self._read_chunks()
        except (BadHead, BadFraming):
            self._state = _State.FAILED
            self._data = b""
            raise

    def _read_head(self) -> RequestHead | None:
        data = self._data
        if not data or (data == b"\r" and not self._skipped_line):
            return None
        if not self._skipped_line and data.startswith(b"\r\n"):  # RFC 9112 section 2.2
            self._skipped_line = True
            data = self._data = data[2:]
            if not data:
                return None
        if not _match_start(data):
            raise BadHead(400, "this does not begin like a request")
        found = _search_end(data, self._searched)
        limit = self._limits.head_max_bytes
        if (found.end() if found else len(data)) > limit:
            line_ended = data.find(b"\n", 0, limit) >= 0
            raise BadHead(431 if line_ended else 414, "the head is too large")
        if found is None:
            self._searched = max(data.rfind(b"\n"), 0)
            return None
        end = found.end()
        head = read_head(data[:end], self._limits.header_fields_max)
        self._data = data[end:]
        if head.framing is CHUNKED:
            self._state = _State.CHUNK_SIZE
            self._framing_bytes = self._chunks = self._chunked_bytes = 0
        elif head.framing:
            self._state = _State.LENGTH
            self._left_bytes = head.framing
        else:
            self._state = _State.DONE
        return head

    def _read_length(self) -> Body | None:
        data = self._data
        if not data:
            return None
        if len(data) >= self._left_bytes:
            self._data = data[self._left_bytes :]
            self._state = _State.DONE
            return Body(data[: self._left_bytes], ended=True)
        self._left_bytes -= len(data)
        self._data = b""
        return Body(data, ended=False)

    def _read_chunks(self) -> Body | None:
        """Everything there is, across the chunks it comes in."""
        data, at = self._data, 0
        parts: list[bytes] = []
        while True:
            if self._state is _State.CHUNK_SIZE and (plain := _match_plain_size(data, at)):
                at = plain.end()
                self._begin_chunk(int(plain[1], 16))
            if self._state is _State.CHUNK_DATA:
                part = data[at : at + self._left_bytes]
                if not part:
                    break
                parts.append(part)
                at += len(part)
                self._left_bytes -= len(part)
                if self._left_bytes:
                    break
                self._state = _State.CHUNK_END
            if self._state is _State.CHUNK_END:
                end = data[at : at + 2]
                if end != b"\r\n":
                    if end not in (b"", b"\r"):
                        raise BadFraming("a chunk is longer than its size")
                    break
                at += 2
                self._state = _State.CHUNK_SIZE
            elif self._state is _State.DONE or (line := self._line(data, at)) is None:
                break
            else:
                at += len(line) + 2
                self._read_line(line)
        self._data = data[at:]
        ended = self._state is _State.DONE
        return Body(b"".join(parts), ended) if parts or ended else None

    def _begin_chunk(self, size: int) -> None:
        """Chunks that hardly hold anything cost us far more than their sender."""
        self._left_bytes = size
        self._state = _State.CHUNK_DATA if size else _State.TRAILERS
        self._chunks += 1
        self._chunked_bytes += size
        if self._chunks > self._limits.small_chunks_max and size:
            fair_bytes = (self._chunks - self._limits.small_chunks_max) * CHUNK_MIN_BYTES
            if self._chunked_bytes < fair_bytes:
                raise BadFraming("the body is in too many chunks")

    def _line(self, data: bytes, at: int) -> bytes | None:
        """The line at `at` without its end; None where that has not come."""
        end = data.find(b"\n", at)
        size = (len(data) if end < 0 else end) - at
        if size > self._limits.chunk_line_max_bytes:
            raise BadFraming("a line between chunks is too long")
        if end < 0:
            return None
        if size == 0 or data[end - 1 : end] != b"\r":
            raise BadFraming("a line between chunks ends without CR LF")
        return data[at : end - 1]

    def _read_line(self, line: bytes) -> None:
        """The size of a chunk, or a trailer, which nobody is told of."""
        if self._state is _State.CHUNK_SIZE:
            size = _match_size(line)
            if size is None:
                raise BadFraming("the size of a chunk is none")
            self._weigh(len(size[2]))
            self._begin_chunk(int(size[1], 16))
        elif not line:
            self._state = _State.DONE
        else:
            trailer = _match_trailer(line)
            if trailer is None or trailer[1].lower() in _REFUSED_TRAILERS:
                raise BadFraming("this is no trailer")
            self._weigh(len(line))

    def _weigh(self, size: int) -> None:
        self._framing_bytes += size
        if self._framing_bytes > self._limits.framing_max_bytes:
            raise BadFraming("chunk extensions or trailers are too large")
