"""Google's access tokens, renewed beside the requests: on the way of one is only a look at the
token. Where tokens come from is in `google_tokens`."""

from __future__ import annotations

import logging
import math
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from engine.errors import UpstreamRejectedError
from engine.protocols.scrub import scrub
from engine.wire.http import Headers

if TYPE_CHECKING:  # a quarter of a second to import: only a start that has such a provider pays
    from google.auth.credentials import Credentials as Loaded

    from engine.upstream.google_tokens import Token

logger = logging.getLogger(__name__)

_LEAD_S: Final = 225.0
"""Renewed so long before it expires: metadata servers give the same token until 4 minutes before,
and this is google-auth's own threshold."""
_JITTER: Final = 0.2
_WAIT_MIN_S: Final = 0.5
_RENEWAL_TIMEOUT_S: Final = 30.0
_RETRY_FIRST_S: Final = 1.0
_RETRY_MOST_S: Final = 60.0
_THREADS_MAX: Final = 2
"""One that was given up on may still run."""
_REASON_MAX_CHARS: Final = 500

_NOT_LOADED: Final = "check what 'credentials_file' names"
_REFUSED: Final = (
    "check that its account and key exist and may be used, and that this machine's clock is right"
)
_NOT_REACHED: Final = (
    "check the network and 'proxy'; outside of Google's cloud name a file in 'credentials_file', "
    "or run `gcloud auth application-default login`"
)


class GoogleCredentials:
    """Of one provider.

    Args:
        name: the provider's, for the log.
        file, proxy: see `engine.upstream.google_tokens.fetch`.
    """

    signs_body = False

    def __init__(self, name: str, file: Path | None = None, proxy: str | None = None) -> None:
        self._name = name
        self._file = file
        self._proxy = proxy
        self._loaded: Loaded | None = None
        self._token: Token | None = None

    def sign(self, method: str, path: str, body: bytes) -> Headers:
        """The token of now.

        Raises:
            UpstreamRejectedError: there is none, or it has expired and was not renewed; the log has
                the reason.
        """
        token = self._valid()
        if token is None:
            raise UpstreamRejectedError(
                "The gateway has no valid credentials for the provider; tell the operator.",
                status=502,
                code="upstream_credentials_refused",
            )
        headers = [(b"authorization", f"Bearer {token.value}".encode("latin-1"))]
        if token.quota_project is not None:
            headers.append((b"x-goog-user-project", token.quota_project.encode("latin-1")))
        return headers

    async def keep_fresh(
        self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """See `Credentials.keep_fresh`."""
        limiter = trio.CapacityLimiter(_THREADS_MAX)
        failures = 0
        while True:
            failures = 0 if await self._renew(limiter) else failures + 1
            task_status.started()
            task_status = trio.TASK_STATUS_IGNORED
            await trio.sleep(self._wait_s(failures))

    def _valid(self) -> Token | None:
        token = self._token
        return token if token is not None and token.expires_at_s > time.time() else None

    def _wait_s(self, failures: int) -> float:
        """Until the next renewal. Spread, so that many gateways do not come at once."""
        spread = random.uniform(1 - _JITTER, 1)  # noqa: S311 - no secret
        if failures:
            doublings = min(failures - 1, 10)
            return min(_RETRY_FIRST_S * 2.0**doublings, _RETRY_MOST_S) * spread
        assert self._token is not None
        left_s = self._token.expires_at_s - time.time()
        if math.isinf(left_s):
            return left_s
        return max(left_s - min(_LEAD_S, left_s / 2) * spread, _WAIT_MIN_S)

    async def _renew(self, limiter: trio.CapacityLimiter) -> bool:
        """A new token; what went wrong is logged."""
        # The thread may outlive its turn: what it works with is its own until it has ended well.
        loaded, self._loaded = self._loaded, None
        try:
            with trio.fail_after(_RENEWAL_TIMEOUT_S):
                self._loaded, self._token = await trio.to_thread.run_sync(
                    self._fetch, loaded, limiter=limiter, abandon_on_cancel=True
                )
        except _Failed as failed:
            reason, advice = failed.reason, failed.advice
        except trio.TooSlowError:
            reason, advice = f"no answer within {_RENEWAL_TIMEOUT_S:g} s", _NOT_REACHED
        else:
            return True
        level = logging.ERROR if self._valid() is None else logging.WARNING
        reason = scrub(reason)[:_REASON_MAX_CHARS]
        logger.log(level, "provider %s: no token of Google's: %s; %s", self._name, reason, advice)
        return False

    def _fetch(self, loaded: Loaded | None) -> tuple[Loaded, Token]:
        """Blocks, in a thread of its own."""
        from google.auth import exceptions

        from engine.upstream import google_tokens

        try:
            return google_tokens.fetch(loaded, self._file, self._proxy)
        except exceptions.DefaultCredentialsError as error:
            raise _Failed(error, _NOT_LOADED) from error
        except (exceptions.TransportError, OSError) as error:
            raise _Failed(error, _NOT_REACHED) from error
        except Exception as error:  # whatever else a library raises must not end the gateway
            raise _Failed(error, _REFUSED) from error


class _Failed(Exception):  # noqa: N818 - an outcome, not a fault of ours
    """No token; `advice` is for the operator."""

    def __init__(self, error: Exception, advice: str) -> None:
        super().__init__()
        self.reason = f"{type(error).__name__}: {error}"
        self.advice = advice
