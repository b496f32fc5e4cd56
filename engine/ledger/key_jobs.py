"""Keys and their terms in the database: jobs of the journal's thread, and what readers ask."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import orjson
from sqlite_utils import Database

from engine.errors import InvalidRequestError, NotFoundError
from engine.ledger.budget_jobs import Wanted, copy_budgets, put_key_budgets
from engine.ledger.budgets import Budget, BudgetTerms
from engine.ledger.queries import find_key, is_customer, reading
from engine.ledger.records import ConflictError, KeyPage, KeyRow, KeyView, TermsRow
from engine.ledger.sqlite import Store
from engine.ledger.terms import check_terms

OVERLAP_MAX_MS: Final = 366 * 86_400_000
_NO_LIMITS: Final[Mapping[str, int]] = MappingProxyType({})

_VIEWS = """
SELECT keys.key_id, account_id, keys.name, digest, prefix, created_at_ms,
       key_revocations.at_ms AS revoked_at_ms, terms.name AS terms_name, scopes, models, limits,
       expires_at_ms, replaced_by,
       EXISTS (SELECT 1 FROM switched_off
               WHERE kind = 'key' AND subject = keys.key_id) AS off
FROM keys LEFT JOIN key_revocations USING (key_id)
    LEFT JOIN current_terms AS terms ON terms.key_id = keys.key_id
"""
_ONE = f"{_VIEWS} WHERE keys.key_id = ?"
_VALID = """
SELECT keys.key_id, account_id, coalesce(terms.name, keys.name), digest, prefix, created_at_ms,
       scopes, models, limits, expires_at_ms, replaced_by
