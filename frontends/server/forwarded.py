"""Who asks, when a proxy stands in between: believed only from peers that are configured."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, Literal

from frontends.server.interfaces import Headers, Peer

PEER: Final = "parshall.peer"
"""The ASGI extension that holds the request's `Peer`."""
HOPS_MAX: Final = 32
UNIX: Final = "unix"
"""What stands for the address of a peer on a Unix socket."""
_FOR: Final = b"x-forwarded-for"
_PROTO: Final = b"x-forwarded-proto"
_SIGNS: Final = frozenset({_FOR, _PROTO, b"forwarded", b"via", b"x-real-ip", b"x-forwarded-host"})
"""What proxies add. Whoever sends one asks for somebody else, and is not `local`."""


@dataclass(frozen=True, slots=True)
class TrustedPeers:
    """Proxies whose word about their clients is taken."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    unix: bool = False

    def __contains__(self, address: str) -> bool:
        if address == UNIX:
            return self.unix
        parsed = parse_address(address) if self.networks else None
        return parsed is not None and any(parsed in network for network in self.networks)


NOBODY: Final = TrustedPeers()


def parse_trusted(entries: Sequence[str]) -> TrustedPeers:
    """Addresses, networks in CIDR notation, and `unix` for Unix sockets.

    Raises:
        ValueError: an entry is none of these; the message says which.
    """
    networks = []
    for entry in entries:
        if entry != UNIX:
            try:
                networks.append(ipaddress.ip_network(entry))
            except ValueError as error:
                raise ValueError(
                    f"'{entry}' is neither an address, a network nor 'unix'"
                ) from error
    return TrustedPeers(tuple(networks), UNIX in entries)


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """An address as a socket or a proxy writes it; IPv4 in IPv6's clothes counts as IPv4."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_forwarded(headers: Headers) -> bool:
    """Whether who asks says that it asks for somebody else."""
    return not _SIGNS.isdisjoint(name for name, _ in headers)


def client_of(peer: Peer, headers: Headers, trusted: TrustedPeers) -> Peer:
    """Who asks: the peer itself, or the client that trusted proxies name.

    `X-Forwarded-For` is read from its end, since each proxy appends whom it heard from: the first
    address that is not a trusted proxy's is the client. What cannot be parsed ends the search.
    """
    if not is_forwarded(headers):
        return peer
    peer = replace(peer, local=False)
    if peer.address not in trusted:
        return peer
    address, port = peer.address, peer.port
    for hop in _hops(headers):
        found = _split_port(hop)
        if found is None:
            break
        address, port = found
        if address not in trusted:
            break
    return replace(peer, address=address, port=port, scheme=_scheme(headers) or peer.scheme)


def _hops(headers: Headers) -> Iterator[str]:
    """From the nearest to the farthest."""
    joined = b",".join(value for name, value in headers if name == _FOR)
    for hop in reversed(joined.rsplit(b",", HOPS_MAX)[-HOPS_MAX:]):
        yield hop.strip(b" \t").decode("latin-1")


def _split_port(text: str) -> tuple[str, int] | None:
    """`192.0.2.1`, `192.0.2.1:80`, `2001:db8::1` or `[2001:db8::1]:80`."""
    host, port = text, ""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    address = parse_address(host)
    if address is None or not (port == "" or (port.isascii() and port.isdecimal())):
        return None
    return str(address), min(int(port[:6] or "0"), 65_535)


def _scheme(headers: Headers) -> Literal["http", "https"] | None:
    """What the nearest proxy says the client speaks."""
    lines = [value for name, value in headers if name == _PROTO]
    last = lines[-1].rpartition(b",")[2].strip(b" \t").lower() if lines else b""
    match last:
        case b"http":
            return "http"
        case b"https":
            return "https"
    return None
