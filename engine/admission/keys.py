"""API keys: made at random, shown once, kept as a digest, looked up in memory."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Final, Literal, get_args

from engine.admission.limits import Demand
from engine.admission.plans import ALL_MODELS, NO_LIMITS, Limits, ModelSet
from engine.errors import (
    AccountDisabledError,
    AuthenticationError,
    ClientError,
    ExpiredKeyError,
    KeyDisabledError,
)

KEY_PREFIX: Final = "sk-parshall-"
"""What keys begin with unless the configuration says otherwise."""
_SECRET_BYTES = 32
_SHOWN_CHARS = 4
# A key is under 70 characters; hashing more than this for a stranger is work for nothing.
_KEY_MAX_CHARS = 256

Scope = Literal["inference", "read", "keys"]
"""What a key is made for: to generate, to read what its account has done, to make further keys."""
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
DEFAULT_SCOPES: Final[frozenset[Scope]] = frozenset({"inference", "read"})


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a request comes from."""

    account_id: str
    key_id: str


@dataclass(frozen=True, slots=True)
class Terms:
    """What a key may do, beside what its account may.

    Attributes:
        expires_at_ms: from this moment on it is refused; None: it stays good.
        replaced_by: the id of the key that was made in its place.
    """

    name: str = ""
    scopes: frozenset[Scope] = DEFAULT_SCOPES
    models: ModelSet = ALL_MODELS
    limits: Limits = NO_LIMITS
    expires_at_ms: int | None = None
    replaced_by: str | None = None


class Account:
    """As far as admission knows it: its plan, by name, whether it is switched off, and how many
    keys it has."""

    __slots__ = ("account_id", "keys", "off", "plan")

    def __init__(self, account_id: str) -> None:
        self.account_id = account_id
        self.plan: str | None = None
        self.off = False
        self.keys = 0


class KeyEntry:
    """A key, as it is now: what is changed in it counts from the next request on."""

    __slots__ = (
        "_demand",
        "_plan_limits",
        "account",
        "closed",
        "digest",
        "off",
        "principal",
        "terms",
    )

    def __init__(self, digest: bytes, principal: Principal, account: Account, terms: Terms) -> None:
        self.digest = digest
        self.principal = principal
        self.account = account
        self.terms = terms
        self.off = False
        self.closed = False
        self._demand: Demand | None = None
        self._plan_limits = NO_LIMITS

    def demand(self, plan_limits: Limits) -> Demand:
        """The limits that a request with it has to keep: its own, and its account's plan's."""
        if self._demand is None or self._plan_limits is not plan_limits:
            self._plan_limits = plan_limits
            self._demand = Demand.of(
                (self.principal.key_id, self.terms.limits),
                (self.account.account_id, plan_limits),
            )
        return self._demand

    def change(self, terms: Terms) -> None:
        """These terms from now on."""
        self.terms = terms
        self._demand = None

    def refusal(self, now_ms: int) -> ClientError | None:
        """Why it is not taken now, if it is not."""
        expires_at_ms = self.terms.expires_at_ms
        if self.closed:
            return _unknown()
        if expires_at_ms is not None and now_ms >= expires_at_ms:
            return ExpiredKeyError("The API key has expired.")
        if self.off:
            return KeyDisabledError("The API key has been disabled by the operator.")
        if self.account.off:
            return AccountDisabledError("The account has been disabled by the operator.")
        return None


def new_secret(prefix: str = KEY_PREFIX) -> str:
    """A key of 256 random bits."""
    return prefix + secrets.token_urlsafe(_SECRET_BYTES)


def shown_prefix(secret: str, prefix: str = KEY_PREFIX) -> str:
    """The part of a key that people recognise it by; `prefix` is what it was made with."""
    known = len(prefix) if secret.startswith(prefix) else 0
    return secret[: known + _SHOWN_CHARS]


def digest(secret: str) -> str:
    """What is stored of a key. A plain hash: 256 random bits leave nothing to guess."""
    return _digest(secret).hex()


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


class KeyIndex:
    """All keys that are not revoked, by digest. A lookup by digest tells a guesser nothing by its
    timing.

    No checkpoint in any of it, and no lock: one thread.
    """

    def __init__(self) -> None:
        self._entries: dict[bytes, KeyEntry] = {}
        self._by_id: dict[str, KeyEntry] = {}
        self._accounts: dict[str, Account] = {}
        self.prefixes: tuple[str, ...] = (KEY_PREFIX,)
        """What keys begin with: the default, and whatever else some were made with."""

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, digest: bytes, key_id: str, account_id: str, terms: Terms) -> KeyEntry:
        """Accept a key from now on; one that is there is only given the terms.

        `digest` is of 32 bytes, not its hexadecimal form.
        """
        entry = self._by_id.get(key_id)
        if entry is not None:
            entry.change(terms)
            return entry
        account = self.account(account_id)
        entry = KeyEntry(digest, Principal(account_id, key_id), account, terms)
        self._entries[digest] = self._by_id[key_id] = entry
        account.keys += 1
        return entry

    def recognise(self, shown: str) -> None:
        """Take note of what a key begins with, by the part of it that people are shown."""
        prefix = shown[:-_SHOWN_CHARS]
        if prefix and prefix not in self.prefixes:
            self.prefixes = (*self.prefixes, prefix)

    def close(self, key_id: str) -> bool:
        """Refuse a key from now on, for good; what it has started goes on. False: it is none."""
        entry = self._by_id.pop(key_id, None)
        if entry is None:
            return False
        entry.closed = True
        entry.account.keys -= 1
        del self._entries[entry.digest]
        return True

    def set_terms(self, key_id: str, terms: Terms) -> None:
        """Change what a key may do from now on."""
        if (entry := self._by_id.get(key_id)) is not None:
            entry.change(terms)

    def switch(self, key_id: str, *, off: bool) -> None:
        """Refuse a key from now on, or accept it again."""
        if (entry := self._by_id.get(key_id)) is not None:
            entry.off = off

    def set_account(self, account_id: str, plan: str | None, off: bool) -> None:
        """Change the plan of an account by its name, and whether its keys are refused."""
        account = self.account(account_id)
        account.plan, account.off = plan, off

    def account(self, account_id: str) -> Account:
        """An account; what has not been said of it is the default."""
        account = self._accounts.get(account_id)
        if account is None:
            account = self._accounts[account_id] = Account(account_id)
        return account

    def find(self, key: str | None, now_ms: int) -> KeyEntry:
        """The key that a client has sent.

        Raises:
            AuthenticationError: none, or one that is unknown, revoked or expired.
            KeyDisabledError, AccountDisabledError: an operator has switched it off.
        """
        if not key:
            raise AuthenticationError(
                "You didn't provide an API key. Send it as 'Authorization: Bearer YOUR_KEY'."
            )
        entry = None
        if len(key) <= _KEY_MAX_CHARS:
            entry = self._entries.get(_digest(key))
        if entry is None:
            raise _unknown()
        self.check(entry, now_ms)
        return entry

    def check(self, entry: KeyEntry, now_ms: int) -> None:
        """Whether a key that was found before is still good; no hash. Raises as `find`."""
        if (refusal := entry.refusal(now_ms)) is not None:
            raise refusal


def _unknown() -> AuthenticationError:
    return AuthenticationError("Incorrect API key provided.")
