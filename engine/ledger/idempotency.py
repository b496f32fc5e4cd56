"""Requests that came with an idempotency key: stored with their hold, their answer with their
settlement, so that a crash never leaves one without the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import trio
from sqlite_utils import Database

from engine.ledger.books import Books
from engine.ledger.journal import Journal
from engine.ledger.queries import reading
from engine.ledger.records import LedgerSettings, StoredAnswer, Ticket
from engine.ledger.showing import Showing
from engine.ledger.sqlite import Store

ANSWERS_WAITING_MAX_BYTES = 16 * 1024 * 1024
"""Answers that are not durable yet hold so much at most; further ones are not kept."""

PRUNED_AT_ONCE = 1_000

_ENDED = """
EXISTS (SELECT 1 FROM hold_records AS ended WHERE ended.request_id = idempotency.request_id
        AND ended.kind IN ('posted', 'voided', 'expired'))
"""
_EARLIER = f"""
SELECT request_id, digest, stream, idempotency.at_ms, {_ENDED} AS ended,
       coalesce(receipts.body, job_acceptances.receipt) AS receipt,
       answers.status, answers.headers, answers.body, job_acceptances.job_id
FROM idempotency LEFT JOIN receipts USING (request_id) LEFT JOIN answers USING (request_id)
    LEFT JOIN jobs USING (request_id) LEFT JOIN job_acceptances USING (job_id)
WHERE idempotency.account_id = ? AND idempotency.key = ?
ORDER BY idempotency.seq DESC LIMIT 1
"""  # noqa: S608 - a constant
_OLD = f"""
SELECT request_id FROM idempotency WHERE at_ms < ? AND {_ENDED} ORDER BY at_ms LIMIT ?
"""  # noqa: S608 - a constant


@dataclass(frozen=True, slots=True)
class EarlierRequest:
    """The latest request that came with a key.

    Attributes:
        ended: its hold has ended, durably.
        receipt: as JSON; None while it has not ended, or when it is archived. Of a job that is
            under way, as far as its exchange had come.
        answer: what its client was given, where that was kept.
    """

    request_id: str
    digest: str
    stream: bool
    ended: bool
    receipt: Mapping[str, Any] | None
    answer: StoredAnswer | None = field(repr=False)
    job_id: str | None = None
    """Of the job that it asked for, if a provider has taken that."""


class Keeping(Showing):
    """The part of the ledger that keeps idempotency keys, and answers."""

    def __init__(
        self, books: Books, journal: Journal, settings: LedgerSettings, store: Store
    ) -> None:
        super().__init__(books, journal, settings, store)
        self._answers_waiting: deque[tuple[Ticket, int]] = deque()
        self._answers_waiting_bytes = 0

    async def earlier_request(
        self, account_id: str, key: str, since_ms: int
    ) -> EarlierRequest | None:
        """The latest request of this account with this key, if it came since that moment.

        Raises:
            UnavailableError: the database cannot be read now.
        """
        return await trio.to_thread.run_sync(
            _earlier_request, self._settings.path, account_id, key, since_ms
        )

    async def prune_idempotency(self, before_ms: int) -> int:
        """Forget keys and answers of requests that came before a moment and have ended; how many.

        Raises:
            UnavailableError: the database cannot be written now.
        """
        pruned = 0
        while slice_ := await self._journal.run(lambda store: _prune(store, before_ms)):
            pruned += slice_
        return pruned

    def _room_for(self, answer: StoredAnswer | None) -> StoredAnswer | None:
        """The answer, unless too many wait already."""
        if answer is None:
            return None
        waiting_bytes = self._answers_waiting_bytes + len(answer.body)
        return answer if waiting_bytes <= ANSWERS_WAITING_MAX_BYTES else None

    def _answer_waits(self, ticket: Ticket, answer: StoredAnswer | None) -> None:
        if answer is not None:
            self._answers_waiting.append((ticket, len(answer.body)))
            self._answers_waiting_bytes += len(answer.body)

    def _on_durable(self, durable_ticket: int) -> None:
        super()._on_durable(durable_ticket)
        waiting = self._answers_waiting
        while waiting and waiting[0][0] <= durable_ticket:
            self._answers_waiting_bytes -= waiting.popleft()[1]


def _earlier_request(path: Path, account_id: str, key: str, since_ms: int) -> EarlierRequest | None:
    with reading(path) as db:
        row = next(iter(db.query(_EARLIER, [account_id, key])), None)
    if row is None or row["at_ms"] < since_ms:
        return None
    answer = None
    if row["body"] is not None:
        headers = tuple((name, value) for name, value in orjson.loads(row["headers"]))
        answer = StoredAnswer(row["status"], headers, row["body"])
    return EarlierRequest(
        request_id=row["request_id"],
        digest=row["digest"],
        stream=bool(row["stream"]),
        ended=bool(row["ended"]),
        receipt=None if row["receipt"] is None else orjson.loads(row["receipt"]),
        answer=answer,
        job_id=row["job_id"],
    )


def _prune(store: Store, before_ms: int) -> int:
    """A slice of the old ones; a job of the journal's thread."""

    def remove(db: Database) -> int:
        rows = db.execute(_OLD, (before_ms, PRUNED_AT_ONCE)).fetchall()
        old = orjson.dumps([request_id for (request_id,) in rows]).decode()
        for table in ("answers", "idempotency") if rows else ():
            db.execute(
                f"DELETE FROM {table} WHERE request_id IN (SELECT value FROM json_each(?))",  # noqa: S608 - a constant
                (old,),
            )
        return len(rows)

    return store.run(remove)
