"""The index of keys, as the ledger has it: filled at the start, changed as operators change it."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from engine.admission.keys import SCOPES, KeyIndex, Scope, Terms
from engine.admission.limits import Limiter
from engine.admission.plans import ALL_MODELS, NO_LIMITS, Limits, ModelSet
from engine.ledger.changes import AccountSet, Change, KeyClosed, KeyPut, Switched, TermsSet
from engine.ledger.records import TermsRow

_SHARED_MAX: Final = 4_096
"""Values that many keys have alike are in memory once; of each kind so many."""


def terms_of(row: TermsRow) -> Terms:
    """What a row says that a key may do. Scopes that this version does not know are left out.

    >>> terms_of(TermsRow("ci", ("read", "fly"), limits={"requests_per_min": 30})).limits
    Limits(requests_per_min=30, tokens_per_min=None, concurrent_streams=None)
    """
    return Terms(
        name=row.name,
        scopes=_scopes(row.scopes),
        models=ALL_MODELS if row.models is None else _models(row.models),
        limits=_limits(tuple(row.limits.items())) if row.limits else NO_LIMITS,
        expires_at_ms=row.expires_at_ms,
        replaced_by=row.replaced_by,
    )


def follow_keys(keys: KeyIndex, limiter: Limiter, change: Change) -> None:
    """Keep the index as the ledger is, from the next request on. Changes of what is not in it, and
    changes that have been made already, are nothing."""
    match change:
        case KeyPut(key, terms):
            keys.put(bytes.fromhex(key.digest), key.key_id, key.account_id, terms_of(terms))
            keys.recognise(key.prefix)
        case KeyClosed(key_id):
            if keys.close(key_id):  # what has another's name must not empty its buckets
                limiter.forget(key_id)
        case TermsSet(key_id, terms):
            keys.set_terms(key_id, terms_of(terms))
        case AccountSet(account_id, plan, off):
            keys.set_account(account_id, plan, off)
        case Switched(kind="key", subject=key_id, off=off):
            keys.switch(key_id, off=off)
        case Switched(kind="account", subject=account_id, off=off):
            keys.set_account(account_id, keys.account(account_id).plan, off)


@lru_cache(_SHARED_MAX)
def _scopes(names: tuple[str, ...]) -> frozenset[Scope]:
    return frozenset(scope for scope in SCOPES if scope in names)


@lru_cache(_SHARED_MAX)
def _models(patterns: tuple[str, ...]) -> ModelSet:
    return ModelSet.of(patterns)


@lru_cache(_SHARED_MAX)
def _limits(limits: tuple[tuple[str, int], ...]) -> Limits:
    return Limits(**dict(limits))
