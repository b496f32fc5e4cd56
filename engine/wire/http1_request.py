"""A request's head in HTTP/1.1, from the fields that HTTP/2 would send (RFC 9112 section 3)."""

from __future__ import annotations

import re
from typing import Final

from .http import Headers
from .http2_fields import Block, MalformedFieldsError, check_fields

_NOT_COPIED: Final = frozenset({b"host", b"te", b"content-length"})
"""Said otherwise; `te` would need a `connection` beside it."""
_LENGTH_EXPECTED: Final = frozenset({b"POST", b"PUT", b"PATCH"})
_is_token = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_is_target = re.compile(rb"/[!-~]*|\*").fullmatch
_is_authority = re.compile(rb"[!-.0-~]+").fullmatch


def encode_request(headers: Headers, body_bytes: int) -> bytes:
    """The bytes before a request's body, which is `body_bytes` long.

    Raises:
        MalformedFieldsError: the fields break RFC 9113 section 8.2 or 8.3, cannot stand in a
            request line, contradict the body's length, or ask for a tunnel.
    """
    promised = check_fields(headers, Block.REQUEST)
    if promised not in (None, body_bytes):
        raise MalformedFieldsError("content-length differs from the body's length")
    named = dict(headers)
    method, target = named[b":method"], named.get(b":path", b"")
    host = named.get(b":authority") or named.get(b"host", b"")
    if method == b"CONNECT" or b":protocol" in named:
        raise MalformedFieldsError("CONNECT is not sent over HTTP/1.1")
    for value, fits in ((method, _is_token), (target, _is_target), (host, _is_authority)):
        if not fits(value):
            raise MalformedFieldsError("a pseudo-field does not fit into a request line")
    lines = [b"%s %s HTTP/1.1\r\nhost: %s\r\n" % (method, target, host)]
    lines += [
        b"%s: %s\r\n" % field
        for field in headers
        if field[0][:1] != b":" and field[0] not in _NOT_COPIED
    ]
    if body_bytes or method in _LENGTH_EXPECTED:
        lines.append(b"content-length: %d\r\n" % body_bytes)
    lines.append(b"\r\n")
    return b"".join(lines)
