"""The head of an HTTP/1.1 request, read strictly (RFC 9112 sections 2 to 7, RFC 9110 section 7).

A request that two readers can take differently is how one is smuggled past the other, so what is
ambiguous is refused. One expression says what a head looks like, byte for byte; llhttp, under
httptools, then takes it apart and has a say of its own about lengths and codings; what it lets
through and the standard does not is refused last. Nothing of a request is passed on repaired.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final, Literal, NamedTuple
from urllib.parse import unquote_to_bytes

import httptools

from .http import Headers

__all__ = [
    "CHUNKED",
    "BadHead",
    "Framing",
    "RequestHead",
    "decode_path",
    "read_head",
    "read_target",
]

HEADER_FIELDS_MAX: Final = 128


class _Chunked(Enum):
    CHUNKED = "chunked"


CHUNKED: Final = _Chunked.CHUNKED
"""A body whose length shows at its end: chunks, or DATA without a content-length."""

Framing = int | Literal[_Chunked.CHUNKED] | None
"""How a request's body ends: after so many bytes, where it says, or there is none."""


class RequestHead(NamedTuple):
    """What a request says before its body, whichever version of HTTP it came in.

    A tuple because one is made for every request: five times as fast as a frozen dataclass.
    """

    method: str
    target: bytes
    """As the client wrote it: `/a?b`, `http://host/a?b` or `*`."""
    path: bytes
    """Still encoded: `/a%20b`; `*` of an OPTIONS for the server as a whole."""
    query: bytes
    """Without its question mark."""
    authority: bytes
    """Host and port as the target has them, else as `host` has; empty if neither does."""
    version: str
    """`1.0`, `1.1` or `2`."""
    headers: Headers
    """Names in lower case. There is one `host` at most, and it is the authority."""
    framing: Framing
    persistent: bool
    """Another request may follow."""
    expect: bool
    """The client waits for `100 Continue` before it sends the body."""
    upgrade: bytes
    """The protocol the client would rather speak, in lower case; empty if none."""


class BadHead(Exception):  # noqa: N818
    """A head that is refused; the connection has to end, for nobody knows where it goes on.

    Attributes:
        status: to answer with.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_match_head: Final = re.compile(
    rb"(%b) ([!-~]++) HTTP/(\d\.\d)\r\n" % _TOKEN
    + rb"(?:%b:[\t\x20-\x7e\x80-\xff]*+\r\n)*+\r\n" % _TOKEN
).fullmatch
_match_host: Final = re.compile(
    rb"(?:[0-9A-Za-z._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?"
).fullmatch
_match_absolute: Final = re.compile(rb"(?i:https?)://([^/?#]*)([^#]*)").fullmatch
_refused_in_path: Final = re.compile(
    rb"[\\#]|%(?![0-9A-Fa-f]{2})|%5[Cc]|%[01][0-9A-Fa-f]|%7[Ff]"
).search
"""A backslash, which some take for a slash; a broken escape; an escaped control."""
_match_dots: Final = re.compile(rb"/\.\.?(?:/|\Z)").search
_match_length: Final = re.compile(rb"\d{1,19}").fullmatch

_REFUSED_METHODS: Final = frozenset({b"CONNECT", b"TRACE"})
"""Tunnels, and an echo of the client's own secrets: not for a server of applications."""
_TELLING: Final = frozenset(
    {
        b"host",
        b"connection",
        b"content-length",
        b"transfer-encoding",
        b"expect",
        b"upgrade",
        b"content_length",
        b"transfer_encoding",
    }
)


def read_head(raw: bytes, fields_max: int = HEADER_FIELDS_MAX) -> RequestHead:
    """Read a head, from its first byte to the empty line that ends it, inclusive.

    Raises:
        BadHead: 400, 417, 431, 501 or 505, as RFC 9110 section 15 has them.
    """
    matched = _match_head(raw)
    if matched is None:
        raise BadHead(400, "this is not the head of an HTTP/1.1 request")
    method, target, version = matched.groups()
    if version not in (b"1.1", b"1.0"):
        raise BadHead(505, "this version of HTTP is not spoken here")
    if method in _REFUSED_METHODS:
        raise BadHead(501, "this method is not served")
    fields = _split(raw)
    if len(fields) > fields_max:
        raise BadHead(431, "there are too many header fields")
    path, query, authority = read_target(target, method)
    telling: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        if name in _TELLING:
            telling.setdefault(name, []).append(value)
    modern = version == b"1.1"
    host = _host(telling, required=modern)
    if authority is None:
        authority = host
    elif authority != host:  # the target's counts (RFC 9112 section 3.2.2)
        fields = [(b"host", authority), *(field for field in fields if field[0] != b"host")]
    options = _options(telling[b"connection"]) if b"connection" in telling else ()
    return RequestHead(
        method.decode("ascii"),
        target,
        path,
        query,
        authority,
        "1.1" if modern else "1.0",
        fields,
        _framing(telling, modern),
        b"close" not in options and (modern or b"keep-alive" in options),
        b"expect" in telling and _expects_continue(telling[b"expect"], modern),
        _upgrade(telling[b"upgrade"], options) if b"upgrade" in telling else b"",
    )