FROM keys LEFT JOIN current_terms AS terms ON terms.key_id = keys.key_id
WHERE keys.key_id NOT IN (SELECT key_id FROM key_revocations)
ORDER BY created_at_ms, keys.key_id
"""
_PAGE = f"{_VIEWS} WHERE account_id = :account AND (created_at_ms, keys.key_id) > (:at_ms, :after)"
_PAGE_OF_ALL = f"{_VIEWS} WHERE (created_at_ms, keys.key_id) > (:at_ms, :after)"
_PAGE_END = " ORDER BY created_at_ms, keys.key_id LIMIT :rows"


@dataclass(frozen=True, slots=True)
class MadeKey:
    """A new key, its terms and its budgets."""

    key: KeyRow
    terms: TermsRow
    budgets: tuple[Budget, ...]


@dataclass(frozen=True, slots=True)
class Rotated:
    """A new key, and the one in whose place it was put, as that is then."""

    made: MadeKey
    old: KeyView


def create_key(
    store: Store,
    account_id: str,
    digest: str,
    prefix: str,
    terms: TermsRow,
    budgets: Sequence[BudgetTerms],
) -> MadeKey:
    """A new key; of its secret only the digest is known here.

    Raises:
        NotFoundError: no such account.
        ConflictError: the digest is known already.
    """

    def insert(db: Database) -> MadeKey:
        if not is_customer(db, account_id):
            raise NotFoundError("There is no such account.")
        key = _put_key(store, account_id, digest, prefix, terms)
        wanted = [
            Wanted(
                account_id,
                key.key_id,
                each.period,
                each.limit_nanodollars,
                each.hard,
                each.soft_percents,
            )
            for each in budgets
        ]
        store.concerns(key.key_id)
        return MadeKey(key, terms, tuple(put_key_budgets(store, wanted)))

    return store.run(insert)


def _put_key(store: Store, account_id: str, digest: str, prefix: str, terms: TermsRow) -> KeyRow:
    key_id = f"key_{secrets.token_hex(12)}"
    key = KeyRow(key_id, account_id, terms.name, digest, prefix, store.clock())
    row = asdict(key)
    del row["revoked_at_ms"]
    try:
        store.db.table("keys").insert(row)
    except sqlite3.IntegrityError as error:
        raise ConflictError("There is such a key already.") from error
    if terms != TermsRow(terms.name):
        _put_terms(store, key_id, terms)
    return key


def _put_terms(store: Store, key_id: str, terms: TermsRow) -> None:
    store.db.table("key_terms").insert(
        {
            "key_id": key_id,
            "name": terms.name,
            "scopes": orjson.dumps(terms.scopes).decode(),
            "models": None if terms.models is None else orjson.dumps(terms.models).decode(),
            "limits": orjson.dumps(dict(terms.limits)).decode(),
            "expires_at_ms": terms.expires_at_ms,
            "replaced_by": terms.replaced_by,
            "at_ms": store.clock(),
        }
    )


def set_key_terms(store: Store, key_id: str, change: Callable[[TermsRow], TermsRow]) -> KeyView:
    """Give a key other terms; the same again changes nothing.

    Raises:
        ConflictError: it is revoked.
        NotFoundError: no such key.
        ValueError: the terms are absurd.
    """

    def insert(db: Database) -> KeyView:
        before = _unrevoked(db, key_id)
        terms = check_terms(change(before.terms))
        if terms != before.terms:
            _put_terms(store, key_id, terms)
        return replace(before, key=replace(before.key, name=terms.name), terms=terms)

    return store.run(insert)


def rotate_key(store: Store, key_id: str, digest: str, prefix: str, overlap_ms: int) -> Rotated:
    """Put a new key in the place of one.

    Raises:
        ConflictError: it is revoked, expired, switched off, or was rotated already; the digest is
            known already.
        NotFoundError: no such key.
    """

    def insert(db: Database) -> Rotated:
        before = _unrevoked(db, key_id)
        at_ms, terms = store.clock(), before.terms
        expires_at_ms = terms.expires_at_ms
        if before.off:
            raise ConflictError(f"The key '{key_id}' is switched off.")
        if terms.replaced_by is not None:
            raise ConflictError(f"The key '{key_id}' was rotated to '{terms.replaced_by}'.")
        if expires_at_ms is not None and expires_at_ms <= at_ms:
            raise ConflictError(f"The key '{key_id}' has expired.")
        account_id = before.key.account_id
        key = _put_key(store, account_id, digest, prefix, terms)
        ends_at_ms = at_ms + overlap_ms
        if expires_at_ms is not None:
            ends_at_ms = min(ends_at_ms, expires_at_ms)
        old_terms = replace(terms, expires_at_ms=ends_at_ms, replaced_by=key.key_id)
        _put_terms(store, key_id, old_terms)
        budgets = copy_budgets(store, account_id, key_id, key.key_id)
        return Rotated(MadeKey(key, terms, tuple(budgets)), replace(before, terms=old_terms))

    return store.run(insert)


def revoke_key(store: Store, key_id: str) -> KeyRow:
    """Revoke a key, once: a second time changes nothing.

    Raises:
        NotFoundError: no such key.
    """

    def insert(db: Database) -> KeyRow:
        key = find_key(db, key_id)
        if key is None:
            raise NotFoundError("There is no such key.")
        if key.revoked_at_ms is not None:
            return key
        at_ms = store.clock()
        db.table("key_revocations").insert({"key_id": key_id, "at_ms": at_ms})
        return replace(key, revoked_at_ms=at_ms)

    return store.run(insert)


def _unrevoked(db: Database, key_id: str) -> KeyView:
    view = _find(db, key_id)
    if view is None:
        raise NotFoundError("There is no such key.")
    if view.key.revoked_at_ms is not None:
        raise ConflictError(f"The key '{key_id}' is revoked.")
    return view


def _find(db: Database, key_id: str) -> KeyView | None:
    return next((_view(row) for row in db.query(_ONE, [key_id])), None)


def stored_key(path: Path, key_id: str) -> KeyView | None:
    """One key, revoked ones too."""
    with reading(path) as db:
        return _find(db, key_id)


def valid_keys(db: Database) -> Iterator[tuple[KeyRow, TermsRow]]:
    """The keys that are not revoked, oldest first. Values that many have alike are shared."""
    for *key, scopes, models, limits, expires_at_ms, replaced_by in db.execute(_VALID):
        row = KeyRow(*key)
        if scopes is None:
            yield row, TermsRow(row.name, limits=_NO_LIMITS)
        else:
            parsed = _parsed(scopes, models, limits)
            yield row, TermsRow(row.name, *parsed, expires_at_ms, replaced_by)


@lru_cache(maxsize=1_024)
def _parsed(
    scopes: str, models: str | None, limits: str
) -> tuple[tuple[str, ...], tuple[str, ...] | None, Mapping[str, int]]:
    return (
        tuple(orjson.loads(scopes)),
        None if models is None else tuple(orjson.loads(models)),
        MappingProxyType(orjson.loads(limits)),
    )


def list_keys(path: Path, account_id: str | None, limit: int, cursor: str | None) -> KeyPage:
    """A page of the keys of an account, or of all, oldest first.

    Raises:
        InvalidRequestError: the cursor is none, or another account's.
    """
    with reading(path) as db:
        at_ms = 0
        if cursor is not None:
            place = _find(db, cursor)
            if place is None or account_id not in (None, place.key.account_id):
                raise InvalidRequestError("'cursor' is not the cursor of a page.", param="cursor")
            at_ms = place.key.created_at_ms
        sql = (_PAGE_OF_ALL if account_id is None else _PAGE) + _PAGE_END
        of = {"account": account_id, "at_ms": at_ms, "after": cursor or "", "rows": limit + 1}
        found = [_view(row) for row in db.query(sql, of)]
    shown = tuple(found[:limit])
    return KeyPage(shown, shown[-1].key.key_id if len(found) > limit else None)


def _view(row: Mapping[str, Any]) -> KeyView:
    name = row["terms_name"] or row["name"]
    key = KeyRow(
        row["key_id"],
        row["account_id"],
        name,
        row["digest"],
        row["prefix"],
        row["created_at_ms"],
        row["revoked_at_ms"],
    )
    if row["scopes"] is None:
        return KeyView(key, TermsRow(name), bool(row["off"]))
    parsed = _parsed(row["scopes"], row["models"], row["limits"])
    terms = TermsRow(name, *parsed, row["expires_at_ms"], row["replaced_by"])
    return KeyView(key, terms, bool(row["off"]))
