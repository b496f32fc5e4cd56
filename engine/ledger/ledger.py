"""The ledger: money moves at once in memory and is durable a moment later.

The functions that move money are synchronous and contain no checkpoint, so no cancellation can
fall into the middle of one, and they are protected from Ctrl-C. They change the books and hand an
entry to the journal. `wait_durable` is the separate barrier.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

import trio

from engine.errors import UnavailableError
from engine.ledger.books import Books
from engine.ledger.entries import Attempted, Ended, Extended, HoldEnd, Opened, Rejected
from engine.ledger.job_rows import JobRecord, JobRow, JobSubmit
from engine.ledger.jobbing import Jobbing
from engine.ledger.journal import Journal
from engine.ledger.lock import own_database
from engine.ledger.owned_rows import OwnedRow
from engine.ledger.queries import all_balances
from engine.ledger.readers import keep_reader
from engine.ledger.receipts import Receipt, ReceiptError
from engine.ledger.records import (
    AttemptRow,
    CostLine,
    Hold,
    IdempotencyKey,
    LedgerError,
    LedgerSettings,
    LedgerStatistics,
    ProgressEntry,
    StoredAnswer,
    Ticket,
)
from engine.ledger.recovery import recover, recovered
from engine.ledger.running import OpenHold
from engine.ledger.sqlite import Store
from engine.ledger.transfers import check_amount, settlement, within_hold

_ABANDONED = ReceiptError("gateway_failed", "The gateway lost this request before it had ended.")


class Ledger(Jobbing):
    """Made by `open_ledger`. Amounts are integer nanodollars throughout."""

    def __init__(self, store: Store, settings: LedgerSettings, recovered_holds: int) -> None:
        books = Books()
        for account_id, kind, balance_nanodollars in all_balances(store.db):
            if kind == "customer":
                books.add_customer(account_id, balance_nanodollars)
            else:
                books.add_house(account_id, balance_nanodollars)
        journal = Journal(
            store, settings, on_durable=self._on_durable, on_rejected=self._on_rejected
        )
        super().__init__(books, journal, settings, store)
        self._store = store
        self.recovered_holds = recovered_holds
        """How many holds of processes that died were ended at the start."""

    # ---- the hot path: no checkpoint ----------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    def hold(
        self,
        account_id: str,
        request_id: str,
        amount_nanodollars: int,
        opening: Receipt,
        *,
        idempotency: IdempotencyKey | None = None,
        job: JobRow | None = None,
    ) -> Hold:
        """Reserve funds for an exchange. It must end in `settle` or `void`.

        An idempotency key becomes durable with it, and so does the job that it is for.

        Raises:
            BudgetExceededError: a hard budget of the account or the opening's key leaves less.
            InsufficientFundsError: the account has less available.
            UnavailableError: the journal is unwell, or too much waits to become durable.
            NotFoundError: no such account.
            ValueError: the amount is absurd, or the request has an open hold.
        """
        self._check_admission()
        check_amount(amount_nanodollars)
        if (opening.request_id, opening.account_id) != (request_id, account_id):
            raise ValueError("the opening receipt is of another request or account")
        if request_id in self._open or request_id in self._settling:
            raise ValueError(f"the request {request_id} has a hold already")
        key_id, at_ms = opening.key_id, self.clock()
        self._books.reserve(account_id, key_id, amount_nanodollars, at_ms)
        entry = Opened(request_id, account_id, amount_nanodollars, opening, at_ms, idempotency, job)
        ticket = self._journal.append(entry)
        hold = Hold(request_id, account_id, key_id, amount_nanodollars, ticket)
        self._open[request_id] = OpenHold(hold, opening, trio.current_time(), job)
        if job is not None:
            self._jobs_of[account_id] += 1
        return hold

    def available_nanodollars(self, account_id: str) -> int:
        """What a new hold of this account may take. Raises NotFoundError."""
        return self._books.allowance(account_id).available_nanodollars

    @trio.lowlevel.enable_ki_protection
    def extend(self, hold: Hold, amount_nanodollars: int) -> bool:
        """Let a hold grow by this much. False, and no change, when the funds, a hard budget or
        the journal refuse.

        Raises:
            ValueError: the hold has ended, or the amount is absurd.
        """
        opened = self._opened(hold)
        check_amount(amount_nanodollars)
        opened.touched_at = trio.current_time()
        if self._journal.queued >= 2 * self._settings.queue_max_records:
            return False
        at_ms = self.clock()
        if not self._books.grow(hold.account_id, hold.key_id, amount_nanodollars, at_ms):
            return False
        hold.amount_nanodollars += amount_nanodollars
        self._journal.append(Extended(hold.request_id, amount_nanodollars, at_ms))
        return True

    @trio.lowlevel.enable_ki_protection
    def attempt(self, hold: Hold, attempt: AttemptRow, submit: JobSubmit | None = None) -> Ticket:
        """Record an attempt, before it is dispatched, with what it sends for a job.

        Raises:
            UnavailableError: far too much waits to become durable.
            ValueError: the hold has ended.
        """
        opened = self._opened(hold)
        if self._journal.queued >= 2 * self._settings.queue_max_records:
            raise UnavailableError("The ledger is behind.", retry_after_s=1)
        opened.attempts.append(attempt)
        opened.touched_at = trio.current_time()
        return self._journal.append(Attempted(hold.request_id, attempt, submit))

    @trio.lowlevel.enable_ki_protection
    def progress(self, entries: Sequence[ProgressEntry]) -> None:
        """Record how far streams are: what would be billed were the process killed.

        One call a tick for all streams. Entries of holds that have ended are passed over.
        """
        open_holds = self._open
        current = [entry for entry in entries if entry.request_id in open_holds]
        now = trio.current_time()
        for entry in current:
            opened = open_holds[entry.request_id]
            opened.progress, opened.touched_at = entry, now
        if current:
            self._journal.gather(current)

    def note(self, hold: Hold, receipt: Receipt) -> None:
        """Tell what the receipt of an open hold is known to become, e.g. that its client has left.

        In memory only: `running_receipt` shows it until the hold ends, with later progress.

        Raises:
            ValueError: the hold has ended, or the receipt is of another request or account.
        """
        opened = self._opened(hold)
        _check_receipt(hold, receipt)
        opened.noted = receipt

    @trio.lowlevel.enable_ki_protection
    def settle(
        self,
        hold: Hold,
        *,
        posted_nanodollars: int,
        overrun_nanodollars: int,
        costs: Sequence[CostLine],
        receipt: Receipt,
        answer: StoredAnswer | None = None,
        job: JobRecord | None = None,
        owned: Sequence[OwnedRow] = (),
    ) -> Ticket:
        """End a hold: post what was consumed, release the rest, write the receipt. Exactly once.

        What is posted above the hold becomes overrun. The receipt's state, durability and amounts
        are set here. An answer to keep becomes durable with it, unless too many wait for that, and
        so does what the account has `owned` by it. A job that it was held for closes with `job`;
        where nothing is said, as failed.

        Raises:
            ValueError: the hold has ended; an amount is absurd; the receipt is of another request
                or has no outcome. Nothing has changed then.
        """
        posted, overrun = within_hold(
            posted_nanodollars, overrun_nanodollars, hold.amount_nanodollars
        )
        return self._end(hold, "posted", posted, overrun, costs, receipt, answer, job, owned)

    @trio.lowlevel.enable_ki_protection
    def void(
        self,
        hold: Hold,
        *,
        costs: Sequence[CostLine],
        receipt: Receipt,
        answer: StoredAnswer | None = None,
        job: JobRecord | None = None,
        owned: Sequence[OwnedRow] = (),
    ) -> Ticket:
        """End a hold without a charge; costs are the house's. Otherwise as `settle`."""
        return self._end(hold, "voided", 0, 0, costs, receipt, answer, job, owned)

    def _end(
        self,
        hold: Hold,
        end: HoldEnd,
        posted: int,
        overrun: int,
        costs: Sequence[CostLine],
        receipt: Receipt,
        answer: StoredAnswer | None,
        job: JobRecord | None,
        owned: Sequence[OwnedRow],
    ) -> Ticket:
        opened = self._opened(hold)
        if job is not None and not (job.closed and self._of_job(hold, job.job_id) is opened):
            raise ValueError("the record does not close the job")
        request_id = hold.request_id
        _check_receipt(hold, receipt)
        if receipt.outcome == "running":
            raise ValueError("the receipt has no outcome")
        transfers = settlement(
            hold.account_id,
            request_id,
            posted_nanodollars=posted,
            overrun_nanodollars=overrun,
            costs=costs,
            reason=receipt.outcome,
        )
        receipt = receipt.replace(
            state="settled",
            durability="durable",
            price_nanodollars=posted,
            overrun_nanodollars=overrun,
            cost_nanodollars=sum(cost.amount_nanodollars for cost in costs),
        )
        ended = Ended(
            request_id,
            end,
            posted,
            transfers,
            receipt,
            self.clock(),
            answer=self._room_for(answer),
            job=job,
            owned=self._ownable(owned) if owned else (),
        )
        return self._close_hold(hold, ended)

    def _close_hold(self, hold: Hold, ended: Ended) -> Ticket:
        ended = self._close_job(self._open[ended.request_id], self._end_reserve(hold, ended))
        self._books.apply(ended.transfers)
        hold.open = False
        del self._open[ended.request_id]
        ticket = self._journal.append(ended)
        if ended.notices:
            self._written(ended.notices, ticket)
        self._show_settling(ticket, ended.receipt)
        self._answer_waits(ticket, ended.answer)
        return self._owned_with(ticket, ended.owned)

    @trio.lowlevel.enable_ki_protection
    def expire(self, alive: Collection[str], older_than_ms: int) -> list[str]:
        """End the holds whose exchange is no more: the net below every other way to end one.

        A hold is ended when its request is not `alive` and its exchange has given no sign (hold,
        extension, attempt, progress) for `older_than_ms` milliseconds of Trio's clock; what a job
        keeps is not. It is
        billed as a killed process would be: the last progress, never above the hold, nothing
        without progress. Returns the ids of the requests.
        """
        before = trio.current_time() - older_than_ms / 1_000
        lost = [
            opened
            for request_id, opened in self._open.items()
            if opened.touched_at <= before and request_id not in alive and not opened.kept
        ]
        for opened in lost:
            ended = recovered(opened.orphan(), self.clock(), error=_ABANDONED, end="expired")
            self._close_hold(opened.hold, ended)
        return [opened.hold.request_id for opened in lost]

    def _opened(self, hold: Hold) -> OpenHold:
        opened = self._open.get(hold.request_id)
        if opened is None or opened.hold is not hold:
            raise ValueError(f"the hold of {hold.request_id} has ended")
        return opened

    def _check_admission(self) -> None:
        problem = self._journal.problem
        if problem is not None or self._journal.queued >= self._settings.queue_max_records:
            raise UnavailableError("The ledger cannot take charges at the moment.", retry_after_s=1)

    # ---- durability ---------------------------------------------------------------------------

    async def wait_durable(self, ticket: Ticket) -> None:
        """Wait until the entry of this ticket would survive a crash, or was refused by the
        database; `is_durable` tells which.

        Without a deadline of its own: the caller shields it and sets one.
        """
        await self._journal.wait_durable(ticket)

    def is_durable(self, ticket: Ticket) -> bool:
        """Whether its entry would survive a crash. False for good if the database refused it."""
        return self._journal.is_durable(ticket)

    @property
    def healthy(self) -> bool:
        """Whether new holds are taken. Recovers by itself when commits succeed again."""
        return self._journal.problem is None

    @property
    def problem(self) -> str | None:
        """Why the ledger is not healthy, for the operator."""
        return self._journal.problem

    def _on_rejected(self, rejected: Rejected) -> None:
        """The database has refused an entry: the books follow the database."""
        if isinstance(rejected.entry, Ended):
            ended, receipt = rejected.entry, rejected.entry.receipt
            self._books.revert(ended.transfers)
            self._books.budgets.unspend(
                receipt.account_id,
                receipt.key_id,
                ended.amount_nanodollars,
                ended.at_ms,
                rejected.seq,
            )

    def statistics(self) -> LedgerStatistics:
        journal = self._journal
        return LedgerStatistics(
            open_holds=len(self._open),
            held_nanodollars=self._books.held_nanodollars,
            queued_records=journal.queued,
            oldest_queued_s=journal.oldest_s,
            committed_records=journal.committed_records,
            groups=journal.groups,
            commit_errors=journal.commit_errors,
            rejected_records=journal.rejected_records,
            epoch=self._store.epoch,
        )

    async def close(self) -> None:
        """Make everything durable and end the journal; `open_ledger` calls it. Shielded."""
        await self._journal.close()
        if self._journal.stopped:
            self._store.close()


