"""The journal: entries go in synchronously, one thread makes them durable in groups.

While one group is being committed the next gathers, so the fsync is shared by whatever arrived
meanwhile. A commit that fails for the database's state (locked, full, I/O error) is tried again
until it succeeds; entries are kept and stay in order. An entry that the database refuses for what
it says is isolated and set aside as evidence, so that it cannot stop the others.
"""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import trio

from engine.errors import UnavailableError
from engine.ledger.admin_log import Standing, standing_order
from engine.ledger.barrier import Barrier
from engine.ledger.entries import Entry, Progressed, Rejected
from engine.ledger.records import EpochLostError, LedgerSettings, ProgressEntry, Ticket
from engine.ledger.recovery import end_refused
from engine.ledger.sqlite import Store, first_of, is_locked, is_passing
from engine.ledger.switching import restore_switch_interval, shorten_switch_interval

log = logging.getLogger("parshall.ledger")

T = TypeVar("T")
_SAMPLE_S = 0.05


@dataclass(slots=True, eq=False)
class _Job:
    """Work for the thread between two groups, and the event its submitter waits for."""

    work: Callable[[Store], Any]
    apply: Callable[[Any], None] | None
    undo: Callable[[], None] | None
    standing: Standing | None
    done: trio.Event = field(default_factory=trio.Event)
    result: Any = None
    error: Exception | None = None


class _Stop:
    """Asks the thread to end once everything before it is durable."""


class _Gathering:
    """Stands in the queue for the progress that gathers until the thread comes by."""


_Item = tuple[int, Entry | _Gathering] | _Job | _Stop


