"""Figures of connections, origins and the pool, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

_SMOOTHING: Final = 1 / 8
"""The weight of the last round trip, as in RFC 6298 section 2."""


@dataclass(frozen=True, slots=True)
class ConnectionStatistics:
    """One connection.

    Send windows are what the provider lets us send, receive windows what we let it send: of the
    connection, and the smallest among its open streams. HTTP/1.1 has none, and no pings.
    """

    protocol: Literal["h2", "http/1.1"]
    state: Literal["open", "draining"]
    age_s: float
    open_streams: int
    free_streams: int
    streams: int
    """Opened since it was made."""
    uploads: int = 0
    """Streams whose request is not all sent."""
    send_window_bytes: int | None = None
    receive_window_bytes: int | None = None
    stream_send_window_min_bytes: int | None = None
    stream_receive_window_min_bytes: int | None = None
    round_trip_last_s: float | None = None
    round_trip_smoothed_s: float | None = None


@dataclass(frozen=True, slots=True)
class OriginStatistics:
    """What the pool has open to one origin; dials and failures since the pool was opened."""

    authority: str
    proxy: str | None
    connections: int
    dialing: int
    open_streams: int
    free_streams: int
    waiting: int
    dials: int
    dials_failed: int
    last_failure: str | None
    """Why the last dial failed; None once one has succeeded."""
    connection_statistics: tuple[ConnectionStatistics, ...]


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """Totals since the pool was opened, and the present by origin."""

    dials: int
    dials_failed: int
    streams: int
    origins: tuple[OriginStatistics, ...]


class RoundTrip:
    """The time from our PINGs to their answers; one is under way at most."""

    __slots__ = ("_count", "_payload", "_sent_at_s", "last_s", "smoothed_s")

    def __init__(self) -> None:
        self.last_s: float | None = None
        self.smoothed_s: float | None = None
        self._count = 0
        self._payload = b""
        self._sent_at_s = 0.0

    def begin(self, now_s: float) -> bytes:
        """The payload of a new PING; an older one that is still out no longer counts."""
        self._count += 1
        self._payload = self._count.to_bytes(8, "big")
        self._sent_at_s = now_s
        return self._payload

    def end(self, payload: bytes | None, now_s: float) -> None:
        """An answer has come."""
        if not self._payload or payload != self._payload:
            return
        self._payload = b""
        last_s = self.last_s = now_s - self._sent_at_s
        smoothed_s = last_s if self.smoothed_s is None else self.smoothed_s
        self.smoothed_s = smoothed_s + _SMOOTHING * (last_s - smoothed_s)
