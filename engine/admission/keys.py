"""API keys: made at random, shown once, kept as a digest, looked up in memory."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from engine.errors import AuthenticationError

KEY_PREFIX = "sk-parshall-"
_SECRET_BYTES = 32
_SHOWN_CHARS = 4
# A key is under 60 characters; hashing more than this for a stranger is work for nothing.
_KEY_MAX_CHARS = 256


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a request comes from."""

    account_id: str
    key_id: str


def new_secret() -> str:
    """A key of 256 random bits."""
    return KEY_PREFIX + secrets.token_urlsafe(_SECRET_BYTES)


def shown_prefix(secret: str) -> str:
    """The part of a key that people recognise it by."""
    return secret[: len(KEY_PREFIX) + _SHOWN_CHARS]


def digest(secret: str) -> str:
    """What is stored of a key. A plain hash: 256 random bits leave nothing to guess."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


class KeyIndex:
    """All valid keys by digest. A lookup by digest tells a guesser nothing by its timing."""

    def __init__(self) -> None:
        self._principals: dict[str, Principal] = {}
        self._digests: dict[str, str] = {}

    def add(self, key_digest: str, principal: Principal) -> None:
        """Accept a key from now on."""
        self._principals[key_digest] = principal
        self._digests[principal.key_id] = key_digest

    def remove(self, key_id: str) -> None:
        """Refuse a key from now on; what it has started goes on."""
        key_digest = self._digests.pop(key_id, None)
        if key_digest is not None:
            del self._principals[key_digest]

    def authenticate(self, key: str | None) -> Principal:
        """Who a key belongs to.

        Raises:
            AuthenticationError: no key, or one that is unknown or revoked.
        """
        if not key:
            raise AuthenticationError(
                "You didn't provide an API key. Send it as 'Authorization: Bearer YOUR_KEY'."
            )
        principal = None
        if len(key) <= _KEY_MAX_CHARS:
            principal = self._principals.get(digest(key))
        if principal is None:
            raise AuthenticationError("Incorrect API key provided.")
        return principal
