"""Requests in HTTP/1.1, from the fields HTTP/2 would send."""

from __future__ import annotations

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.wire.http import Headers
from engine.wire.http1_request import encode_request
from engine.wire.http2_fields import MalformedFieldsError

GET: Headers = [
    (b":method", b"GET"),
    (b":scheme", b"http"),
    (b":authority", b"provider:8000"),
    (b":path", b"/v1/models?limit=1"),
]


def with_field(name: bytes, value: bytes) -> Headers:
    """The same request with one pseudo-field changed, or a field more."""
    if name[:1] == b":":
        return [(n, value if n == name else v) for n, v in GET]
    return [*GET, (name, value)]


def test_a_request_without_a_body() -> None:
    assert encode_request([*GET, (b"accept", b"*/*")], 0) == (
        b"GET /v1/models?limit=1 HTTP/1.1\r\nhost: provider:8000\r\naccept: */*\r\n\r\n"
    )


def test_a_body_has_its_length() -> None:
    post = with_field(b":method", b"POST")
    assert encode_request(post, 12).endswith(b"content-length: 12\r\n\r\n")
    assert encode_request(post, 0).endswith(b"content-length: 0\r\n\r\n")
    given_length = [*post, (b"content-length", b"12")]
    assert encode_request(given_length, 12).count(b"content-length: 12\r\n") == 1


def test_host_is_said_once() -> None:
    both = encode_request(with_field(b"host", b"elsewhere"), 0)
    assert both.count(b"host:") == 1
    assert b"elsewhere" not in both
    only_host = [field for field in GET if field[0] != b":authority"]
    assert b"host: here\r\n" in encode_request([*only_host, (b"host", b"here")], 0)


def test_te_needs_more_than_http2_says() -> None:
    assert b"te:" not in encode_request(with_field(b"te", b"trailers"), 0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b":path", b"/a b"),
        (b":path", b"/a\r\nx: y"),
        (b":path", b"/\xc3\xa9"),
        (b":path", b"a"),
        (b":path", b"http://provider/"),
        (b":path", b"/ HTTP/1.1"),
        (b":method", b"G T"),
        (b":method", b"CONNECT"),
        (b":method", b""),
        (b":authority", b"host/path"),
        (b":authority", b"ho st"),
        (b":authority", b"host\r\nx: y"),
        (b":authority", b""),
        (b"x", b"a\r\nb: c"),
        (b"x", b"a\nb"),
        (b"x", b"a\0b"),
        (b"x y", b"a"),
        (b"x:", b"a"),
        (b"X", b"a"),
        (b"", b"a"),
        (b"connection", b"close"),
        (b"transfer-encoding", b"chunked"),
        (b"content-length", b"5"),
        (b"content-length", b"x"),
        (b":protocol", b"websocket"),
    ],
)
def test_what_cannot_be_said_is_refused(name: bytes, value: bytes) -> None:
    headers = with_field(name, value)
    if name == b":protocol":
        headers = [(b":protocol", value), *GET]
    with pytest.raises(MalformedFieldsError):
        encode_request(headers, 0)


@given(
    path=st.binary(max_size=20).map(lambda tail: b"/" + tail),
    fields=st.lists(
        st.tuples(st.from_regex(rb"[a-z]{1,8}", fullmatch=True), st.binary(max_size=20)),
        max_size=5,
    ),
)
def test_no_field_can_smuggle_another(path: bytes, fields: list[tuple[bytes, bytes]]) -> None:
    """Whatever is encoded, a server reads exactly that."""
    headers = [*with_field(b":path", path), *((b"x-" + name, value) for name, value in fields)]
    try:
        wire = encode_request(headers, 0)
    except MalformedFieldsError:
        return

    class Server:
        def __init__(self) -> None:
            self.url = b""
            self.fields: list[tuple[bytes, bytes]] = []
            self.requests = 0

        def on_url(self, url: bytes) -> None:
            self.url += url

        def on_header(self, name: bytes, value: bytes) -> None:
            self.fields.append((name, value))

        def on_message_complete(self) -> None:
            self.requests += 1

    server = Server()
    parser = httptools.HttpRequestParser(server)
    parser.set_dangerous_leniencies(lenient_headers=True)
    parser.feed_data(wire)
    assert server.requests == 1
    assert server.url == path
    assert server.fields == [(b"host", b"provider:8000"), *headers[4:]]
