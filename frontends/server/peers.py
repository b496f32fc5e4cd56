"""How many connections one client may hold."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address, IPv6Address

from frontends.server.forwarded import TrustedPeers, parse_address


def network_of(address: IPv4Address | IPv6Address) -> str:
    """What counts together with an address: of IPv6 its /64, which is what one subscriber has."""
    return address.packed[:8].hex() if isinstance(address, IPv6Address) else str(address)


def group_of(address: str, trusted: TrustedPeers) -> str:
    """The network of an address, as connections and requests are counted by.

    Empty for what is not counted: this machine itself and trusted proxies, behind which many
    clients stand.
    """
    parsed = parse_address(address)
    if parsed is None or parsed.is_loopback or address in trusted:
        return ""
    return network_of(parsed)


class PeerBounds:
    """Counts connections by the group of their address."""

    def __init__(self, max_per_ip: int, trusted: TrustedPeers) -> None:
        self._max_per_ip = max_per_ip
        self._trusted = trusted
        self._open: Counter[str] = Counter()

    def enter(self, address: str) -> str | None:
        """Count a connection. Returns what `leave` wants, or None when there are too many."""
        key = group_of(address, self._trusted)
        if key:
            if self._open[key] >= self._max_per_ip:
                return None
            self._open[key] += 1
        return key

    def leave(self, key: str) -> None:
        """A connection has ended."""
        if key:
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]
