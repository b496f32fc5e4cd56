"""What one connection is bounded by."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.wire.http1 import Http1Limits
from engine.wire.http2 import Http2Limits


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """Windows, bounds and deadlines of one connection."""

    stream_window_bytes: int = 65_536
    connection_window_bytes: int = 16 * 1024 * 1024
    """HTTP/2: of all streams together."""
    limits: Http2Limits = field(default_factory=Http2Limits)
    http1_limits: Http1Limits = field(default_factory=Http1Limits)
    read_max_bytes: int = 16_384
    """One read is handled in one go: more would hold up every other connection."""
    outbox_max_bytes: int = 65_536
    """Body bytes queued for one write."""
    write_timeout_s: float = 30.0
    ping_interval_s: float = 20.0
    """HTTP/2: between pings, which measure the round trip and ask for a sign of life."""
    ping_timeout_s: float = 10.0
    """What a peer that has been silent for an interval has left."""
    idle_timeout_s: float = 120.0
    """Without a stream, before the connection is closed."""
    close_timeout_s: float = 1.0
