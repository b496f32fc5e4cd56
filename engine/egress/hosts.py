"""Which addresses are the public's, and lists of hosts that an operator names.

Sources: the special-purpose address registries of IANA, as `ipaddress` has them; RFC 6890. Beyond
these: multicast; addresses that are public but a platform's own; IPv6 addresses in which an IPv4
address hides, and that a translator or a tunnel on the way would deliver there (RFC 4291 section
2.5.5, RFC 6052, RFC 3056, RFC 4380, RFC 5214).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_ISATAP: Final = frozenset({0x0000_5EFE, 0x0200_5EFE})
"""The upper half of an interface id whose lower half is an IPv4 address."""
_REFUSED: Final[tuple[Network, ...]] = (
    IPv4Network("168.63.129.16/32"),  # Azure's own services, of any machine in it
    IPv4Network("192.0.0.0/24"),  # IETF's protocols; Oracle's metadata
    IPv4Network("192.88.99.0/24"),  # relays of 6to4, deprecated by RFC 7526
    IPv6Network("2001:db8::/32"),
    IPv6Network("3fff::/20"),  # documentation (RFC 9637), which Python 3.11 does not know
)


def is_public(address: Address) -> bool:
    """Whether anybody on the internet can reach it, and nobody nearer can.

    >>> is_public(ipaddress.ip_address("93.184.215.14"))
    True
    >>> is_public(ipaddress.ip_address("::ffff:169.254.169.254"))
    False
    """
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return False
    hidden = list(_hidden(address))
    if hidden:
        return all(map(is_public, hidden))
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    refused = any(address in network for network in _REFUSED)
    return address.is_global and not address.is_multicast and not refused


def unmapped(address: Address) -> Address:
    """An IPv4 address that is written as an IPv6 one, as itself."""
    return getattr(address, "ipv4_mapped", None) or address


def forms(address: Address) -> tuple[Address, ...]:
    """The address, and those that it leads to."""
    return (address, *_hidden(address))


def _hidden(address: Address) -> Iterator[IPv4Address]:
    if isinstance(address, IPv4Address):
        return
    bits = int(address)
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if address in _NAT64 or (bits >> 32 & 0xFFFF_FFFF) in _ISATAP:
        yield IPv4Address(bits & 0xFFFF_FFFF)


@dataclass(frozen=True, slots=True)
class HostSet:
    """Names, and networks of addresses."""

    names: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    def has_name(self, host: str) -> bool:
        """Whether just this name is in it."""
        return host in self.names

    def has_parent(self, host: str) -> bool:
        """Whether this name is in it, or one that it is below.

        >>> parse_hosts(["evil.example"]).has_parent("www.evil.example")
        True
        """
        labels = host.split(".")
        return any(".".join(labels[start:]) in self.names for start in range(len(labels)))

    def has_address(self, address: Address) -> bool:
        """Whether an address is in one of its networks."""
        return any(address in network for network in self.networks)


def parse_hosts(entries: Iterable[str]) -> HostSet:
    """From names, addresses and networks in CIDR notation.

    Raises:
        ValueError: an entry is none of them; names it.
    """
    names, networks = set(), []
    for entry in entries:
        try:
            networks.append(ipaddress.ip_network(entry))
        except ValueError:
            name = entry.lower().rstrip(".")
            if not name or not all(c.isascii() and (c.isalnum() or c in "-._") for c in name):
                raise ValueError(
                    f"has '{entry}', which is no host name, address or network"
                ) from None
            if name.replace(".", "").isdigit():
                raise ValueError(f"has '{entry}', which is no address") from None
            names.add(name)
    return HostSet(frozenset(names), tuple(networks))
