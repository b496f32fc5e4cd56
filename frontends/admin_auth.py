"""Who may administer over HTTP: by a credential of its own, from addresses that may."""

from __future__ import annotations

import hmac
from collections import deque
from collections.abc import Sequence
from typing import Final

import trio

from engine.admission.keys import digest
from engine.config_access import AdminConfig
from engine.errors import AddressLimitedError, AddressNotAllowedError, AdminKeyError
from frontends.commands import Actor
from frontends.server.forwarded import TrustedPeers, parse_address, parse_trusted
from frontends.server.peers import network_of

FAILURES_MAX: Final = 10
"""Of an address in `WINDOW_S`; then it has to wait, whatever it sends."""
WINDOW_S: Final = 60.0
ADDRESSES_MAX: Final = 10_000
"""Remembered at once; whoever failed longest ago is forgotten first."""
_SECRET_MAX_CHARS: Final = 1_024


class OperatorAuth:
    """Tells operators by `Authorization: Bearer`, and by nothing else.

    A key for inference is nothing here: it gets the same answer as nonsense. Secrets are compared
    by their digests, all of them in a time that tells nothing.
    """

    def __init__(self) -> None:
        self._config = AdminConfig()
        self._credentials: tuple[tuple[str, str], ...] = ()
        self._allowed: TrustedPeers | None = None
        self._failures: dict[str, deque[float]] = {}

    def use(self, config: AdminConfig) -> None:
        """Go by these credentials and addresses from now on."""
        if config is not self._config:
            self._config = config
            self._credentials = tuple(
                (name, digest(secret)) for name, secret in config.credentials()
            )
            self._allowed = parse_trusted(sorted(config.allow)) if config.allow else None

    def authenticate(self, authorizations: Sequence[str], peer: str, *, told: bool = True) -> Actor:
        """The operator whose credential the headers `authorization` have; `told` is whether the
        peer is who asks, as far as can be known, and no proxy that asks for somebody else.

        Raises:
            AddressNotAllowedError: nobody may come from that address, or from who knows where.
            AddressLimitedError: it has failed too often.
            AdminKeyError: there is no credential, or none that we know.
        """
        if self._allowed is not None and not (told and peer in self._allowed):
            raise AddressNotAllowedError("Operators may not come from this address.")
        parsed = parse_address(peer)
        who = peer if parsed is None else network_of(parsed)
        self._check_failures(who)
        name = self._name_of(_bearer(authorizations))
        if name is None:
            self._note_failure(who)
            raise AdminKeyError(
                "This is for operators: send a credential of [admin] as "
                "'Authorization: Bearer SECRET'."
            )
        return Actor(name, peer)

    def _name_of(self, secret: str | None) -> str | None:
        given, found = digest(secret or ""), None
        for name, known in self._credentials:
            if hmac.compare_digest(known, given):
                found = name
        return found if secret else None

    def _check_failures(self, who: str) -> None:
        failures, now = self._failures.get(who), trio.current_time()
        if failures is None:
            return
        while failures and failures[0] <= now - WINDOW_S:
            failures.popleft()
        if not failures:
            del self._failures[who]
        elif len(failures) >= FAILURES_MAX:
            raise AddressLimitedError(
                "Too many wrong credentials have come from this address.",
                retry_after_s=failures[0] + WINDOW_S - now,
            )

    def _note_failure(self, who: str) -> None:
        failures = self._failures.pop(who, None) or deque(maxlen=FAILURES_MAX)
        failures.append(trio.current_time())
        self._failures[who] = failures  # the last one in the order of dicts
        if len(self._failures) > ADDRESSES_MAX:
            del self._failures[next(iter(self._failures))]


def _bearer(authorizations: Sequence[str]) -> str | None:
    """The one credential of a request; of several nobody could say which is meant."""
    if len(authorizations) != 1:
        return None
    scheme, _, secret = authorizations[0].partition(" ")
    secret = secret.strip()
    return secret if scheme.lower() == "bearer" and len(secret) <= _SECRET_MAX_CHARS else None