def read_target(target: bytes, method: bytes) -> tuple[bytes, bytes, bytes | None]:
    """Path, query, and the authority if the target names one, of a request target.

    Raises:
        BadHead: 400 where the target is of no form that `method` has, or where its path is one
            that servers are known to read differently.
    """
    authority: bytes | None = None
    if target[:1] != b"/":
        if target == b"*" and method == b"OPTIONS":
            return target, b"", None
        absolute = _match_absolute(target)
        if absolute is None or not _match_host(absolute[1]):
            raise BadHead(400, "the request's target is neither a path nor a URL")
        authority, target = absolute.groups()
        if target[:1] != b"/":
            target = b"/" + target
    path, _, query = target.partition(b"?")
    if _refused_in_path(path) or b"#" in query:
        raise BadHead(400, "the path has a character that has no place there")
    if b"/." in path or b"%" in path:
        plain = unquote_to_bytes(path) if b"%" in path else path
        if _match_dots(plain):
            raise BadHead(400, "the path has dot segments")
    return path, query, authority


def decode_path(path: bytes) -> str:
    """A path without its escapes; what is not UTF-8 is replaced."""
    if b"%" in path:
        path = unquote_to_bytes(path)
    return path.decode("utf-8", "replace")


class _Fields:
    """What llhttp found; its `on_` methods are what httptools calls."""

    def __init__(self) -> None:
        self.found: Headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.found.append((name.lower(), value.rstrip(b" \t")))


def _split(raw: bytes) -> Headers:
    fields = _Fields()
    try:
        httptools.HttpRequestParser(fields).feed_data(raw)
    except httptools.HttpParserInvalidMethodError:
        raise BadHead(501, "this method is not known here") from None
    except httptools.HttpParserUpgrade:
        pass  # the head was whole; whether to upgrade is decided elsewhere
    except httptools.HttpParserError as error:
        raise BadHead(400, str(error)) from None
    return fields.found


def _host(telling: dict[bytes, list[bytes]], *, required: bool) -> bytes:
    values = telling.get(b"host", [])
    if len(values) > 1 or (required and not values):
        raise BadHead(400, "a request has one host")
    if values and not _match_host(values[0]):
        raise BadHead(400, "the host is none")
    return values[0] if values else b""


def _framing(telling: dict[bytes, list[bytes]], modern: bool) -> Framing:
    if b"content_length" in telling or b"transfer_encoding" in telling:
        raise BadHead(400, "a name with an underscore would be taken for the one with a hyphen")
    codings, lengths = telling.get(b"transfer-encoding"), telling.get(b"content-length")
    if codings is not None:
        if lengths is not None or len(codings) > 1 or not modern:
            raise BadHead(400, "the body's length is said in two ways")
        if codings[0].lower() != b"chunked":
            raise BadHead(501, "'chunked' is the only transfer coding known here")
        return CHUNKED
    if lengths is None:
        return None
    if len(lengths) > 1 or not _match_length(lengths[0]):
        raise BadHead(400, "the content-length is none")
    return int(lengths[0])


def _options(values: list[bytes]) -> frozenset[bytes]:
    """The members of a list field, in lower case."""
    return frozenset(
        member.strip(b" \t").lower() for value in values for member in value.split(b",")
    )


def _expects_continue(values: list[bytes], modern: bool) -> bool:
    if _options(values) != {b"100-continue"}:
        raise BadHead(417, "only '100-continue' is expected here")
    return modern  # of HTTP/1.0 clients it is ignored (RFC 9110 section 10.1.1)


def _upgrade(values: list[bytes], options: frozenset[bytes] | tuple[()]) -> bytes:
    return values[0].lower() if b"upgrade" in options and len(values) == 1 else b""
