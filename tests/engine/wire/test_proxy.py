"""Where a proxy is, when the environment asks for one, and what its answer to CONNECT means."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.wire.proxy import (
    ANSWER_MAX_BYTES,
    Connect,
    Proxy,
    ProxyRefusedError,
    complete_proxy,
    environment_proxy,
    is_exempt,
    parse_proxy,
)

PLAIN = Proxy("proxy.test", 3128)


def basic(pair: str) -> bytes:
    return b"Basic " + base64.b64encode(pair.encode())


@pytest.mark.parametrize(
    ("url", "authority", "authorization"),
    [
        ("http://proxy.test:3128", "proxy.test:3128", None),
        ("http://proxy.test/", "proxy.test:80", None),
        ("http://[2001:db8::1]:3128", "[2001:db8::1]:3128", None),
        ("http://ann:secret@proxy.test:1", "proxy.test:1", basic("ann:secret")),
        ("http://ann@proxy.test:1", "proxy.test:1", basic("ann:")),
        ("http://a%40b:p%3A%2Fw@proxy.test:1", "proxy.test:1", basic("a@b:p:/w")),
        ("http://ann:%C3%A9@proxy.test:1", "proxy.test:1", basic("ann:é")),
    ],
)
def test_a_proxy_is_a_url(url: str, authority: str, authorization: bytes | None) -> None:
    proxy = parse_proxy(url)
    assert (proxy.authority, proxy.authorization) == (authority, authorization)


def test_a_password_can_come_apart() -> None:
    assert parse_proxy("http://ann@p:1", "pa:ss").authorization == basic("ann:pa:ss")


@pytest.mark.parametrize("password", ["plain", "a:b@c/d?e#f%41 é", ""])
def test_a_password_can_be_put_into_the_url(password: str) -> None:
    complete = complete_proxy("http://ann%40b@p:1/", password)
    assert parse_proxy(complete) == parse_proxy("http://ann%40b@p:1", password)
    assert complete_proxy("http://p:1", None) == "http://p:1"


@pytest.mark.parametrize(
    ("url", "password", "problem"),
    [
        ("https://ann:secret@p:1", None, "http://"),
        ("socks5://ann:secret@p:1", None, "http://"),
        ("ann:secret@p:1", None, "http://"),
        ("http://", None, "host"),
        ("http://ann:secret@p:1/path", None, "host:port"),
        ("http://ann:secret@p:99999", None, "port"),
        ("http://ann:secret@p:x", None, "port"),
        ("http://ann:secret@[::1", None, "no URL"),
        ("http://ann:secret@p\u2100", None, "no URL"),
        ("http://ann:secret@p:1", "secret", "already"),
        ("http://p:1", "secret", "no user"),
        ("http://:secret@p:1", None, "no user"),
        ("http://an%3An:secret@p:1", None, "colon"),
    ],
)
def test_what_is_no_proxy_is_said_without_its_password(
    url: str, password: str | None, problem: str
) -> None:
    with pytest.raises(ValueError, match=problem) as caught:
        parse_proxy(url, password)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_credentials_are_not_shown() -> None:
    assert "Basic" not in repr(parse_proxy("http://ann:secret@p:1"))


@pytest.mark.parametrize(
    ("environ", "scheme", "expected"),
    [
        ({}, "https", None),
        ({"HTTPS_PROXY": "http://p:1"}, "https", ("HTTPS_PROXY", "http://p:1")),
        ({"HTTPS_PROXY": "http://p:1"}, "http", None),
        ({"HTTP_PROXY": "http://p:1"}, "http", ("HTTP_PROXY", "http://p:1")),
        ({"HTTP_PROXY": "http://p:1"}, "https", None),
        ({"ALL_PROXY": "http://p:1"}, "https", ("ALL_PROXY", "http://p:1")),
        ({"ALL_PROXY": "http://p:1", "https_proxy": "x:2"}, "https", ("https_proxy", "http://x:2")),
        ({"HTTPS_PROXY": "u:1", "https_proxy": "l:2"}, "https", ("https_proxy", "http://l:2")),
        ({"HTTPS_PROXY": " "}, "https", None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "api.test"}, "https", None),
        ({"HTTPS_PROXY": "http://p:1", "no_proxy": ".test"}, "https", None),
        ({"HTTPS_PROXY": "p:1", "NO_PROXY": "x.test"}, "https", ("HTTPS_PROXY", "http://p:1")),
    ],
)
def test_the_environment_names_a_proxy(
    environ: dict[str, str], scheme: str, expected: tuple[str, str] | None
) -> None:
    assert environment_proxy(scheme, "api.test", 443, environ) == expected


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.0.1", "::1"])
def test_loopback_is_never_behind_the_environments_proxy(host: str) -> None:
    assert environment_proxy("https", host, 443, {"HTTPS_PROXY": "http://p:1"}) is None


@pytest.mark.parametrize(
    ("host", "no_proxy", "exempt"),
    [
        ("api.test", "", False),
        ("api.test", "*", True),
        ("api.test", "api.test", True),
        ("API.test.", "api.TEST", True),
        ("api.test", "other.test, api.test", True),
        ("api.test", "other.test api.test", True),
        ("api.test", ".test", True),
        ("api.test", "*.test", True),
        ("api.test", "test", True),
        ("contest", "test", False),
        ("api.test", "pi.test", False),
        ("api.test", "api.test:443", True),
        ("api.test", "api.test:8443", False),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("api.test", "10.0.0.0/8", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "2.3", False),
        ("10.1.2.3", "10.1.2.3:443", True),
        ("2001:db8::1", "2001:db8:0::1", True),
        ("2001:db8::1", "[2001:db8::1]:443", True),
        ("2001:db8::1", "[2001:db8::1]:80", False),
        ("2001:db8::1", "2001:db8::/32", True),
        ("api.test", "10.0.0.0/99,,.", False),
    ],
)
def test_no_proxy(host: str, no_proxy: str, exempt: bool) -> None:
    assert is_exempt(host, 443, no_proxy) is exempt


def test_the_request() -> None:
    assert Connect(parse_proxy("http://ann:secret@p:1"), "api.test", 443).request() == (
        b"CONNECT api.test:443 HTTP/1.1\r\n"
        b"host: api.test:443\r\n"
        b"user-agent: parshall\r\n"
        b"proxy-authorization: " + basic("ann:secret") + b"\r\n\r\n"
    )
    assert Connect(PLAIN, "::1", 443).request().startswith(b"CONNECT [::1]:443 HTTP/1.1\r\n")


@pytest.mark.parametrize("host", ["a b", "a\r\nx: y", "bücher.test"])
def test_a_host_that_cannot_be_named(host: str) -> None:
    with pytest.raises(ValueError, match=r"host|codec"):
        Connect(PLAIN, host, 443).request()


ANSWERS = [
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"HTTP/1.0 200 Connection established\r\nvia: squid\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    # RFC 9110 section 9.3.6: these fields of a 2xx answer to CONNECT mean nothing
    b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
]


@given(
    answer=st.sampled_from(ANSWERS),
    rest=st.binary(max_size=30),
    cuts=st.lists(st.integers(0, 120), max_size=8),
)
def test_an_open_tunnel_and_what_came_through_it_already(
    answer: bytes, rest: bytes, cuts: list[int]
) -> None:
    connect = Connect(PLAIN, "api.test", 443)
    connect.request()
    whole, begin = answer + rest, 0
    for end in [*sorted(c for c in cuts if c < len(whole)), len(whole)]:
        got = connect.receive(whole[begin:end]) if end > begin else None
        if got is not None:
            assert got + whole[end:] == rest
            return
        begin = end
    raise AssertionError("the tunnel never opened")


@pytest.mark.parametrize("status", [301, 403, 407, 502])
def test_a_refusal_has_its_status(status: int) -> None:
    connect = Connect(PLAIN, "api.test", 443)
    connect.request()
    with pytest.raises(ProxyRefusedError) as caught:
        connect.receive(b"HTTP/1.1 %d No\r\ncontent-length: 2\r\n\r\nno" % status)
    assert caught.value.status == status


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x15\x03\x01\x00\x02\x02\x16\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * ANSWER_MAX_BYTES,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 1_000,
        b"",
        b"HTTP/1.1 200",
    ],
)
def test_what_is_no_answer(answer: bytes) -> None:
    connect = Connect(PLAIN, "api.test", 443)
    connect.request()

    def receive_all() -> None:
        for part in (answer, b""):
            connect.receive(part)

    with pytest.raises(ProxyRefusedError) as caught:
        receive_all()
    assert caught.value.status is None
