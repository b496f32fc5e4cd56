"""Signatures of AWS's (version 4), by botocore: its signer, and its chain of credentials.

The chain is that of every AWS tool: the environment, the shared files and their profiles, roles to
be assumed, single sign-on, a process, a container's or an instance's metadata. All of it may block,
so it runs in a thread beside the requests; signing one only computes (docs.aws.amazon.com/boto3,
'Credentials').
"""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass
from typing import Any, Final

import trio

from engine.errors import UpstreamRejectedError
from engine.protocols.scrub import scrub
from engine.wire.http import Headers

# botocore is imported by those who use it: half a second and 25 MB that others need not pay.

logger = logging.getLogger(__name__)

_SERVICE: Final = "bedrock"
"""The name in signatures; that of the host is another one."""
_LOOK_EVERY_S: Final = 60.0
"""botocore renews what expires within 15 minutes, when it is asked."""
_RENEWAL_TIMEOUT_S: Final = 30.0
_RETRY_FIRST_S: Final = 1.0
_RETRY_MOST_S: Final = 60.0
_JITTER: Final = 0.2
_REASON_MAX_CHARS: Final = 500
_ADVICE: Final = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a 'profile', run where a role is given, "
    "or give an API key of Bedrock's in 'api_key'"
)


@dataclass(frozen=True, slots=True)
class _Found:
    source: Any
    """botocore's Credentials, or RefreshableCredentials."""
    frozen: Any
    """What it held when it was last asked: ReadOnlyCredentials."""
    expires: bool

    @property
    def valid(self) -> bool:
        return not (self.expires and self.source.refresh_needed(refresh_in=0))


class AwsCredentials:
    """Of one provider.

    Args:
        name: the provider's, for the log.
        origin: scheme, host and port as in `:authority`; both are signed.
        region: that the signatures are for.
        profile: of the shared files; None: what AWS_PROFILE says, or the default one.
        proxy: the URL of the proxy that roles are assumed through; metadata is asked directly.
    """

    signs_body = True

    def __init__(
        self,
        name: str,
        origin: str,
        region: str,
        profile: str | None = None,
        proxy: str | None = None,
    ) -> None:
        self._name = name
        self._origin = origin
        self._region = region
        self._profile = profile
        self._proxy = proxy
        self._found: _Found | None = None

    def sign(self, method: str, path: str, body: bytes) -> Headers:
        """The time, the signature over the host, the path and the body, and a session's token.

        Raises:
            UpstreamRejectedError: no credentials were found, or they have expired and were not
                renewed; the log has the reason.
        """
        found = self._found
        if found is None or not found.valid:
            raise UpstreamRejectedError(
                "The gateway has no valid credentials for the provider; tell the operator.",
                status=502,
                code="upstream_credentials_refused",
            )
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        request = AWSRequest(method=method, url=self._origin + path, data=body)
        SigV4Auth(found.frozen, _SERVICE, self._region).add_auth(request)
        return [(n.lower().encode(), value.encode()) for n, value in request.headers.items()]

    async def keep_fresh(
        self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """See `Credentials.keep_fresh`; keys that do not expire are looked for until found."""
        # A thread that was given up on may still hold botocore's locks: no second one beside it.
        limiter = trio.CapacityLimiter(1)
        failures = 0
        while True:
            failures = 0 if await self._renew(limiter) else failures + 1
            task_status.started()
            task_status = trio.TASK_STATUS_IGNORED
            if self._found is not None and not self._found.expires:
                return
            await trio.sleep(_wait_s(failures))

    async def _renew(self, limiter: trio.CapacityLimiter) -> bool:
        """What is valid now; what went wrong is logged."""
        try:
            with trio.fail_after(_RENEWAL_TIMEOUT_S):
                self._found = await trio.to_thread.run_sync(
                    self._look, self._found, limiter=limiter, abandon_on_cancel=True
                )
        except _FailedError as failed:
            reason = failed.reason
        except trio.TooSlowError:
            reason = f"no answer within {_RENEWAL_TIMEOUT_S:g} s"
        else:
            return True
        usable = self._found is not None and self._found.valid
        logger.log(
            logging.WARNING if usable else logging.ERROR,
            "provider %s: no credentials of AWS's: %s; %s",
            self._name,
            scrub(reason)[:_REASON_MAX_CHARS],
            _ADVICE,
        )
        return False

    def _look(self, found: _Found | None) -> _Found:
        """Blocks, in a thread of its own."""
        try:
            source = self._load() if found is None else found.source
            if source is None:
                raise LookupError("there are none in the environment, files or metadata")
            frozen = source.get_frozen_credentials()
        except Exception as error:  # whatever else a library raises must not end the gateway
            raise _FailedError(error) from error
        return _Found(source, frozen, expires=hasattr(source, "refresh_needed"))

    def _load(self) -> Any:
        # With them comes what `sign` imports: now, and not by the first request.
        from botocore.config import Config
        from botocore.session import Session

        session = Session(profile=self._profile)
        session.set_config_variable("region", self._region)
        if self._proxy is not None:
            proxies = {"http": self._proxy, "https": self._proxy}
            session.set_default_client_config(Config(proxies=proxies))
        return session.get_credentials()


def _wait_s(failures: int) -> float:
    """Until the next look. Spread, so that many gateways do not come at once."""
    spread = random.uniform(1 - _JITTER, 1)  # noqa: S311 - no secret
    if not failures:
        return _LOOK_EVERY_S * spread
    return min(_RETRY_FIRST_S * 2.0 ** min(failures - 1, 10), _RETRY_MOST_S) * spread


class _FailedError(Exception):
    """No credentials."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.reason = f"{type(error).__name__}: {error}"
