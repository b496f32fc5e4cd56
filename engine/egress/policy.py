"""What may be reached, and how much may come of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from engine.egress.hosts import Address, HostSet, forms, is_public, unmapped
from engine.wire.proxy import Proxy

PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """Bounds of one fetch, download or message.

    Attributes:
        http: URLs without TLS too.
        ports: allowed beside the scheme's own.
        private: hosts that are fetched from wherever they are: the operator's own servers.
        denied: hosts that never are; of a name, also those below it.
        accept: content types, in lower case; none: any.
        max_bytes: of the body, after it was inflated.
        timeout_s: for everything, redirects included.
        idle_timeout_s: for each connection, handshake and read.
        redirects_max: each is checked as if it were the first URL.
        ca_file: trusted in place of the system's authorities (PEM).
        proxy: asked, by CONNECT, for an address that was checked here; None: none, whatever the
            environment says.
    """

    http: bool = False
    ports: frozenset[int] = frozenset()
    private: HostSet = field(default_factory=HostSet)
    denied: HostSet = field(default_factory=HostSet)
    accept: tuple[str, ...] = ("image/png", "image/jpeg", "image/gif", "image/webp")
    max_bytes: int = 20 * 1024 * 1024
    timeout_s: float = 20.0
    idle_timeout_s: float = 5.0
    redirects_max: int = 3
    ca_file: Path | None = None
    proxy: Proxy | None = field(default=None, repr=False)

    def allows(self, scheme: str, host: str, port: int) -> bool:
        """Whether a URL may be resolved at all."""
        if scheme == "http" and not self.http:
            return False
        if port != PORTS[scheme] and port not in self.ports:
            return False
        return not self.denied.has_parent(host)

    def may_lead_to(self, host: str) -> bool:
        """Whether a host may be reached, as far as that is known before it is resolved: of an
        address, and of this machine's own name (RFC 6761, section 6.3)."""
        try:
            return self.may_reach(ip_address(host), host)
        except ValueError:
            ours = host == "localhost" or host.endswith(".localhost")
            return not ours or self.private.has_name(host)

    def may_reach(self, address: Address, host: str) -> bool:
        """Whether an address that `host` has resolved to may be connected to."""
        leads_to = forms(address)
        if any(map(self.denied.has_address, leads_to)):
            return False
        if self.private.has_name(host) or self.private.has_address(unmapped(address)):
            return True
        return is_public(address)
