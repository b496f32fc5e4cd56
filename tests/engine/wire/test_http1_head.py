"""A head, byte for byte: what is taken, and as what; what is refused, and with which status."""

from __future__ import annotations

import pytest

from engine.wire.http1_head import CHUNKED, BadHead, RequestHead, decode_path, read_head

HOST = b"Host: h\r\n"


def get(target: bytes = b"/", fields: bytes = HOST, version: bytes = b"HTTP/1.1") -> bytes:
    return b"GET %b %b\r\n%b\r\n" % (target, version, fields)


def post(fields: bytes, version: bytes = b"HTTP/1.1") -> bytes:
    return b"POST / %b\r\n%b%b\r\n" % (version, HOST, fields)


def refused(raw: bytes) -> int:
    """The status it is refused with; 0 where it is taken."""
    try:
        read_head(raw)
    except BadHead as bad:
        return bad.status
    return 0


def test_a_head_is_taken_apart() -> None:
    raw = (
        b"POST /v1/a%20b?x=1&y HTTP/1.1\r\nHOST:  h:80 \r\nX-One: 1\r\nx-one:\t2\r\n"
        b"Content-Length: 07\r\nExpect: 100-Continue\r\nConnection: Upgrade, x\r\n"
        b"Upgrade: WebSocket\r\n\r\n"
    )
    assert read_head(raw) == RequestHead(
        method="POST",
        target=b"/v1/a%20b?x=1&y",
        path=b"/v1/a%20b",
        query=b"x=1&y",
        authority=b"h:80",
        version="1.1",
        headers=[
            (b"host", b"h:80"),
            (b"x-one", b"1"),
            (b"x-one", b"2"),
            (b"content-length", b"07"),
            (b"expect", b"100-Continue"),
            (b"connection", b"Upgrade, x"),
            (b"upgrade", b"WebSocket"),
        ],
        framing=7,
        persistent=True,
        expect=True,
        upgrade=b"websocket",
    )


@pytest.mark.parametrize(
    ("fields", "framing"),
    [
        (b"", None),
        (b"Content-Length: 0\r\n", 0),
        (b"Content-Length: 9223372036854775807\r\n", 2**63 - 1),
        (b"Transfer-Encoding: chunked\r\n", CHUNKED),
        (b"Transfer-Encoding:\tChunked \r\n", CHUNKED),
    ],
)
def test_the_framing_of_a_body(fields: bytes, framing: object) -> None:
    assert read_head(post(fields)).framing == framing


@pytest.mark.parametrize(
    ("version", "fields", "persistent"),
    [
        (b"HTTP/1.1", b"", True),
        (b"HTTP/1.1", b"Connection: close\r\n", False),
        (b"HTTP/1.1", b"Connection: x\r\nConnection: y ,CLOSE\r\n", False),
        (b"HTTP/1.1", b"Connection: closed, keep-alive\r\n", True),
        (b"HTTP/1.0", b"", False),
        (b"HTTP/1.0", b"Connection: Keep-Alive\r\n", True),
        (b"HTTP/1.0", b"Connection: keep-alive, close\r\n", False),
    ],
)
def test_whether_another_request_may_follow(
    version: bytes, fields: bytes, persistent: bool
) -> None:
    assert read_head(post(fields, version)).persistent is persistent


@pytest.mark.parametrize(
    ("target", "path", "query", "authority"),
    [
        (b"/", b"/", b"", b"h"),
        (b"/a/b%20c;d=e:f@g~'()*,!$&+", b"/a/b%20c;d=e:f@g~'()*,!$&+", b"", b"h"),
        (b"/a?b=/../c?d%zz\\", b"/a", b"b=/../c?d%zz\\", b"h"),
        (b"/models/org%2Fa%3Ab", b"/models/org%2Fa%3Ab", b"", b"h"),
        (b"//a", b"//a", b"", b"h"),
        (b"/.well-known/a..b/...", b"/.well-known/a..b/...", b"", b"h"),
        (b"http://h/a?b", b"/a", b"b", b"h"),
        (b"HTTPS://Other:8080/a", b"/a", b"", b"Other:8080"),
        (b"http://other", b"/", b"", b"other"),
        (b"http://other?x", b"/", b"x", b"other"),
        (b"http://[::1]:80/", b"/", b"", b"[::1]:80"),
    ],
)
def test_a_target_is_a_path_or_a_url(
    target: bytes, path: bytes, query: bytes, authority: bytes
) -> None:
    head = read_head(get(target))
    assert (head.target, head.path, head.query, head.authority) == (target, path, query, authority)
    assert head.headers == [(b"host", authority)], "the application sees one host, the target's"


