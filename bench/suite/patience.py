"""Waiting for a host that takes the CPU time away, as it does where that is rationed in bursts.

Cloud machines of the cheaper kinds have their cores for minutes, then a share of them until they
have been idle for a while. What is measured meanwhile is refused; a patient run idles instead.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from bench.suite.guards import STEAL_MAX
from bench.suite.machine import read_usage

WAIT_MAX_S: Final = 20 * 60.0
"""Of one wait: a host that is as busy after it will not be otherwise."""
CALM_S: Final = 180.0
"""How long nothing has to be taken away: time that was saved up a moment ago is soon used."""
_LOOK_EVERY_S: Final = 20.0
_LOOK_S: Final = 0.25


def stolen_share() -> float:
    """The share of a core that the host takes away while this process wants all of one."""
    before, begun_s = read_usage(), time.monotonic()
    while time.monotonic() < begun_s + _LOOK_S:
        pass
    return (read_usage().steal_s - before.steal_s) / (time.monotonic() - begun_s)


def wait_calm(
    stolen: Callable[[], float] = stolen_share,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> float:
    """Idle until nothing has been taken away for `CALM_S`, or `WAIT_MAX_S` are over; the seconds
    that it took."""
    begun_s = clock()
    calm_since_s: float | None = None
    while (now_s := clock()) < begun_s + WAIT_MAX_S:
        if stolen() > STEAL_MAX:
            calm_since_s = None
        elif calm_since_s is None:
            calm_since_s = now_s
        elif now_s - calm_since_s >= CALM_S:
            break
        sleep(_LOOK_EVERY_S)
    return clock() - begun_s