def _check_receipt(hold: Hold, receipt: Receipt) -> None:
    if (receipt.request_id, receipt.account_id) != (hold.request_id, hold.account_id):
        raise ValueError("the receipt is of another request or account")


@asynccontextmanager
async def open_ledger(settings: LedgerSettings) -> AsyncIterator[Ledger]:
    """Own a database for the block: migrated, recovered, its journal running.

    Leaving the block makes everything durable first, within `close_timeout_s`. Holds that are
    open then stay open in the database, and are recovered at the next start.

    Raises:
        LedgerLockedError: another process owns the database.
        LedgerError: it cannot be opened, or a newer program made it.
    """
    with own_database(settings.path):
        store, recovered_holds = await trio.to_thread.run_sync(_open_store, settings)
        ledger = Ledger(store, settings, recovered_holds)
        try:
            with keep_reader(settings.path):
                yield ledger
        finally:
            with trio.move_on_after(2 * settings.close_timeout_s + 5, shield=True):
                await ledger.close()


def _open_store(settings: LedgerSettings) -> tuple[Store, int]:
    store = Store(settings)
    try:
        recovered_holds = recover(store, settings.group_max_records)
    except sqlite3.Error as error:
        store.close()
        raise LedgerError(f"cannot recover the database {settings.path}: {error}") from error
    except BaseException:
        store.close()
        raise
    return store, recovered_holds
