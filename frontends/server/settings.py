"""What a server is told: bounds in bytes, seconds and counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from frontends.server.forwarded import NOBODY, TrustedPeers
from frontends.server.tls import CertificateStore

ServerKind = Literal["parshall", "hypercorn"]
Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """The headers and the body of an answer that the app does not make."""

    headers: Headers
    body: bytes


def plain_error(status: int) -> ErrorBody:
    """An empty body: the least an HTTP client understands."""
    return ErrorBody([], b"")


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Bounds of the connection boundary. Beyond each: a clear error or a reset, never growth."""

    server: ServerKind = "parshall"
    """Whose HTTP it is: ours, or that of Hypercorn's protocol classes."""
    connections_max: int = 10_000
    connections_per_ip_max: int = 1_000
    """Of one address, or IPv6 /64; this machine and trusted proxies are not counted."""
    trusted: TrustedPeers = NOBODY
    """Proxies whose `X-Forwarded-For` and PROXY protocol are believed."""
    tls: CertificateStore | None = None
    """With it TCP is TLS only; Unix sockets stay without."""
    proxy_protocol: bool = False
    """Trusted proxies open with a header of the PROXY protocol; nobody else may."""
    header_max_bytes: int = 32_768
    header_timeout_s: float = 20.0
    """From the connection to the end of its first request's head."""
    keep_alive_s: float = 75.0
    """From an answer to the end of the next request's head."""
    write_stall_s: float = 30.0
    """A client that takes no byte for so long is gone."""
    linger_s: float = 2.0
    """After the last answer, how long what the client still sends is read and dropped."""
    pipelined_max_bytes: int = 65_536
    """What a client may send ahead of the answer to its current request."""
    sink_high_water_bytes: int = 65_536
    """What a sink holds for a slow client before it says so."""
    output_max_bytes: int = 256 * 1024 * 1024
    """What waits for all clients that lag; beyond it the one that lags most is cut."""
    coalesce_s: float = 0.005
    """So long writes may wait for one another while the process lags."""
    loop_lag_s: Callable[[], float] | None = None
    """How late the event loop runs what is due, averaged over a moment; without it writes never
    wait for one another."""
    streams_max: int = 100
    """HTTP/2 streams of one connection at once."""
    render_error: Callable[[int], ErrorBody] = plain_error
    """Words an answer by status: malformed HTTP (4xx), too many connections (503)."""
