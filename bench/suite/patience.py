"""Waiting for a host that takes the CPU time away, as it does where that is rationed in bursts.

Cloud machines of the cheaper kinds have their cores for minutes, then a share of them until they
have been idle for a while. What is measured meanwhile is refused; a patient run idles instead.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from statistics import fmean
from typing import Final

from bench.suite.guards import STEAL_MAX
from bench.suite.machine import read_usage

WAIT_MAX_S: Final = 20 * 60.0
"""Of one wait: a host that is as busy after it will not be otherwise."""
CALM_MAX: Final = STEAL_MAX / 2
"""Of a core, on average over `LOOKS`: some is always taken away."""
LOOKS: Final = 6
"""So many have to be calm together, two minutes: time that was saved up a moment ago is soon
used."""
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
    """Idle until little was taken away in `LOOKS`, or `WAIT_MAX_S` are over; the seconds that it
    took."""
    begun_s = clock()
    looks: deque[float] = deque(maxlen=LOOKS)
    while clock() < begun_s + WAIT_MAX_S:
        looks.append(stolen())
        if len(looks) == LOOKS and fmean(looks) <= CALM_MAX:
            break
        sleep(_LOOK_EVERY_S)
    return clock() - begun_s
