"""Accounts, keys and the audit: what operators ask for.

Everything here is awaited, and what changes something is durable before it returns. Writes run on
the journal's thread in their order, reads on connections and threads of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import trio

from engine.errors import NotFoundError
from engine.ledger import corrections, jobs, queries
from engine.ledger.archive import Archive, record_archive, remove_archived, write_archive
from engine.ledger.audit import audit_database
from engine.ledger.books import Books
from engine.ledger.following import Following
from engine.ledger.journal import Journal
from engine.ledger.records import (
    AccountPage,
    AccountView,
    Correction,
    Finding,
    LedgerSettings,
    ReconciliationLine,
)
from engine.ledger.sqlite import Store
from engine.ledger.terms import check_page
from engine.ledger.transfers import (
    HOUSE_ACCOUNTS,
    adjustment,
    changes,
    funding,
    reconciliation,
)


class Administration:
    """The part of the ledger that waits. `Ledger` adds the part that does not."""

    def __init__(
        self, books: Books, journal: Journal, settings: LedgerSettings, epoch: int
    ) -> None:
        self._books = books
        self._journal = journal
        self._settings = settings
        self.epoch = epoch
        """How often this database has been opened."""
        self._following = Following()
        self._archiving = trio.Lock()

    async def accounts(self) -> list[AccountView]:
        """All customers' accounts, oldest first."""
        rows = await trio.to_thread.run_sync(queries.stored_accounts, self._settings.path)
        return [self._view(row) for row in rows]

    async def list_accounts(self, *, limit: int = 50, cursor: str | None = None) -> AccountPage:
        """A page of the customers' accounts, oldest first.

        Raises:
            InvalidRequestError: the cursor is none.
            ValueError: the limit is not 1 to 200.
            UnavailableError: the database cannot be read now.
        """
        rows = await trio.to_thread.run_sync(
            queries.list_accounts, self._settings.path, check_page(limit), cursor
        )
        shown = tuple(map(self._view, rows[:limit]))
        return AccountPage(shown, shown[-1].account_id if len(rows) > limit else None)

    async def account(self, account_id: str) -> AccountView:
        """One account, by its id or its name. Raises NotFoundError."""
        row = await trio.to_thread.run_sync(queries.stored_account, self._settings.path, account_id)
        if row is None:
            raise NotFoundError("There is no such account.")
        return self._view(row)

    def _view(self, row: queries.AccountRow) -> AccountView:
        allowance = self._books.allowance(row.account_id)
        return AccountView(
            account_id=row.account_id,
            name=row.name,
            created_at_ms=row.created_at_ms,
            balance_nanodollars=allowance.granted_nanodollars,
            held_nanodollars=allowance.held_nanodollars,
            available_nanodollars=allowance.available_nanodollars,
            plan=self._following.plan_of(row.account_id),
            off=self._following.is_off("account", row.account_id),
        )

    async def fund(self, account_id: str, amount_nanodollars: int, reference: str) -> AccountView:
        """Add money. Idempotent: the same reference again changes nothing.

        Raises:
            ConflictError: the reference was used for another account or amount.
            NotFoundError: no such account.
            ValueError: the amount is not positive, or the reference is empty.
            UnavailableError: the database cannot be written now.
        """
        transfer = funding(account_id, amount_nanodollars, reference)
        await self._journal.run(
            lambda store: jobs.fund(store, account_id, transfer),
            lambda added: self._books.apply([transfer] if added else []),
        )
        return await self.account(account_id)

    async def refund(
        self, request_id: str, amount_nanodollars: int | None, reason: str, reference: str
    ) -> Correction:
        """Give back part of what a request was charged; None: all that is left of it.

        Idempotent: the same reference again changes nothing.

        Raises:
            ConflictError: the request has not ended, or was not charged as much; the reference
                was used for another refund.
            NotFoundError: no such request.
            ValueError: the amount is not positive; no reason or reference.
            UnavailableError: the database cannot be written now.
        """
        moved = await self._journal.run(
            lambda store: corrections.refund(
                store, request_id, amount_nanodollars, reason, reference
            ),
            self._apply_moved,
        )
        return await self._correction(moved)

    async def adjust(
        self, account_id: str, amount_nanodollars: int, reason: str, reference: str
    ) -> Correction:
        """Correct a balance: a positive amount gives to the account, a negative one takes.

        What is taken is reserved first, as a hold is, so nothing held is taken. Idempotent: the
        same reference again changes nothing.

        Raises:
            ConflictError: the reference was used for another adjustment.
            InsufficientFundsError: less is available than would be taken.
            NotFoundError: no such account.
            ValueError: the amount is zero; no reason or reference.
            UnavailableError: the database cannot be written now.
        """
        transfer = adjustment(account_id, amount_nanodollars, reason, reference)
        allowance = self._books.allowance(account_id)
        reserved = allowance.reserve(max(0, -amount_nanodollars))

        def release() -> None:
            if reserved:
                allowance.release(max(0, -amount_nanodollars))

        def apply(moved: corrections.Moved) -> None:
            release()
            self._apply_moved(moved)

        moved = await self._journal.run(
            lambda store: corrections.adjust(
                store, account_id, amount_nanodollars, transfer, covered=reserved
            ),
            apply,
            release,
        )
        return await self._correction(moved)

    async def reconcile(self, provider: str, lines: Sequence[ReconciliationLine]) -> int:
        """Post what a provider charges more or less than its attempts were known to cost.

        Idempotent: a reference that was posted before changes nothing. Returns how many were new.

        Raises:
            NotFoundError: nothing was ever paid to this provider.
            ValueError: an amount is zero; no reason or reference.
            UnavailableError: the database cannot be written now.
        """
        transfers = [
            reconciliation(provider, line.amount_nanodollars, line.reason, line.reference)
            for line in lines
        ]
        added = await self._journal.run(
            lambda store: corrections.reconcile(store, transfers), self._books.apply
        )
        return len(added)

    def _apply_moved(self, moved: corrections.Moved) -> None:
        self._books.apply([moved.transfer] if moved.added else [])
        if moved.added and moved.spender is not None:
            key_id, day = moved.spender
            amount = changes([moved.transfer])[moved.account_id]
            self._books.budgets.refund(moved.account_id, key_id, amount, day)

    async def _correction(self, moved: corrections.Moved) -> Correction:
        return Correction(
            account=await self.account(moved.account_id),
            amount_nanodollars=changes([moved.transfer])[moved.account_id],
            reference=moved.transfer.reference or "",
            added=moved.added,
        )

    async def archive(self, folder: Path, before_ms: int) -> list[Archive]:
        """Move all receipts settled before a moment to files in a folder; one file holds many.

        Their money stays in the ledger. What an earlier run left undone is done first.

        Raises:
            LedgerError: a file cannot be written.
            UnavailableError: the database cannot be read or written now.
        """
        files: list[Archive] = []
        async with self._archiving:
            while True:
                await self._remove_archived()
                written = await trio.to_thread.run_sync(
                    write_archive, self._settings.path, folder, before_ms
                )
                if written is None:
                    return files
                await self._journal.run(partial(record_archive, archive=written))
                files.append(written)

    async def archive_of(self, account_id: str, request_id: str) -> str | None:
        """The file that has the receipt of this account's request, if one has it."""
        return await trio.to_thread.run_sync(
            queries.archive_of, self._settings.path, account_id, request_id
        )

    async def account_of(self, request_id: str) -> str | None:
        """The account whose request this is, if there is one that was admitted."""
        return await trio.to_thread.run_sync(queries.account_of, self._settings.path, request_id)

    async def _remove_archived(self) -> None:
        while await self._journal.run(remove_archived):
            pass

    def balances(self) -> dict[str, int]:
        """Every account's balance in the books, the house's and the providers' included."""
        return self._books.balances()

    def house_balances(self) -> dict[str, int]:
        """What the house has earned, overrun, paid and been given."""
        balances = self._books.balances()
        return {account_id: balances[account_id] for account_id in HOUSE_ACCOUNTS}

    async def audit(self) -> list[Finding]:
        """Check the invariants on the live database; each with its figure."""
        findings = await trio.to_thread.run_sync(audit_database, self._settings.path, self.epoch)
        return [*findings, await self._audit_books()]

    async def _audit_books(self) -> Finding:
        """Compare memory with the database at a moment when nothing is on its way."""
        name = "the books in memory equal the stored balances"

        def read(store: Store) -> tuple[int, dict[str, int]]:
            stored = {key: amount for key, _, amount in queries.all_balances(store.db)}
            return store.sequence, stored

        finding = Finding(name, True, 0, "not compared: records are on their way")

        def compare(answer: tuple[int, dict[str, int]]) -> None:
            nonlocal finding
            sequence, stored = answer
            if sequence != self._journal.last_ticket:
                return
            books = self._books.balances()
            different = [
                key for key in sorted(stored | books) if stored.get(key, 0) != books.get(key, 0)
            ]
            finding = Finding(name, not different, len(books), ", ".join(different[:5]))

        with trio.move_on_after(self._settings.barrier_timeout_s):
            await self._journal.run(read, compare)
        return finding
