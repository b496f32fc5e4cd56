"""How a stream is lost, and one error out of a nursery's group."""

from __future__ import annotations

import logging
import re
import ssl

import trio

from engine.errors import UpstreamTimeoutError, UpstreamUnreachableError

logger = logging.getLogger(__name__)

_CERTIFICATE_ALERT = re.compile("ALERT_.*(CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED)")


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


class NoStreamError(UpstreamUnreachableError):
    """As many callers wait for a stream to the provider as may (502); it is not to blame."""

    code = "upstream_busy"


class NoStreamInTimeError(UpstreamTimeoutError):
    """There are connections to the provider, and no stream of them became free (504): it does as
    much as it may, and is not to blame."""

    code = "upstream_busy"


def lost_message(
    error: BaseException | None, otherwise: str = "The connection to the provider was lost."
) -> str:
    """Why a connection was lost, for a client. TLS 1.3 servers refuse a client's certificate, or
    that it shows none, only after the client's side of the handshake is done."""
    cause = error.__cause__ if isinstance(error, trio.BrokenResourceError) else error
    if isinstance(cause, ssl.SSLError) and _CERTIFICATE_ALERT.search(cause.reason or ""):
        return "The provider does not accept the gateway's client certificate, or wants one."
    return otherwise


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
