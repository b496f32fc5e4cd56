"""Which HTTP/2 streams are cut because their client lets nothing of them through.

A shut window says little by itself: over a slow link, what filled it may still be on its way. So
half of the allowed time after the last progress the client is sent a PING; its answer shows that
it has everything, and the other half runs from there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Protocol

from frontends.server.transport import RATE_MIN_BYTES_S

_SILENT_FACTOR: Final = 2
"""A client that answers no PING has so many times as long."""


class Sending(Protocol):
    """A stream of an answer, as far as it matters here."""

    sent_bytes: int
    blocked: bool
    """Its windows let nothing more through, though something waits."""


@dataclass(slots=True)
class _Lag:
    """How a stream lags.

    Attributes:
        progress_s: when enough of it was last let through.
        progress_bytes: how much had been sent then.
        ping: the number of the PING that asks after it; 0: none yet.
        pong_s: when that was answered.
    """

    progress_s: float
    progress_bytes: int
    ping: int = 0
    pong_s: float = math.inf


class Stalls:
    """The streams of one connection whose windows were too small for what they had to say.

    Args:
        stall_s: so long a client may let nothing through, or less than `RATE_MIN_BYTES_S`.
    """

    def __init__(self, stall_s: float) -> None:
        self.look_at_s = math.inf
        """When `look` has something to do."""
        self._stall_s = stall_s
        self._lags: dict[Sending, _Lag] = {}
        self._pings = 0
        self._pongs = 0

    def shut(self, stream: Sending, now_s: float) -> None:
        """A stream is `blocked`."""
        lag = self._lags.get(stream)
        if lag is not None:
            taken_bytes = stream.sent_bytes - lag.progress_bytes
            if taken_bytes < RATE_MIN_BYTES_S * (now_s - lag.progress_s) or not taken_bytes:
                return
        self._lags[stream] = _Lag(now_s, stream.sent_bytes)
        self.look_at_s = min(self.look_at_s, now_s + self._stall_s / 2)

    def clear(self, stream: Sending) -> None:
        """Nothing waits in it any more."""
        self._lags.pop(stream, None)

    def heard(self, pongs: int, now_s: float) -> None:
        """So many PINGs were answered in all."""
        if pongs == self._pongs:
            return
        self._pongs = pongs
        for lag in self._lags.values():
            if lag.ping and lag.ping <= pongs and lag.pong_s == math.inf:
                lag.pong_s = now_s
                self.look_at_s = min(self.look_at_s, now_s + self._stall_s / 2)

    def look(self, now_s: float) -> tuple[list[Sending], bool]:
        """The streams to cut, and whether a PING is to be sent now."""
        cut: list[Sending] = []
        asked = False
        self.look_at_s = math.inf
        for stream, lag in self._lags.items():
            due_s = self._due_s(lag)
            if now_s >= due_s:
                if not stream.blocked:  # the client has opened its windows; the socket lags
                    due_s = now_s + self._stall_s / 2
                elif lag.ping:
                    cut.append(stream)
                    continue
                else:
                    asked = True
                    lag.ping = self._pings + 1
                    # Whoever was not asked in time, since we slept, still has time to answer.
                    lag.progress_s = max(lag.progress_s, now_s - self._stall_s)
                    due_s = self._due_s(lag)
            self.look_at_s = min(self.look_at_s, due_s)
        for stream in cut:
            del self._lags[stream]
        self._pings += asked
        return cut, asked

    def _due_s(self, lag: _Lag) -> float:
        """When to ask after a stream; once that is done, when to cut it."""
        if not lag.ping:
            return lag.progress_s + self._stall_s / 2
        if lag.pong_s == math.inf:
            return lag.progress_s + _SILENT_FACTOR * self._stall_s
        return lag.pong_s + self._stall_s / 2
