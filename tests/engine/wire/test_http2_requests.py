"""Heads of HTTP/2 requests: the table of what is refused, and what an app is told of the rest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.wire.http import Headers
from engine.wire.http1_head import CHUNKED, BadHead, read_head
from engine.wire.http2_fields import Block, MalformedFieldsError, check_fields
from engine.wire.http2_requests import read_request

PSEUDO = {b":method": b"GET", b":scheme": b"https", b":authority": b"a", b":path": b"/"}


def head(pseudo: dict[bytes, bytes | None], *fields: tuple[bytes, bytes]) -> Headers:
    """A head whose pseudo-fields differ from a plain one's; None: it lacks this one."""
    merged = {**PSEUDO, **pseudo}
    return [*((name, value) for name, value in merged.items() if value is not None), *fields]


REFUSED: dict[str, tuple[int, Headers]] = {
    "a space in the path": (400, head({b":path": b"/a b"})),
    "a byte past ASCII in the path": (400, head({b":path": b"/\xff"})),
    "a control in the path": (400, head({b":path": b"/\x7f"})),
    "a path without a slash": (400, head({b":path": b"v1/models"})),
    "a URL for a path": (400, head({b":path": b"https://a/v1"})),
    "an asterisk for others than OPTIONS": (400, head({b":path": b"*"})),
    "a fragment": (400, head({b":path": b"/v1#x"})),
    "a fragment behind a query": (400, head({b":path": b"/v1?a#x"})),
    "dot segments": (400, head({b":path": b"/v1/../metrics"})),
    "escaped dot segments": (400, head({b":path": b"/v1/%2e%2E/metrics"})),
    "a backslash": (400, head({b":path": b"/v1\\metrics"})),
    "an escaped backslash": (400, head({b":path": b"/v1%5cmetrics"})),
    "an escaped NUL": (400, head({b":path": b"/v1%00"})),
    "an escaped CR": (400, head({b":path": b"/v1%0d%0ax: y"})),
    "a broken escape": (400, head({b":path": b"/v1%2"})),
    "a method with a space": (400, head({b":method": b"G ET"})),
    "a method with a control": (400, head({b":method": b"GET\x01"})),
    "a method past ASCII": (400, head({b":method": b"\xff"})),
    "a method without end": (400, head({b":method": b"G" * 65})),
    "a tunnel": (501, [(b":method", b"CONNECT"), (b":authority", b"a:1")]),
    "a WebSocket by CONNECT": (501, head({b":method": b"CONNECT", b":protocol": b"websocket"})),
    "TRACE": (501, head({b":method": b"TRACE"})),
    "another scheme": (400, head({b":scheme": b"ftp"})),
    "a scheme with more": (400, head({b":scheme": b"http://a"})),
    "no authority": (400, head({b":authority": None})),
    "an empty authority": (400, head({b":authority": b""})),
    "an empty authority beside a host": (400, head({b":authority": b""}, (b"host", b"a"))),
    "user information": (400, head({b":authority": b"u@a"})),
    "a path in the authority": (400, head({b":authority": b"a/b"})),
    "a query in the authority": (400, head({b":authority": b"a?b"})),
    "a space in the authority": (400, head({b":authority": b"a b"})),
    "a list for an authority": (400, head({b":authority": b"a,b"})),
    "another host": (400, head({}, (b"host", b"evil"))),
    "two hosts": (400, head({}, (b"host", b"a"), (b"host", b"a"))),
    "a control in a value": (400, head({}, (b"x", b"a\x01b"))),
    "DEL in a value": (400, head({}, (b"x", b"a\x7fb"))),
    "a length with an underscore": (400, head({}, (b"content_length", b"1"))),
    "a coding with an underscore": (400, head({}, (b"transfer_encoding", b"chunked"))),
    "the length twice": (400, head({}, (b"content-length", b"1"), (b"content-length", b"1"))),
    "another expectation": (417, head({}, (b"expect", b"a miracle"))),
    "too many bytes": (431, head({}, (b"x", b"y" * 32_768))),
    "too many fields": (431, head({}, *[(b"x", b"y")] * 1_000)),
}


@pytest.mark.parametrize(("status", "fields"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(status: int, fields: Headers) -> None:
    check_fields(fields, Block.REQUEST)  # it is a request as far as framing goes
    with pytest.raises(BadHead) as caught:
        read_request(fields, ended=False)
    assert caught.value.status == status


def test_what_an_app_is_told() -> None:
    fields = head(
        {b":method": b"POST", b":authority": b"[::1]:8080", b":path": b"/v1/a%20b?k=%2F"},
        (b"cookie", b"a=1"),
        (b"x", b"\xe4\t"),
        (b"cookie", b"b=2"),
        (b"expect", b"100-Continue"),
        (b"content-length", b"7"),
    )
    request = read_request(fields, ended=False)
    assert request.method == "POST"
    assert (request.target, request.path, request.query) == (
        b"/v1/a%20b?k=%2F", b"/v1/a%20b", b"k=%2F",
    )  # fmt: skip
    assert request.headers == [
        (b"host", b"[::1]:8080"),
        (b"x", b"\xe4\t"),
        (b"expect", b"100-Continue"),
        (b"content-length", b"7"),
        (b"cookie", b"a=1; b=2"),
    ]
    assert (request.authority, request.version, request.framing) == (b"[::1]:8080", "2", 7)
    assert request.expect
    assert not request.upgrade


@pytest.mark.parametrize(("ended", "framing"), [(True, None), (False, CHUNKED)])
def test_a_body_without_a_length_is_open(ended: bool, framing: object) -> None:
    request = read_request(head({}), ended=ended)
    assert request.framing is framing


def test_nobody_waits_to_send_a_body_that_is_none() -> None:
    assert not read_request(head({}, (b"expect", b"100-continue")), ended=True).expect


@pytest.mark.parametrize(
    "fields", [head({b":authority": None}, (b"host", b"a")), head({}, (b"host", b"A"))]
)
def test_a_host_stands_for_the_authority_or_beside_it(fields: Headers) -> None:
    request = read_request(fields, ended=True)
    assert request.authority == b"a"
    assert request.headers == [(b"host", b"a")]


def test_options_of_the_server_as_a_whole() -> None:
    request = read_request(head({b":method": b"OPTIONS", b":path": b"*"}), ended=True)
    assert (request.path, request.target) == (b"*", b"*")


octets = st.binary(max_size=12) | st.from_regex(rb"[ -~]{0,12}", fullmatch=True)
paths = octets | octets.map(b"/".__add__) | st.from_regex(rb"/([a-z%2eF./?\\]|%2[eEfF]){0,9}")


@given(path=paths, method=st.sampled_from([b"GET", b"OPTIONS"]), host=st.just(b"a") | octets)
def test_a_target_is_served_where_and_as_http1_would(
    path: bytes, method: bytes, host: bytes
) -> None:
    fields = head({b":path": path, b":method": method, b":authority": host})
    try:
        check_fields(fields, Block.REQUEST)
        request = read_request(fields, ended=True)
    except (BadHead, MalformedFieldsError):
        return
    raw = b"%b %b HTTP/1.1\r\nhost: %b\r\n\r\n" % (method, path, host)
    same = read_head(raw)
    assert request[:5] == same[:5]
