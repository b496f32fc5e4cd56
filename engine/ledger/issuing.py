"""The part of the ledger that keeps keys: made, changed, rotated, revoked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import trio

from engine.errors import NotFoundError
from engine.ledger import key_jobs, queries
from engine.ledger.budgets import BudgetTerms, Spent
from engine.ledger.changes import KeyClosed, KeyPut, TermsSet
from engine.ledger.key_jobs import MadeKey, Rotated
from engine.ledger.operating import Operating
from engine.ledger.records import KeyPage, KeyRow, KeyView, TermsRow
from engine.ledger.terms import check_page, check_terms, in_both


class Issuing(Operating):
    """Keys by their digests: no secret is known here."""

    async def create_key(
        self,
        account_id: str,
        name: str,
        digest: str,
        prefix: str,
        terms: TermsRow | None = None,
        budgets: Sequence[BudgetTerms] = (),
    ) -> KeyRow:
        """Store a key by its digest. Its budgets are in force before it is valid.

        Raises:
            ConflictError: the digest is known already.
            NotFoundError: no such account.
            ValueError: the name, the terms or a budget are absurd.
            UnavailableError: the database cannot be written now.
        """
        checked = check_terms(replace(terms or TermsRow(name), name=name))
        limits = [each.checked() for each in budgets]
        made = await self._journal.run(
            lambda store: key_jobs.create_key(store, account_id, digest, prefix, checked, limits),
            self._put,
        )
        return made.key

    def _put(self, made: MadeKey) -> None:
        for budget in made.budgets:
            self._books.budgets.load(budget, Spent(), {}, self._journal.last_ticket)
        self._announce([KeyPut(made.key, made.terms)])

    async def key(self, key_id: str) -> KeyView:
        """One key, revoked ones too. Raises NotFoundError, UnavailableError."""
        found = await trio.to_thread.run_sync(key_jobs.stored_key, self._settings.path, key_id)
        if found is None:
            raise NotFoundError("There is no such key.")
        return found

    async def list_keys(
        self, account_id: str | None = None, *, limit: int = 50, cursor: str | None = None
    ) -> KeyPage:
        """A page of the keys of one account, or of all, revoked ones too, oldest first.

        Raises:
            InvalidRequestError: the cursor is none.
            ValueError: the limit is not 1 to 200.
            UnavailableError: the database cannot be read now.
        """
        return await trio.to_thread.run_sync(
            key_jobs.list_keys, self._settings.path, account_id, check_page(limit), cursor
        )

    async def keys(self, account_id: str | None = None) -> list[KeyRow]:
        """The keys of one account, or all, revoked ones too, oldest first."""
        return await trio.to_thread.run_sync(queries.stored_keys, self._settings.path, account_id)

    async def set_key_terms(self, key_id: str, change: Callable[[TermsRow], TermsRow]) -> KeyView:
        """Give a key other terms. `change` makes them of those it has: it is pure, and is called
        more than once, on the journal's thread too. What they take away counts at once.

        Raises:
            ConflictError: the key is revoked.
            NotFoundError: no such key.
            ValueError: the terms are absurd.
            UnavailableError: the database cannot be written now. What was to be taken away is.
        """
        before = (await self.key(key_id)).terms
        wanted = check_terms(change(before))
        return await self._restrict(
            [TermsSet(key_id, in_both(before, wanted))],
            lambda store: key_jobs.set_key_terms(store, key_id, change),
            lambda view: self._announce([TermsSet(key_id, view.terms)]),
        )

    async def rotate_key(
        self, key_id: str, digest: str, prefix: str, overlap_ms: int
    ) -> tuple[KeyRow, KeyView]:
        """Put another key in the place of one, with its terms and budgets; the old one expires
        when the overlap is over. Returns the new key, and the old one as it is then.

        Raises:
            ConflictError: the key is revoked, expired, switched off, or was rotated already; the
                digest is known already.
            NotFoundError: no such key.
            ValueError: the overlap is negative, or longer than a year.
            UnavailableError: the database cannot be written now.
        """
        if not 0 <= overlap_ms <= key_jobs.OVERLAP_MAX_MS:
            raise ValueError("two keys overlap for nothing at least, and a year at most")

        def apply(rotated: Rotated) -> None:
            self._put(rotated.made)
            self._announce([TermsSet(key_id, rotated.old.terms)])

        rotated = await self._journal.run(
            lambda store: key_jobs.rotate_key(store, key_id, digest, prefix, overlap_ms), apply
        )
        return rotated.made.key, rotated.old

    async def revoke_key(self, key_id: str) -> KeyRow:
        """Refuse a key from now on; again changes nothing. What it has started goes on.

        Raises:
            NotFoundError: no such key.
            UnavailableError: the key is refused from now on, and that is not durable.
        """
        closed = KeyClosed(key_id)
        return await self._restrict(
            [closed],
            lambda store: key_jobs.revoke_key(store, key_id),
            lambda _: self._announce([closed]),
        )
