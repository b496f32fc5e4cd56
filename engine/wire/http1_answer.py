"""One answer of an HTTP/1.1 connection without I/O, server role (RFC 9112 sections 4 to 7)."""

from __future__ import annotations

import re
from enum import Enum, auto
from http import HTTPStatus
from typing import Final

from .http import Headers

__all__ = ["CONTINUE", "AnswerWriter", "BodyEnd"]

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_HOP_BY_HOP: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
)
_SPECIAL: Final = _HOP_BY_HOP | {b"content-length"}
_match_fields: Final = re.compile(rb"(?:%b: [\t\x20-\x7e\x80-\xff]*+\r\n)*+" % _TOKEN).fullmatch
_match_length: Final = re.compile(rb"\d{1,19}").fullmatch
_LINES: Final = {
    int(status): b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode("ascii"))
    for status in HTTPStatus
}

CONTINUE: Final = _LINES[100] + b"\r\n"


class BodyEnd(Enum):
    """How the body of an answer ends (RFC 9112 section 6)."""

    NONE = auto()
    """There is none: HEAD, 204, 304."""
    LENGTH = auto()
    CHUNKS = auto()
    CLOSE = auto()
    """With the connection; a client cannot see that some of it is missing, but for a reset."""


class AnswerWriter:
    """Frames one answer.

    Args:
        method: of the request.
        version: of the request: `1.0` or `1.1`.
        persistent: another request may follow. Decided at the head: set before `head`.
    """

    __slots__ = ("_left_bytes", "_method", "_version", "body_end", "persistent", "whole")

    def __init__(self, method: str, version: str, *, persistent: bool) -> None:
        self._method = method
        self._version = version
        self._left_bytes = 0
        self.persistent = persistent
        self.body_end = BodyEnd.NONE
        self.whole = False
        """Everything that the head promised has been framed."""

    def head(self, status: int, headers: Headers, date: bytes = b"") -> bytes:
        """The head. What it says about the connection itself is said here, not by `headers`.

        Args:
            status: of a final answer.
            headers: names in any case.
            date: when it was made, for answers that do not say so.

        Raises:
            ValueError: a status, a name, a value or a content-length that HTTP has no place for.
                Nothing of what was asked is said then.
        """
        if not 200 <= status <= 999:
            raise ValueError(f"an answer's status is not {status}")
        length: bytes | None = None
        kept = headers
        names = {name.lower() for name, _ in headers}
        if names & _SPECIAL:
            length = self._read_special(status, headers)
            kept = [field for field in headers if field[0].lower() not in _HOP_BY_HOP]
            if status == 204:
                kept = [field for field in kept if field[0].lower() != b"content-length"]
        lines = [b"%b: %b\r\n" % field for field in kept]
        if date and b"date" not in names:
            lines.append(b"date: %b\r\n" % date)
        fields = b"".join(lines)
        if fields.count(b"\n") != len(lines) or not _match_fields(fields):
            raise ValueError("a header field has characters that would break the answer apart")
        self._decide(status, length)
        first = _LINES.get(status) or b"HTTP/1.1 %d \r\n" % status
        return b"%b%b%b\r\n" % (first, fields, self._about_connection())

    def completes(self, size: int) -> bool:
        """The head promised a body that so much more completes."""
        return self.body_end is BodyEnd.LENGTH and size >= self._left_bytes

    def frame(self, data: bytes) -> bytes:
        """Bytes of the body, which are not empty. What may not follow the head is left out."""
        match self.body_end:
            case BodyEnd.CHUNKS:
                return b"%x\r\n%b\r\n" % (len(data), data)
            case BodyEnd.CLOSE:
                return data
            case BodyEnd.LENGTH:
                data = data[: self._left_bytes]
                self._left_bytes -= len(data)
                self.whole = self._left_bytes == 0
                return data
            case BodyEnd.NONE:
                return b""

    def end(self) -> bytes:
        """The end of the body. Not `whole` after it: the connection has to end visibly cut."""
        if self.body_end is BodyEnd.LENGTH:
            return b""
        self.whole = True
        return b"0\r\n\r\n" if self.body_end is BodyEnd.CHUNKS else b""

    def _read_special(self, status: int, headers: Headers) -> bytes | None:
        """Heed what is said about the connection; returns the content-length."""
        lengths = []
        for name, value in headers:
            match name.lower():
                case b"content-length":
                    lengths.append(value)
                case b"connection" if b"close" in value.lower():
                    self.persistent = False
        if not lengths or status == 204:
            return None
        if len(lengths) > 1 or not _match_length(lengths[0]):
            raise ValueError("the content-length is none")
        return lengths[0]

    def _decide(self, status: int, length: bytes | None) -> None:
        if self._method == "HEAD" or status in (204, 304):
            self.body_end = BodyEnd.NONE
            self.whole = True
        elif length is not None:
            self.body_end = BodyEnd.LENGTH
            self._left_bytes = int(length)
            self.whole = self._left_bytes == 0
        elif self._version == "1.1":
            self.body_end = BodyEnd.CHUNKS
        else:
            self.body_end = BodyEnd.CLOSE
            self.persistent = False

    def _about_connection(self) -> bytes:
        coding = b"transfer-encoding: chunked\r\n" if self.body_end is BodyEnd.CHUNKS else b""
        if not self.persistent:
            return coding + b"connection: close\r\n"
        return coding if self._version == "1.1" else coding + b"connection: keep-alive\r\n"
