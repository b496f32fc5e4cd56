"""HTTP/1.1 of a client: requests as bytes, answers from bytes. Nothing here touches a socket."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from bench.load.protocols import Message

HEAD_MAX_BYTES: Final = 65_536
_SIZE_MAX_BYTES: Final = 256
"""Of the line that begins a chunk."""

Status = Callable[[int], None]
Piece = Callable[[bytes, float], None]


class BadAnswerError(ValueError):
    """What came is not HTTP."""


def request_bytes(message: Message) -> bytes:
    """A POST on a connection that is kept."""
    lines = [
        f"POST {message.path} HTTP/1.1",
        f"host: {message.authority}",
        *(f"{name}: {value}" for name, value in message.headers),
        f"content-length: {len(message.body)}",
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + message.body


class Http1Reader:
    """One answer after the other, however the bytes are cut.

    `begin` is called before each; `feed` then calls `on_head` once and `on_body`, with what there
    is of the body and when it came, at most once for each feed.
    """

    __slots__ = ("_left", "_now_s", "_pending", "_state", "keeps", "on_body", "on_head")

    def __init__(self) -> None:
        self._state: Literal["head", "length", "size", "chunk", "trailers", "close", "over"]
        self._state = "over"
        self._pending = b""
        self._left = 0
        self._now_s = 0.0
        self.keeps = True
        """Whether the server takes another request on this connection."""
        self.on_head: Status
        self.on_body: Piece

    def begin(self, on_head: Status, on_body: Piece) -> None:
        """An answer is expected."""
        self._state = "head"
        self.on_head, self.on_body = on_head, on_body

    def feed(self, data: bytes, now_s: float) -> bool:
        """Take what was received then; returns whether the answer is over with it.

        Raises:
            BadAnswerError: it is not HTTP, or more than was asked for.
        """
        if self._state == "size" and not self._pending and self._one_chunk(data, now_s):
            return False
        self._now_s = now_s
        if self._pending:
            data = self._pending + data
            self._pending = b""
        match self._state:
            case "head":
                return self._head(data)
            case "length":
                return self._length(data)
            case "size" | "chunk":
                return self._chunks(data)
            case "trailers":
                return self._trailers(data)
            case "close":
                self.on_body(data, now_s)
                return False
            case "over":
                raise BadAnswerError("more than was asked for")

    def eof(self) -> bool:
        """The server has closed; returns whether this is how the answer ends."""
        ends = self._state == "close"
        self._state, self.keeps = "over", False
        return ends

    def _head(self, data: bytes) -> bool:
        end = data.find(b"\r\n\r\n")
        if end < 0:
            if len(data) > HEAD_MAX_BYTES:
                raise BadAnswerError("a head without an end")
            self._pending = data
            return False
        lines = data[:end].lower().split(b"\r\n")
        rest = data[end + 4 :]
        version, _, status_text = lines[0].partition(b" ")
        if not version.startswith(b"http/1.") or not status_text[:3].isdigit():
            raise BadAnswerError("not an HTTP/1.1 answer")
        status = int(status_text[:3])
        if status < 200:
            return self._head(rest)
        fields = dict(_field(line) for line in lines[1:])
        self.keeps = version == b"http/1.1" and fields.get(b"connection") != b"close"
        self.on_head(status)
        return self._body(fields, rest)

    def _body(self, fields: dict[bytes, bytes], rest: bytes) -> bool:
        if fields.get(b"transfer-encoding", b"").endswith(b"chunked"):
            self._state = "size"
            return self._chunks(rest)
        length = fields.get(b"content-length")
        if length is None:
            self._state, self.keeps = "close", False
            if rest:
                self.on_body(rest, self._now_s)
            return False
        if not length.isdigit():
            raise BadAnswerError("a length that is no number")
        self._state, self._left = "length", int(length)
        return self._length(rest)

    def _length(self, data: bytes) -> bool:
        if len(data) > self._left:
            raise BadAnswerError("more than was asked for")
        self._left -= len(data)
        if data:
            self.on_body(data, self._now_s)
        if not self._left:
            self._state = "over"
        return not self._left

    def _one_chunk(self, data: bytes, now_s: float) -> bool:
        """The common case, that this is one whole chunk, at little cost."""
        begin = data.find(b"\r\n", 1, 10) + 2
        size = len(data) - begin - 2
        if begin < 3 or size < 1 or data[: begin - 2] != b"%x" % size:
            return False
        self.on_body(data[begin:-2], now_s)
        return True

    def _chunks(self, data: bytes) -> bool:
        """Of a chunk that has begun, `_left` bytes are missing, the line's end after it too."""
        pieces: list[bytes] = []
        at, size = 0, len(data)
        if self._state == "chunk":
            at = self._rest_of_chunk(data, pieces)
        while at < size:
            end = data.find(b"\r\n", at)
            if end < 0:
                self._keep_size(data[at:])
                break
            try:
                length = int(data[at:end].partition(b";")[0], 16)
            except ValueError:
                raise BadAnswerError("a chunk without a size") from None
            begin = end + 2
            if not length:
                self._state = "trailers"
                self._give(pieces)
                return self._trailers(data[begin:])
            at = begin + length + 2
            pieces.append(data[begin : at - 2])
            if at > size:
                self._state, self._left = "chunk", at - size
        self._give(pieces)
        return False

    def _rest_of_chunk(self, data: bytes, pieces: list[bytes]) -> int:
        """Take what is missing of a chunk; returns where the next begins."""
        if text := data[: max(0, self._left - 2)]:
            pieces.append(text)
        taken = min(self._left, len(data))
        self._left -= taken
        if not self._left:
            self._state = "size"
        return taken

    def _keep_size(self, line: bytes) -> None:
        if len(line) > _SIZE_MAX_BYTES:
            raise BadAnswerError("a chunk without a size")
        self._pending = line

    def _give(self, pieces: list[bytes]) -> None:
        if pieces:
            self.on_body(b"".join(pieces), self._now_s)

    def _trailers(self, data: bytes) -> bool:
        """Lines up to an empty one."""
        while (end := data.find(b"\r\n")) > 0:
            data = data[end + 2 :]
        if end == 0:
            if len(data) > 2:
                raise BadAnswerError("more than was asked for")
            self._state = "over"
            return True
        if len(data) > HEAD_MAX_BYTES:
            raise BadAnswerError("trailers without an end")
        self._pending = data
        return False


def _field(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b":")
    return name.strip(), value.strip()
