"""A net under everything: how many requests one address may make, whoever it says it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from engine.admission.limits import now_us, whole_ms_s
from engine.errors import AddressLimitedError

ADDRESSES_MAX: Final = 200_000
"""Remembered at once, 140 bytes each; further ones pass uncounted, and connections are bounded."""


class NetLimiter:
    """So many requests a window and address: all at once, or evenly (GCRA); one integer each.

    An address is kept as the moment when its allowance will be whole again. Two tables take turns
    every window: what has not been touched for one is whole by then, so that dropping the older
    table forgets nothing that matters.
    """

    def __init__(
        self,
        requests: int,
        window_s: int,
        *,
        addresses_max: int = ADDRESSES_MAX,
        clock_us: Callable[[], int] = now_us,
    ) -> None:
        self.requests = requests
        self.window_s = window_s
        self.uncounted = 0
        """Requests that passed because too many addresses were remembered."""
        self._addresses_max = addresses_max
        self._clock_us = clock_us
        self._window_us = window_s * 1_000_000
        # Moments are multiplied by `requests`: one request then takes a whole number, the window's.
        self._window = self._window_us * requests
        self._recent: dict[str, int] = {}
        self._older: dict[str, int] = {}
        self._turned_us = 0

    @property
    def addresses(self) -> int:
        """How many are remembered."""
        return len(self._recent) + len(self._older)

    def take(self, address: str) -> None:
        """One request of this address; one that is refused takes nothing.

        Raises:
            AddressLimitedError: it has made too many; says when the next may come.
        """
        now_us = self._clock_us()
        if now_us - self._turned_us >= self._window_us:
            self._turn(now_us)
        now = now_us * self.requests
        recent = self._recent.get(address)
        whole_at = self._older.get(address) if recent is None else recent
        if whole_at is None:
            if self.addresses >= self._addresses_max:
                self.uncounted += 1
                return
            whole_at = now
        after = max(now, whole_at) + self._window_us
        if after - now > self._window:
            wait_us = -(-(after - now - self._window) // self.requests)
            raise AddressLimitedError(
                f"Too many requests from one address: {self.requests:,} in {self.window_s:,} s.",
                retry_after_s=whole_ms_s(wait_us),
            )
        if recent is None:
            self._older.pop(address, None)
        self._recent[address] = after

    def _turn(self, now_us: int) -> None:
        idle = now_us - self._turned_us >= 2 * self._window_us
        self._older = {} if idle else self._recent
        self._recent = {}
        self._turned_us = now_us