class Journal:
    """Owns the thread. All methods are for the Trio thread, none but the awaited ones wait.

    `on_durable(ticket)` is called in the Trio thread when everything up to `ticket` is durable,
    `on_rejected(rejected)` when an entry was set aside.
    """

    def __init__(
        self,
        store: Store,
        settings: LedgerSettings,
        *,
        on_durable: Callable[[int], None],
        on_rejected: Callable[[Rejected], None],
    ) -> None:
        self._store = store
        self._settings = settings
        self._on_durable = on_durable
        self._on_rejected = on_rejected
        self._token = trio.lowlevel.current_trio_token()
        self._queue: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._carried: _Item | None = None
        self._progress_lock = threading.Lock()
        self._gathering: dict[str, ProgressEntry] = {}
        self._gathering_ticket = 0
        self._abandon = threading.Event()
        self._failure: str | None = None
        self._fatal: str | None = None
        self._closing = False
        self._barrier = Barrier()
        self._ages: deque[tuple[int, float]] = deque()
        self.last_ticket = self.durable_ticket = store.sequence
        self.groups = 0
        self.committed_records = 0
        self.commit_errors = 0
        self.rejected_tickets: set[int] = set()
        shorten_switch_interval(settings.switch_interval_s)
        self._thread = threading.Thread(target=self._run, name="ledger journal", daemon=True)
        self._thread.start()

    # ---- the Trio thread ---------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    def append(self, entry: Entry) -> Ticket:
        """Take one entry in. It will be durable once its ticket is."""
        ticket = self._next_ticket()
        self._queue.put((ticket, entry))
        return Ticket(ticket)

    @trio.lowlevel.enable_ki_protection
    def gather(self, entries: Sequence[ProgressEntry]) -> None:
        """Take progress in; until the thread comes by, later progress of a stream replaces it."""
        with self._progress_lock:
            if not self._gathering:
                self._gathering_ticket = self._next_ticket()
                self._queue.put((self._gathering_ticket, _Gathering()))
            for entry in entries:
                self._gathering[entry.request_id] = entry

    def _next_ticket(self) -> int:
        ticket = self.last_ticket = self.last_ticket + 1
        now_s = time.monotonic()
        ages = self._ages
        if not ages or now_s - ages[-1][1] >= _SAMPLE_S:
            ages.append((ticket, now_s))
        return ticket

    @property
    def rejected_records(self) -> int:
        """How many entries the database has refused."""
        return len(self.rejected_tickets)

    def is_durable(self, ticket: int) -> bool:
        """Whether this entry would survive a crash; never, if the database has refused it."""
        return ticket <= self.durable_ticket and ticket not in self.rejected_tickets

    @property
    def queued(self) -> int:
        """How many entries are not durable yet."""
        return self.last_ticket - self.durable_ticket

    @property
    def oldest_s(self) -> float:
        """How long the oldest entry that is not durable has waited; within 50 ms, never less."""
        durable, ages = self.durable_ticket, self._ages
        if durable >= self.last_ticket:
            ages.clear()
            return 0.0
        while len(ages) > 1 and ages[1][0] <= durable + 1:
            ages.popleft()
        return time.monotonic() - ages[0][1] if ages else 0.0

    @property
    def problem(self) -> str | None:
        """Why new holds cannot be taken, or None."""
        if self._fatal is not None:
            return self._fatal
        if self._closing:
            return "the ledger is closing"
        if self._failure is not None:
            return self._failure
        oldest_s = self.oldest_s
        if oldest_s > self._settings.barrier_timeout_s:
            return f"the oldest record has waited {oldest_s:.1f} s to become durable"
        return None

    async def wait_durable(self, ticket: int) -> None:
        """Wait until everything up to `ticket` is durable, or set aside (see `is_durable`).

        Cancelling the wait loses nothing.
        """
        if ticket <= self.durable_ticket:
            await trio.lowlevel.checkpoint()
            return
        await self._barrier.wait(ticket)

    async def run(
        self,
        work: Callable[[Store], T],
        apply: Callable[[T], None] | None = None,
        undo: Callable[[], None] | None = None,
    ) -> T:
        """Run `work` on the thread, after everything taken in so far, and return its result.

        In the Trio thread `apply` is called with the result, or `undo` if there is none, also when
        the wait is cancelled: the work may be done then, or not.

        Raises:
            UnavailableError: the database cannot do it now, or the journal has stopped.
            Exception: whatever `work` raises.
        """
        if self._fatal is not None or self._closing:
            if undo is not None:
                undo()
            raise UnavailableError("The ledger is not available.")
        job = _Job(work, apply, undo, standing_order())
        self._queue.put(job)
        await job.done.wait()
        if job.error is not None:
            raise job.error
        result: T = job.result
        return result

    async def close(self) -> None:
        """Make everything durable, within `close_timeout_s`, and end the thread. Shielded."""
        self._closing = True
        self._queue.put(_Stop())
        settings = self._settings
        with trio.move_on_after(settings.close_timeout_s, shield=True):
            await self._wait_thread()
        if self._thread.is_alive():
            self._abandon.set()
            with trio.move_on_after(4 * settings.busy_timeout_s + 1, shield=True):
                await self._wait_thread()
        restore_switch_interval(settings.switch_interval_s)
        self._advance()
        if self.queued:
            log.critical("%d ledger records are lost: %s", self.queued, self._failure)

    @property
    def stopped(self) -> bool:
        """Whether the thread has ended and the database may be closed."""
        return not self._thread.is_alive()

    async def _wait_thread(self) -> None:
        await trio.to_thread.run_sync(self._thread.join, abandon_on_cancel=True)

    @trio.lowlevel.enable_ki_protection
    def _advance(self) -> None:
        """Tell everyone who waited for what is durable now; one call a group."""
        durable = self.durable_ticket
        self._barrier.release(durable)
        self._on_durable(durable)

    @trio.lowlevel.enable_ki_protection
    def _finish(self, job: _Job) -> None:
        try:
            if job.error is not None:
                if job.undo is not None:
                    job.undo()
            elif job.apply is not None:
                job.apply(job.result)
        except Exception as error:  # noqa: BLE001 - it is raised where the job was submitted
            job.error = error
        job.done.set()

    # ---- the journal's thread ----------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._step():
                pass
        except Exception as error:
            self._fatal = f"the journal has stopped: {error}"
            log.critical("the journal has stopped", exc_info=error)
        self._refuse_jobs()

    def _step(self) -> bool:
        """Take what is there and make it durable. False once the thread is to end."""
        item, self._carried = self._carried, None
        if item is None:
            item = self._queue.get()
        match item:
            case _Stop():
                return False
            case _Job():
                self._do(item)
            case _:
                self._commit(self._group(item))
        return True

    def _group(self, first: tuple[int, Entry | _Gathering]) -> list[tuple[int, Entry]]:
        """The first item and what has gathered behind it, up to the bound or the next job."""
        group = [self._entry(first)]
        try:
            while len(group) < self._settings.group_max_records:
                item = self._queue.get_nowait()
                if not isinstance(item, tuple):
                    self._carried = item
                    break
                group.append(self._entry(item))
        except queue.Empty:
            pass
        return group

    def _entry(self, item: tuple[int, Entry | _Gathering]) -> tuple[int, Entry]:
        ticket, entry = item
        if not isinstance(entry, _Gathering):
            return ticket, entry
        with self._progress_lock:
            gathered, self._gathering = self._gathering, {}
        return ticket, Progressed(tuple(gathered.values()), self._settings.clock())

    def _commit(self, group: Sequence[tuple[int, Entry]]) -> None:
        """Make a group durable, however long it takes; entries that never can be are set aside."""
        pause_s = self._settings.retry_min_s
        last = group[-1][0]
        failed = False
        while True:
            try:
                if failed and self._store.sequence >= last:
                    self._store.note_committed(group)  # it failed after the commit
                else:
                    self._store.commit(group)
                break
            except EpochLostError:
                raise
            except (sqlite3.IntegrityError, TypeError, ValueError, OverflowError) as error:
                self._isolate(group, error)
                return
            except sqlite3.Error as error:
                failed = True
                pause_s = self._pause(pause_s, error)
        self._committed(last, len(group))

    def _isolate(self, group: Sequence[tuple[int, Entry]], error: Exception) -> None:
        """Halve a group that was refused until the entry at fault stands alone."""
        if len(group) > 1:
            middle = len(group) // 2
            self._commit(group[:middle])
            self._commit(group[middle:])
            return
        rejected = Rejected(*group[0], error=f"{type(error).__name__}: {error}")
        log.critical(
            "ledger record %d (%s) is refused by the database and set aside: %s",
            rejected.seq,
            type(rejected.entry).__name__,
            rejected.error,
        )
        self._insist(lambda: self._store.reject(rejected))
        self._insist(lambda: end_refused(self._store, rejected))
        self.rejected_tickets.add(rejected.seq)  # before anyone is told how far it is durable
        self._post(lambda: self._on_rejected(rejected))
        self._committed(rejected.seq, 1)

    def _insist(self, work: Callable[[], None]) -> None:
        """Do what may be done twice until the database lets it."""
        pause_s = self._settings.retry_min_s
        while True:
            try:
                work()
                return
            except sqlite3.Error as failure:
                pause_s = self._pause(pause_s, failure)

    def _pause(self, pause_s: float, error: sqlite3.Error) -> float:
        """Wait before the next try; a lock is waited for in silence until the barrier's time."""
        self.commit_errors += 1
        if not is_locked(error):
            if self._failure is None:
                log.error("the ledger cannot commit, and goes on trying: %s", error)
            self._failure = f"the ledger cannot commit: {error}"
        if self._abandon.wait(pause_s):
            raise error
        return min(2 * pause_s, self._settings.retry_max_s)

    def _committed(self, last: int, count: int) -> None:
        if self._failure is not None:
            log.warning("the ledger commits again")
            self._failure = None
        self.groups += 1
        self.committed_records += count
        self.durable_ticket = last
        self._post(self._advance, idempotent=True)

    def _do(self, job: _Job) -> None:
        try:
            job.result = self._store.do(job.work, job.standing)
        except EpochLostError as error:
            job.error = error
            self._fatal = f"the journal has stopped: {error}"
        except Exception as error:  # noqa: BLE001 - it is raised where the job was submitted
            if isinstance(error, sqlite3.Error) and is_passing(first_of(error)):
                message = f"The ledger's database cannot be written now: {first_of(error)}."
                job.error = UnavailableError(message)
            else:
                job.error = error
        self._post(lambda: self._finish(job))

    def _refuse_jobs(self) -> None:
        items = [self._carried] if self._carried is not None else []
        while True:
            for item in items:
                if isinstance(item, _Job):
                    item.error = UnavailableError("The ledger is closed.")
                    self._post(lambda job=item: self._finish(job))  # type: ignore[misc]
            try:
                items = [self._queue.get_nowait()]
            except queue.Empty:
                return

    def _post(self, call: Callable[[], object], *, idempotent: bool = False) -> None:
        try:
            self._token.run_sync_soon(call, idempotent=idempotent)
        except trio.RunFinishedError:
            log.debug("the event loop ended before the journal")
