"""The head of an HTTP/2 request, read as strictly as one of HTTP/1.1 (RFC 9113 sections 8.2, 8.3).

What is a field block at all, `http2_fields` has decided. Here is what a server of applications asks
for beyond: a request that HTTP/1.1 could say too, and that nobody could take for another.
"""

from __future__ import annotations

import re
from typing import Final

from .http import Headers
from .http1_head import CHUNKED, BadHead, Framing, RequestHead, read_target

HEADER_LIST_MAX_BYTES: Final = 32_768
_FIELD_OVERHEAD_BYTES: Final = 32
"""Of each field, as RFC 9113 section 6.5.2 counts."""

_is_method: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}").fullmatch
_is_visible: Final = re.compile(rb"[!-~]+").fullmatch
_has_control: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]").search
_SCHEMES: Final = frozenset({b"http", b"https"})
_REFUSED_METHODS: Final = frozenset({b"CONNECT", b"TRACE"})
_MISLEADING: Final = frozenset({b"content_length", b"transfer_encoding"})


def read_request(
    head: Headers, *, ended: bool, list_max_bytes: int = HEADER_LIST_MAX_BYTES
) -> RequestHead:
    """Read a request's fields, which `check_fields` has let through.

    `:authority` becomes `host`; the crumbs of a cookie are one field again (section 8.2.3).

    Args:
        head: pseudo-fields first.
        ended: no body follows.
        list_max_bytes: each field counts its name, its value and 32 (section 6.5.2).

    Raises:
        BadHead: 400, 417, 431 or 501, as RFC 9110 section 15 has them.
    """
    size = sum(len(name) + len(value) for name, value in head)
    if size + _FIELD_OVERHEAD_BYTES * len(head) > list_max_bytes:
        raise BadHead(431, "the header fields are too large")
    if _has_control(b" ".join([value for _, value in head])):
        raise BadHead(400, "a field value has a control character")
    pseudo: dict[bytes, bytes] = {}
    fields: Headers = []
    hosts: list[bytes] = []
    lengths: list[bytes] = []
    crumbs: list[bytes] = []
    expectation = b""
    for name, value in head:
        if name[0] == 0x3A:
            pseudo[name] = value
        elif name == b"host":
            hosts.append(value)
        elif name == b"cookie":
            crumbs.append(value)
        elif name in _MISLEADING:
            raise BadHead(400, "a name with an underscore would be taken for the one with a hyphen")
        else:
            fields.append((name, value))
            if name == b"content-length":
                lengths.append(value)
            elif name == b"expect":
                expectation = value.lower()
    if expectation not in (b"", b"100-continue"):
        raise BadHead(417, "only '100-continue' is expected here")
    method = _method(pseudo[b":method"])
    path, query, authority = _target(pseudo, hosts)
    if crumbs:
        fields.append((b"cookie", b"; ".join(crumbs)))
    return RequestHead(
        method.decode("ascii"),
        pseudo[b":path"],
        path,
        query,
        authority,
        "2",
        [(b"host", authority), *fields],
        _framing(lengths, ended),
        persistent=True,
        expect=bool(expectation) and not ended,
        upgrade=b"",
    )


def _method(method: bytes) -> bytes:
    if method in _REFUSED_METHODS:
        raise BadHead(501, "this method is not served")
    if not _is_method(method):
        raise BadHead(400, "the method is none")
    return method


def _target(pseudo: dict[bytes, bytes], hosts: list[bytes]) -> tuple[bytes, bytes, bytes]:
    """Path, query and authority, by the rules for HTTP/1.1's absolute form."""
    if pseudo[b":scheme"].lower() not in _SCHEMES:
        raise BadHead(400, "the scheme is neither http nor https")
    authority = pseudo.get(b":authority", hosts[0] if hosts else b"")
    if len(hosts) > 1 or (hosts and hosts[0].lower() != authority.lower()):
        raise BadHead(400, "a request has one host")
    target, method = pseudo[b":path"], pseudo[b":method"]
    everything = target == b"*" and method == b"OPTIONS"
    if not (everything or target[:1] == b"/") or not _is_visible(target):
        raise BadHead(400, "the request's target is not a path")
    url = b"http://%b%b" % (authority, b"/" if everything else target)
    path, query, named = read_target(url, method)
    if named != authority:
        raise BadHead(400, "the authority is not a host")
    return (b"*" if everything else path), query, authority


def _framing(lengths: list[bytes], ended: bool) -> Framing:
    if len(lengths) > 1:
        raise BadHead(400, "the content-length is said twice")
    if lengths:
        return int(lengths[0])
    return None if ended else CHUNKED