def test_an_asterisk_is_the_server_as_a_whole() -> None:
    assert read_head(b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n").path == b"*"


@pytest.mark.parametrize(
    "target",
    [
        b"*",
        b"a",
        b"a/b",
        b"h:443",
        b"?a",
        b"/a#b",
        b"/a?b#c",
        b"/a\\b",
        b"/a%5Cb",
        b"/a%5cb",
        b"/a%00",
        b"/a%0d%0aX:y",
        b"/a%7F",
        b"/a%",
        b"/a%2",
        b"/a%zz",
        b"/..",
        b"/a/../b",
        b"/a/./b",
        b"/a/%2e%2E/b",
        b"/a/.%2e",
        b"/a/..%2Fb",
        b"http://",
        b"http:///a",
        b"http:/a",
        b"http://u@h/a",
        b"http://h:x/",
        b"http://h/a#b",
        b"http://h/a/../b",
        b"ftp://h/a",
        b"http://a b/",
    ],
)
def test_a_target_that_servers_read_differently_is_refused(target: bytes) -> None:
    assert refused(get(target)) == 400


@pytest.mark.parametrize(
    "host",
    [b"h", b"a.example:8787", b"my_service", b"127.0.0.1:1", b"[::1]", b"[::ffff:1.2.3.4]:65535"],
)
def test_hosts(host: bytes) -> None:
    assert read_head(get(fields=b"host: %b\r\n" % host)).authority == host


@pytest.mark.parametrize(
    "fields",
    [
        b"",
        b"Host:\r\n",
        b"Host: a\r\nHost: a\r\n",
        b"Host: a, b\r\n",
        b"Host: a b\r\n",
        b"Host: a/b\r\n",
        b"Host: u@a\r\n",
        b"Host: a:b\r\n",
        b"Host: a:1:2\r\n",
        b"Host: ::1\r\n",
        b"Host: [::1\r\n",
        b"Host: a\xff\r\n",
        b"Host: a%41\r\n",
    ],
)
def test_hosts_that_are_none(fields: bytes) -> None:
    assert refused(get(fields=fields)) == 400


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (get(version=b"HTTP/1.2"), 505),
        (get(version=b"HTTP/2.0"), 505),
        (get(version=b"HTTP/0.9"), 505),
        (get(version=b"HTTP/1.10"), 400),
        (get(version=b"http/1.1"), 400),
        (get(version=b"RTSP/1.0"), 400),
        (b"GET /\r\n\r\n", 400),
        (b"CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n", 501),
        (b"TRACE / HTTP/1.1\r\nHost: h\r\n\r\n", 501),
        (b"FOO / HTTP/1.1\r\nHost: h\r\n\r\n", 501),
        (b"get / HTTP/1.1\r\nHost: h\r\n\r\n", 501),
        (b"PRI * HTTP/2.0\r\n\r\n", 505),
        (post(b"Transfer-Encoding: gzip, chunked\r\n"), 501),
        (post(b"Expect: the unexpected\r\n"), 417),
        (post(b"Expect: 100-continue, x\r\n"), 417),
        (get(fields=HOST + b"a: b\r\n" * 128), 431),
    ],
)
def test_what_is_refused_for_what_it_asks(raw: bytes, status: int) -> None:
    assert refused(raw) == status


def test_an_expectation_of_an_old_client_is_ignored() -> None:
    assert not read_head(post(b"Expect: 100-continue\r\n", b"HTTP/1.0")).expect


def test_a_protocol_that_is_not_asked_of_us_is_no_upgrade() -> None:
    assert read_head(post(b"Upgrade: websocket\r\n")).upgrade == b""


def test_a_path_is_decoded_for_the_application_and_never_fails() -> None:
    assert decode_path(b"/a%20b%C3%A9%2F") == "/a bé/"
    assert decode_path(b"/%ff") == "/\N{REPLACEMENT CHARACTER}"
