"""The PROXY protocol: each form, each cut, and what is none."""

from __future__ import annotations

import pytest

from frontends.server.proxy_protocol import ProxyError, ProxyHeader, parse_proxy

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
FOUR = bytes([203, 0, 113, 9, 192, 0, 2, 1]) + b"\x12\x67\x01\xbb"
SIX = b"\x20\x01\x0d\xb8" + bytes(11) + b"\1" + b"\xfd" + bytes(14) + b"\2" + b"\x12\x67\x01\xbb"
MAPPED = bytes(10) + b"\xff\xff" + FOUR[:4] + bytes(10) + b"\xff\xff" + FOUR[4:]


def block(command: int, family: int, addresses: bytes, values: bytes = b"") -> bytes:
    size = len(addresses + values).to_bytes(2, "big")
    return SIGNATURE + bytes([command, family]) + size + addresses + values


CLIENT, SERVER = ("203.0.113.9", 4711), ("192.0.2.1", 443)
ACCEPTED = [
    (b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 443\r\n", CLIENT, SERVER),
    (b"PROXY TCP6 2001:db8::1 fd00::2 4711 443\r\n", ("2001:db8::1", 4711), ("fd00::2", 443)),
    (b"PROXY UNKNOWN\r\n", None, None),
    (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", None, None),
    (block(0x21, 0x11, FOUR), CLIENT, SERVER),
    (block(0x21, 0x11, FOUR, b"\x04\x00\x01\x00"), CLIENT, SERVER),
    (block(0x21, 0x21, SIX), ("2001:db8::1", 4711), ("fd00::2", 443)),
    (block(0x21, 0x21, MAPPED), CLIENT, SERVER),
    (block(0x20, 0x00, b""), None, None),
    (block(0x20, 0x11, FOUR), None, None),
    (block(0x21, 0x31, bytes(216)), None, None),
]
REFUSED = [
    b"GET / HTTP/1.1\r\n",
    b"\x16\x03\x01",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 4711\r\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 443 \r\n",
    b"PROXY  TCP4 203.0.113.9 192.0.2.1 4711 443\r\n",
    b"PROXY TCP4 2001:db8::1 fd00::2 4711 443\r\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 65536\r\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 -1 443\r\n",
    b"PROXY TCP4 203.0.113.\xff 192.0.2.1 1 443\r\n",
    b"PROXY UDP4 203.0.113.9 192.0.2.1 4711 443\r\n",
    b"PROXY UNKNOWN " + b"x" * 100,
    block(0x11, 0x11, FOUR),
    block(0x22, 0x11, FOUR),
    block(0x21, 0x11, FOUR[:-1]),
    block(0x21, 0x11, FOUR, bytes(5_000)),
]


@pytest.mark.parametrize(("header", "client", "server"), ACCEPTED)
def test_a_header_is_read_however_it_is_cut(
    header: bytes, client: tuple[str, int] | None, server: tuple[str, int] | None
) -> None:
    for end in range(len(header)):
        assert parse_proxy(header[:end]) is None
    assert parse_proxy(header + b"GET /") == ProxyHeader(len(header), client, server)


@pytest.mark.parametrize("data", REFUSED)
def test_what_is_no_header_is_refused(data: bytes) -> None:
    with pytest.raises(ProxyError):
        parse_proxy(data)
