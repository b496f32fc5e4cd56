"""What a field block may hold: RFC 9113 sections 8.2 and 8.3, as tables.

h2 checks the same, at ten times the cost, and ends the whole connection over one bad message;
section 8.1.1 makes that the fault of one stream.
"""

from __future__ import annotations

import re
from enum import Enum

from .http import Headers


class Block(Enum):
    """The three kinds of field block."""

    REQUEST = "request"
    RESPONSE = "response"
    TRAILERS = "trailers"


class MalformedFieldsError(ValueError):
    """The block breaks RFC 9113 section 8.2 or 8.3; the message says how."""


_ALLOWED_PSEUDO = {
    Block.REQUEST: frozenset({b":method", b":scheme", b":authority", b":path", b":protocol"}),
    Block.RESPONSE: frozenset({b":status"}),
    Block.TRAILERS: frozenset[bytes](),
}
_REQUIRED_PSEUDO = {
    Block.REQUEST: (b":method", b":scheme", b":path"),
    Block.RESPONSE: (b":status",),
    Block.TRAILERS: (),
}
_CONNECTION_SPECIFIC = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
)
_name_is_token = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+").fullmatch
_value_has_control = re.compile(rb"[\x00\r\n]|\A[ \t]|[ \t]\Z").search
_status_is_number = re.compile(rb"[1-9][0-9][0-9]").fullmatch
_length_is_number = re.compile(rb"[0-9]{1,18}").fullmatch


def check_fields(fields: Headers, block: Block) -> int | None:
    """Return the content length if the block names one.

    Raises:
        MalformedFieldsError: the message is malformed (RFC 9113 section 8.1.1).
    """
    pseudo: dict[bytes, bytes] = {}
    regular = False
    length: int | None = None
    for name, value in fields:
        if _value_has_control(value):
            raise MalformedFieldsError("a field value holds a forbidden character")
        if name[:1] == b":":
            if regular or name in pseudo or name not in _ALLOWED_PSEUDO[block]:
                raise MalformedFieldsError("a pseudo-field is unknown, repeated or out of place")
            pseudo[name] = value
            continue
        regular = True
        if not _name_is_token(name):
            raise MalformedFieldsError("a field name is not a lower-case token")
        if name in _CONNECTION_SPECIFIC or (name == b"te" and value != b"trailers"):
            raise MalformedFieldsError("a field belongs to HTTP/1.1 connections")
        if name == b"content-length":
            length = _content_length(value, length)
    _check_pseudo(pseudo, block)
    return length


def _content_length(value: bytes, before: int | None) -> int:
    if not _length_is_number(value):
        raise MalformedFieldsError("content-length is not a number")
    length = int(value)
    if before is not None and before != length:
        raise MalformedFieldsError("content-length is given twice and differs")
    return length


def _check_pseudo(pseudo: dict[bytes, bytes], block: Block) -> None:
    if pseudo.get(b":method") == b"CONNECT" and b":protocol" not in pseudo:
        # RFC 9113 section 8.5: :authority and nothing else.
        if set(pseudo) != {b":method", b":authority"}:
            raise MalformedFieldsError("CONNECT takes :authority only")
        return
    for name in _REQUIRED_PSEUDO[block]:
        if not pseudo.get(name):
            raise MalformedFieldsError(f"{name.decode()} is missing")
    if block is Block.RESPONSE and not _status_is_number(pseudo[b":status"]):
        raise MalformedFieldsError(":status is not a three-digit number")
