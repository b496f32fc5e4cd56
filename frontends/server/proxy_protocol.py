"""The PROXY protocol, versions 1 and 2: a proxy's first bytes say whom it stands for.

Source: HAProxy's `proxy-protocol.txt`, sections 2.1 and 2.2.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass
from typing import Final

from frontends.server.forwarded import parse_address

LINE_MAX_BYTES: Final = 107
"""Of version 1, with its CRLF."""
BLOCK_MAX_BYTES: Final = 4_096
"""Of version 2, its type-length-values included: the addresses need 52 of them."""
_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED_BYTES: Final = 16
_FAMILIES: Final = {0x11: "!4s4sHH", 0x21: "!16s16sHH"}
"""TCP over IPv4 and over IPv6: the layout of the addresses."""

Address = tuple[str, int]


class ProxyError(Exception):
    """It is not the PROXY protocol; the connection is to be closed."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """What the proxy says. Without addresses (LOCAL, UNKNOWN) the socket's own count."""

    size: int
    """So many bytes; what follows is the client's."""
    client: Address | None = None
    server: Address | None = None


def parse_proxy(data: bytes) -> ProxyHeader | None:
    """Read the header at the start of `data`; None when more bytes are needed.

    Raises:
        ProxyError: these are not the first bytes of one.
    """
    if data[: len(_SIGNATURE)] == _SIGNATURE[: len(data)]:
        return _parse_block(data)
    if data[:6] == b"PROXY "[: len(data)]:
        return _parse_line(data)
    raise ProxyError("no header of the PROXY protocol")


def _parse_line(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\r\n", 0, LINE_MAX_BYTES)
    if end < 0:
        if len(data) >= LINE_MAX_BYTES:
            raise ProxyError("the line is too long")
        return None
    match data[:end].split(b" "):
        case [_, b"UNKNOWN", *_]:
            return ProxyHeader(end + 2)
        case [_, (b"TCP4" | b"TCP6") as family, source, target, source_port, target_port]:
            version = 4 if family == b"TCP4" else 6
            return ProxyHeader(
                end + 2,
                _read_address(source, source_port, version),
                _read_address(target, target_port, version),
            )
    raise ProxyError("the line cannot be read")


def _read_address(address: bytes, port: bytes, version: int) -> Address:
    try:
        parsed = ipaddress.ip_address(address.decode("ascii"))
    except ValueError:
        raise ProxyError("an address cannot be read") from None
    if parsed.version != version or not port.isdigit() or len(port) > 5 or int(port) > 65_535:
        raise ProxyError("an address is not what the line says")
    return _plain(str(parsed)), int(port)


def _parse_block(data: bytes) -> ProxyHeader | None:
    if len(data) < _FIXED_BYTES:
        return None
    version_command, family = data[12], data[13]
    size = _FIXED_BYTES + int.from_bytes(data[14:16], "big")
    if version_command not in {0x20, 0x21} or size > BLOCK_MAX_BYTES:
        raise ProxyError("an unknown command, or a block that is too long")
    if len(data) < size:
        return None
    if version_command == 0x20 or family not in _FAMILIES:
        return ProxyHeader(size)
    layout = _FAMILIES[family]
    if size - _FIXED_BYTES < struct.calcsize(layout):
        raise ProxyError("the block is too short for its addresses")
    source, target, source_port, target_port = struct.unpack_from(layout, data, _FIXED_BYTES)
    return ProxyHeader(
        size,
        (_plain(str(ipaddress.ip_address(source))), source_port),
        (_plain(str(ipaddress.ip_address(target))), target_port),
    )


def _plain(address: str) -> str:
    return str(parse_address(address) or address)
