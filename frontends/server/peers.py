"""How many connections one client may hold."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv6Address

from frontends.server.forwarded import TrustedPeers, parse_address


class PeerBounds:
    """Counts connections by address; of IPv6 by /64, which is what one subscriber has.

    Not counted: this machine itself and trusted proxies, behind which many clients stand.
    """

    def __init__(self, max_per_ip: int, trusted: TrustedPeers) -> None:
        self._max_per_ip = max_per_ip
        self._trusted = trusted
        self._open: Counter[str] = Counter()

    def enter(self, address: str) -> str | None:
        """Count a connection. Returns what `leave` wants, or None when there are too many."""
        key = self._key(address)
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

    def _key(self, address: str) -> str:
        parsed = parse_address(address)
        if parsed is None or parsed.is_loopback or address in self._trusted:
            return ""
        if isinstance(parsed, IPv6Address):
            return parsed.packed[:8].hex()
        return str(parsed)
