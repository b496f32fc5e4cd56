"""Load shedding: what the process cannot carry is refused while that is cheap.

Asked before a request's body is read. What is under way is never touched, and neither are the
questions of operators and balancers.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from engine import Gateway
from engine.errors import UnavailableError
from engine.load import Load, available_memory_bytes

LAG_FOR_S: Final = 1.0
"""A loop that lags by more than `lag_max_s` for so long takes nothing new."""
_MEMORY_SHARE: Final = 0.8
"""Of what the process may take, where the configuration names no limit."""
_RETRY_MIN_S, _RETRY_MAX_S = 1, 5


class LoadShedder:
    """Of one gateway."""

    def __init__(
        self,
        gateway: Gateway,
        *,
        load: Load | None = None,
        retry_after_s: Callable[[], float] | None = None,
    ) -> None:
        """`load` and `retry_after_s` stand in for the process's own and for chance."""
        self._gateway = gateway
        self._load = gateway.load if load is None else load
        self._retry_after_s = retry_after_s or _draw
        self._lag_max_s = gateway.config.server.lag_max_s
        self._load.lag.watch(self._lag_max_s)
        self._memory_max_bytes = gateway.config.server.memory_max_bytes
        if not self._memory_max_bytes:
            self._memory_max_bytes = int((available_memory_bytes() or 0) * _MEMORY_SHARE)

    def refusal(self) -> UnavailableError | None:
        """Why a new request is to be refused now, if it is; counted in the metrics."""
        reason = self._overloaded()
        if reason is None:
            return None
        return self.refused(*reason)

    def refused(self, reason: str, message: str) -> UnavailableError:
        """A refusal that is counted, for the caller to raise; clients come back one by one."""
        self._gateway.telemetry.shed(reason)
        return UnavailableError(message, retry_after_s=self._retry_after_s())

    def _overloaded(self) -> tuple[str, str] | None:
        if self._gateway.open_exchanges >= self._gateway.config.server.exchanges_max:
            return "exchanges", "The gateway is at its limit of open requests."
        # Where nothing is under way, there is nothing to wait for either.
        busy = self._gateway.open_exchanges > 0
        if busy and 0 < self._memory_max_bytes < self._load.memory_bytes():
            return "memory", "The gateway is short of memory."
        if self._load.lag.above_s(self._lag_max_s) >= LAG_FOR_S:
            return "loop_lag", "The gateway is overloaded."
        return None


def _draw() -> float:
    return random.randint(_RETRY_MIN_S, _RETRY_MAX_S)  # noqa: S311 - spreads clients, no secret
