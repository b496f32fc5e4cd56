"""Working off a queue that is a table: what fails is tried again, and nothing ends the worker."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from engine.errors import UnavailableError

_UNWELL_S: Final = 1.0
_REFUSED_S: Final = 60.0  # what was done may be done again then
_JITTER: Final = 0.5


async def keep_trying(work: Callable[[], Awaitable[None]], what: str, log: logging.Logger) -> None:
    """Do it over and over; `what` waits, as the log says, while the database is unwell (a second),
    or while the work fails for a reason that nobody foresaw (a minute). Never returns."""
    while True:
        try:
            await work()
        except UnavailableError as error:  # the database; the queue is as it was
            log.info("%s wait: %s", what, error.message)
            await trio.sleep(_UNWELL_S)
        except Exception as error:  # noqa: BLE001 - a corrupt page must not end the gateway
            log.error("%s wait: %s", what, error)
            await trio.sleep(_REFUSED_S)


def pause_s(tries: int, least_s: float, most_s: float) -> float:
    """Before the next try after so many: it doubles up to a bound, with jitter downwards."""
    longest_s = min(least_s * float(1 << min(tries, 32)), most_s)
    return longest_s * random.uniform(1 - _JITTER, 1)  # noqa: S311 - no secret
