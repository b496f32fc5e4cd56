"""Whom a request is from: what proxies say counts only where they are trusted."""

from __future__ import annotations

import pytest

from frontends.server.forwarded import client_of, parse_trusted
from frontends.server.interfaces import Headers, Peer
from frontends.server.peers import PeerBounds

TRUSTED = parse_trusted(["10.0.0.0/8", "fd00::/8", "unix"])
PROXY = Peer("10.0.0.1", 5_000, "http", local=False)
FOR, PROTO = b"x-forwarded-for", b"x-forwarded-proto"


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        ([b"203.0.113.9"], ("203.0.113.9", 0)),
        ([b"203.0.113.9:4711"], ("203.0.113.9", 4711)),
        ([b"2001:db8::1"], ("2001:db8::1", 0)),
        ([b"[2001:db8::1]:443"], ("2001:db8::1", 443)),
        ([b"::ffff:203.0.113.9"], ("203.0.113.9", 0)),
        ([b"1.1.1.1, 203.0.113.9, 10.9.9.9"], ("203.0.113.9", 0)),
        ([b"1.1.1.1", b"203.0.113.9", b"fd00::7"], ("203.0.113.9", 0)),
        ([b"10.2.2.2,10.3.3.3"], ("10.2.2.2", 0)),
        ([b"1.1.1.1, unknown, 10.3.3.3"], ("10.3.3.3", 0)),
        ([b"1.1.1.1, \xff\xfe"], ("10.0.0.1", 5_000)),
        ([b""], ("10.0.0.1", 5_000)),
        ([b"1.1.1.1:80:80"], ("10.0.0.1", 5_000)),
        ([b"1.1.1.1:99999999999"], ("1.1.1.1", 65_535)),
        ([b"1.1.1.1," + b"10.1.1.1," * 40 + b"10.1.1.1"], ("10.1.1.1", 0)),
    ],
)
def test_the_nearest_address_that_is_no_trusted_proxy_asks(
    lines: list[bytes], client: tuple[str, int]
) -> None:
    found = client_of(PROXY, [(FOR, line) for line in lines], TRUSTED)
    assert (found.address, found.port) == client
    assert not found.local


@pytest.mark.parametrize(
    ("lines", "scheme"),
    [
        ([b"https"], "https"),
        ([b"http, HTTPS"], "https"),
        ([b"https", b"http"], "http"),
        ([b"gopher"], "http"),
        ([], "http"),
    ],
)
def test_the_nearest_proxy_says_what_the_client_speaks(lines: list[bytes], scheme: str) -> None:
    headers: Headers = [(FOR, b"203.0.113.9"), *((PROTO, line) for line in lines)]
    assert client_of(PROXY, headers, TRUSTED).scheme == scheme


def test_others_are_not_believed() -> None:
    stranger = Peer("203.0.113.9", 5_000, "http", local=False)
    headers = [(FOR, b"127.0.0.1"), (PROTO, b"https")]
    assert client_of(stranger, headers, TRUSTED) == stranger


@pytest.mark.parametrize("name", [FOR, PROTO, b"forwarded", b"via", b"x-real-ip"])
def test_what_is_asked_for_somebody_else_is_not_local(name: bytes) -> None:
    here = Peer("unix", 0, "http", local=True)
    assert client_of(here, [(b"host", b"a")], TRUSTED).local
    assert not client_of(here, [(name, b"1")], TRUSTED).local


def test_a_peer_on_a_unix_socket_is_trusted_by_name() -> None:
    here = Peer("unix", 0, "http", local=True)
    assert client_of(here, [(FOR, b"1.1.1.1")], TRUSTED).address == "1.1.1.1"
    assert client_of(here, [(FOR, b"1.1.1.1")], parse_trusted([])).address == "unix"


def test_what_is_no_network_is_named() -> None:
    with pytest.raises(ValueError, match=r"'10\.0\.0\.1/8' is neither"):
        parse_trusted(["10.0.0.0/8", "10.0.0.1/8"])


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ("203.0.113.9", "203.0.113.9", True),
        ("203.0.113.9", "203.0.113.8", False),
        ("203.0.113.9", "::ffff:203.0.113.9", True),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("127.0.0.1", "127.0.0.1", False),
        ("10.0.0.1", "10.0.0.1", False),
        ("unix", "unix", False),
    ],
)
def test_connections_are_counted_by_who_has_the_address(one: str, other: str, shared: bool) -> None:
    bounds = PeerBounds(1, TRUSTED)
    key = bounds.enter(one)
    assert key is not None
    assert (bounds.enter(other) is None) == shared
    bounds.leave(key)
    assert bounds.enter(one) is not None
