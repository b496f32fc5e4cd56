"""How a stream is lost, and one error out of a nursery's group."""

from __future__ import annotations

import logging

import trio

from engine.errors import UpstreamUnreachableError

logger = logging.getLogger(__name__)


class StreamLostError(UpstreamUnreachableError):
    """The connection under a stream ended before the answer did (502).

    Attributes:
        unprocessed: the provider never acted on the request, so sending it again is safe
            (RFC 9113 section 8.7).
    """

    code = "upstream_lost"

    def __init__(self, message: str, *, unprocessed: bool) -> None:
        super().__init__(message)
        self.unprocessed = unprocessed


def sole_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one exception a caller should see: an error before a cancellation, the first of several.

    The others are logged, not lost.
    """
    errors = [error for error in group.exceptions if not _is_cancellation(error)]
    if not errors:
        cancelled: BaseException = group
        while isinstance(cancelled, BaseExceptionGroup):
            cancelled = cancelled.exceptions[0]
        return cancelled
    for error in errors[1:]:
        logger.error("a second error at the same time", exc_info=error)
    return errors[0]


def _is_cancellation(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)[1] is None
    return isinstance(error, trio.Cancelled)
