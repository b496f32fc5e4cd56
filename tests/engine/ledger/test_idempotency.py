"""Keys and answers in the ledger: stored with hold and settlement, forgotten in slices, bounded."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.ledger import Hold, Ledger
from engine.ledger import idempotency as keeping
from engine.ledger.records import IdempotencyKey, StoredAnswer
from tests.engine.ledger.samples import (
    completed,
    database_locked,
    funded_ledger,
    opening,
    raw_database,
)

KEY = IdempotencyKey("order-66", "digest", stream=False)
ANSWER = StoredAnswer(200, (("content-type", "application/json"),), '{"text":"Grüße \\u0000"}')


def hold(ledger: Ledger, account_id: str, request_id: str = "req_1") -> Hold:
    receipt = opening(request_id, account_id)
    return ledger.hold(account_id, request_id, 100, receipt, idempotency=KEY)


async def end(ledger: Ledger, held: Hold, answer: StoredAnswer | None = ANSWER) -> None:
    receipt = completed(opening(held.request_id, held.account_id))
    await ledger.wait_durable(ledger.void(held, costs=(), receipt=receipt, answer=answer))


async def test_a_key_is_there_with_its_hold_and_an_answer_with_its_settlement(
    tmp_path: Path,
) -> None:
    async with funded_ledger(tmp_path / "ledger.db") as (ledger, account_id):
        held = hold(ledger, account_id)
        await ledger.wait_durable(held.ticket)
        running = await ledger.earlier_request(account_id, KEY.key, 0)
        assert running is not None
        assert (running.request_id, running.digest, running.ended) == ("req_1", "digest", False)
        assert (running.stream, running.receipt, running.answer) == (False, None, None)
        await end(ledger, held)
        ended = await ledger.earlier_request(account_id, KEY.key, 0)
        assert ended is not None
        assert ended.ended
        assert ended.answer == ANSWER
        assert ended.receipt is not None
        assert ended.receipt["outcome"] == "completed"
        assert await ledger.earlier_request("acct_other", KEY.key, 0) is None
        assert await ledger.earlier_request(account_id, "order-67", 0) is None


async def test_the_latest_request_with_a_key_decides(tmp_path: Path) -> None:
    async with funded_ledger(tmp_path / "ledger.db") as (ledger, account_id):
        for number in range(3):
            await end(ledger, hold(ledger, account_id, f"req_{number}"), None)
        latest = await ledger.earlier_request(account_id, KEY.key, 0)
        assert latest is not None
        assert (latest.request_id, latest.answer) == ("req_2", None)


async def test_the_old_are_forgotten_in_slices_but_for_what_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "PRUNED_AT_ONCE", 2)
    path = tmp_path / "ledger.db"
    async with funded_ledger(path) as (ledger, account_id):
        running = hold(ledger, account_id, "req_running")
        for number in range(5):
            await end(ledger, hold(ledger, account_id, f"req_{number}"))
        later_ms = ledger.clock() + 1
        assert await ledger.prune_idempotency(later_ms - 3_600_000) == 0
        assert await ledger.prune_idempotency(later_ms) == 5
        with raw_database(path) as db:
            assert db.execute("SELECT request_id FROM idempotency").fetchall() == [("req_running",)]
            assert db.execute("SELECT count(*) FROM answers").fetchone() == (0,)
        await end(ledger, running)
        assert [finding for finding in await ledger.audit() if not finding.ok] == []


async def test_answers_that_wait_for_a_stalled_journal_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    large = StoredAnswer(200, (), "x" * (keeping.ANSWERS_WAITING_MAX_BYTES // 4))
    async with funded_ledger(path) as (ledger, account_id):
        holds = [hold(ledger, account_id, f"req_{number}") for number in range(6)]
        await ledger.wait_durable(holds[-1].ticket)
        with database_locked(path):
            for held in holds:
                receipt = completed(opening(held.request_id, account_id))
                ended = ledger.void(held, costs=(), receipt=receipt, answer=large)
        await ledger.wait_durable(ended)
        with raw_database(path) as db:
            kept = db.execute("SELECT request_id FROM answers ORDER BY 1").fetchall()
        assert kept == [(f"req_{number}",) for number in range(4)]
        await end(ledger, hold(ledger, account_id, "req_next"), large)
        latest = await ledger.earlier_request(account_id, KEY.key, 0)
        assert latest is not None
        assert latest.answer == large


async def test_a_settlement_that_is_refused_leaves_no_words_behind(tmp_path: Path) -> None:
    """What an answer said is no evidence of what was wrong with its record."""
    path = tmp_path / "ledger.db"
    async with funded_ledger(path) as (ledger, account_id):
        held = hold(ledger, account_id)
        receipt = completed(opening("req_1", account_id)).replace(model="\ud800")
        await ledger.wait_durable(ledger.void(held, costs=(), receipt=receipt, answer=ANSWER))
        with raw_database(path) as db:
            [(record,)] = db.execute("SELECT record FROM rejected").fetchall()
        assert "Gr" not in record
        assert "req_1" in record
