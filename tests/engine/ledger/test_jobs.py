"""Jobs in the ledger: their holds outlive the process, and end with them in one record."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.errors import InvalidRequestError
from engine.job import JobError, JobResult
from engine.ledger import Hold, Ledger, open_ledger
from engine.ledger.audit import audit_database
from engine.ledger.job_rows import (
    JobAcceptance,
    JobQuery,
    JobRecord,
    JobRow,
    JobSubmit,
    JobTerms,
)
from engine.ledger.receipts import Attempt, Receipt
from engine.ledger.records import AttemptRow, CostLine, IdempotencyKey, StoredAnswer
from tests.engine.ledger.samples import (
    USD,
    funded_ledger,
    opening,
    raw_database,
    settings_for,
)

ROW = AttemptRow(1, "sim", "sim-video", 0)
TERMS = JobTerms(
    {"milliseconds": 4_000}, {"milliseconds": 100_000}, {"milliseconds": 50_000}, "720p",
    {"milliseconds": 12_000},
)  # fmt: skip
RESULT = JobResult("/videos/prov_1/content", needs_key=True)


def job_of(account_id: str, request_id: str = "req_1", **changes: object) -> JobRow:
    values = {
        "job_id": request_id.replace("req_", "job_"),
        "request_id": request_id,
        "account_id": account_id,
        "key_id": "key_1",
        "kind": "video",
        "protocol": "openai_videos",
        "model": "film",
        "created_at_ms": 1_000,
        "expires_at_ms": 3_601_000,
        "params": {"seconds": "4", "prompt": 'A "calico" cat\u0000'},
        "webhook_url": "https://example.com/hook",
    }
    return JobRow(**(values | changes))  # type: ignore[arg-type]


def submit_of(job: JobRow, body: bytes | None = b'{"prompt":"\xff"}') -> JobSubmit:
    return JobSubmit(job.job_id, 1, "0123456789abcdef", TERMS, "application/json", body)


def acceptance_of(job: JobRow) -> JobAcceptance:
    return JobAcceptance(
        job.job_id, 1, "sim", "sim-video", "0123456789abcdef", "prov_1", TERMS, 2_000
    )


def record_of(job: JobRow, state: str, *, closed: bool = False, **changes: object) -> JobRecord:
    return JobRecord(job.job_id, state, 3_000, closed=closed, **changes)  # type: ignore[arg-type]


def settling(receipt: Receipt) -> Receipt:
    return receipt.replace(state="settling", attempts=(Attempt(1, "sim", "sim-video", 200),))


def begin(ledger: Ledger, job: JobRow, amount: int = 1_000) -> tuple[Hold, Receipt]:
    begun = opening(job.request_id, job.account_id)
    return ledger.hold(job.account_id, job.request_id, amount, begun, job=job), begun


def submit(ledger: Ledger, job: JobRow, amount: int = 1_000) -> tuple[Hold, Receipt]:
    hold, begun = begin(ledger, job, amount)
    ledger.attempt(hold, ROW, submit_of(job))
    return hold, settling(begun)


def take(ledger: Ledger, job: JobRow, amount: int = 1_000) -> tuple[Hold, Receipt]:
    hold, receipt = submit(ledger, job, amount)
    ledger.hand_over(hold, acceptance_of(job), receipt)
    return hold, receipt


def succeed(ledger: Ledger, hold: Hold, receipt: Receipt, job: JobRow) -> None:
    attempt = Attempt(
        1, "sim", "sim-video", 200, "completed", won=True, price_nanodollars=400,
        cost_nanodollars=200,
    )  # fmt: skip
    ledger.settle(
        hold,
        posted_nanodollars=400,
        overrun_nanodollars=0,
        costs=[CostLine("sim", 200)],
        receipt=receipt.replace(outcome="completed", attempts=(attempt,)),
        job=record_of(job, "succeeded", closed=True, results=(RESULT,), units={"clips": 1}),
    )


@contextmanager
def audited(path: Path) -> Iterator[None]:
    yield
    broken = [each for each in audit_database(path) if not each.ok]
    assert broken == []


async def test_the_hold_of_a_taken_job_outlives_the_process_and_is_charged_once(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ledger.db"
    with audited(path):
        async with funded_ledger(path) as (ledger, account_id):
            job = job_of(account_id)
            _, receipt = take(ledger, job)
            assert ledger.open_jobs_of(account_id) == 1
    with audited(path):
        async with open_ledger(settings_for(path)) as ledger:
            assert ledger.recovered_holds == 0
            assert ledger.available_nanodollars(account_id) == USD - 1_000
            ((stored, hold),) = ledger.adopted_jobs
            assert stored.view.row == job
            assert stored.view.acceptance == acceptance_of(job)
            assert (stored.receipt, stored.attempts) == (receipt, (ROW,))
            assert stored.submit == submit_of(job)
            assert ledger.expire((), older_than_ms=0) == []
            assert ledger.running_receipt(account_id, "req_1") == receipt
            succeed(ledger, hold, receipt, job)
            assert ledger.available_nanodollars(account_id) == USD - 400
            assert ledger.open_jobs_of(account_id) == 0
            with pytest.raises(ValueError, match="has ended"):
                succeed(ledger, hold, receipt, job)
    with audited(path):
        async with open_ledger(settings_for(path)) as ledger:
            assert ledger.adopted_jobs == []
            view = await ledger.find_job(account_id, "video_1")
            assert view is not None
            assert (view.state, view.closed, view.price_nanodollars) == ("succeeded", True, 400)
            assert (view.results, view.units) == ((RESULT,), {"clips": 1})
            stored_receipt = await ledger.read_receipt(account_id, "req_1")
            assert stored_receipt is not None
            assert stored_receipt["state"] == "settled"


async def test_a_job_that_nobody_was_asked_for_has_failed_at_the_next_start(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ledger.db"
    async with funded_ledger(path) as (ledger, account_id):
        begin(ledger, job_of(account_id))
    with audited(path):
        async with open_ledger(settings_for(path)) as ledger:
            assert (ledger.recovered_holds, ledger.adopted_jobs) == (1, [])
            assert ledger.available_nanodollars(account_id) == USD
            assert await ledger.find_job(account_id, "job_1") is None  # it was told of none
    with raw_database(path) as connection:
        (state, error) = connection.execute("SELECT state, error FROM job_records").fetchone()
    assert state == "failed"
    assert "gateway_failed" in error


async def test_a_job_that_somebody_was_asked_for_waits_to_be_found_out(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with audited(path):
        async with funded_ledger(path) as (ledger, account_id):
            submit(ledger, job_of(account_id))
    with audited(path):
        async with open_ledger(settings_for(path)) as ledger:
            ((stored, hold),) = ledger.adopted_jobs
            assert stored.view.acceptance is None
            assert stored.receipt == opening("req_1", account_id)
            ledger.void(
                hold,
                costs=(),
                receipt=stored.receipt.replace(
                    outcome="gateway_failed", attempts=(Attempt(1, "sim", "sim-video"),)
                ),
            )
            assert ledger.available_nanodollars(account_id) == USD
    with raw_database(path) as connection:
        assert connection.execute("SELECT state, closed FROM job_records").fetchall() == [
            ("failed", 1)
        ]


async def test_whatever_ends_the_hold_closes_the_job(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with audited(path):
        async with funded_ledger(path) as (ledger, account_id):
            begin(ledger, job_of(account_id))
            assert ledger.expire((), older_than_ms=0) == ["req_1"]
            assert ledger.open_jobs_of(account_id) == 0


async def test_budgets_hold_what_is_held_for_jobs_of_an_earlier_process(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    async with funded_ledger(path) as (ledger, account_id):
        await ledger.set_budget(account_id, None, "total", 1_500)
        take(ledger, job_of(account_id))
    async with open_ledger(settings_for(path)) as ledger:
        (budget,) = await ledger.budgets(account_id)
        assert budget.held_nanodollars == 1_000
        assert ledger.budget_refusal(account_id, None, 501) is not None
        assert ledger.budget_refusal(account_id, None, 500) is None


async def test_a_record_that_does_not_close_leaves_the_hold(tmp_path: Path) -> None:
    async with funded_ledger(tmp_path / "ledger.db") as (ledger, account_id):
        job = job_of(account_id)
        hold, _ = take(ledger, job)
        late = record_of(job, "expired", error=JobError("expired", "Too late."))
        ticket = ledger.move_job(hold, late)
        await ledger.wait_durable(ticket)
        view = await ledger.find_job(account_id, job.job_id)
        assert view is not None
        assert (view.state, view.closed, view.error) == ("expired", False, late.error)
        assert hold.open
        with pytest.raises(ValueError, match="closes with its hold"):
            ledger.move_job(hold, record_of(job, "failed", closed=True))


async def test_files_are_added_to_what_has_closed(tmp_path: Path) -> None:
    async with funded_ledger(tmp_path / "ledger.db") as (ledger, account_id):
        job = job_of(account_id)
        hold, receipt = take(ledger, job)
        succeed(ledger, hold, receipt, job)
        await ledger.wait_durable(
            ledger.hold(account_id, "req_9", 1, opening("req_9", account_id)).ticket
        )
        closed = await ledger.find_job(account_id, "job_1")
        assert closed is not None
        await ledger.wait_durable(ledger.add_job_files(closed, ("x" * 26,), 4_000))
        view = await ledger.find_job(account_id, "job_1")
        assert view is not None
        assert (view.state, view.closed, view.files) == ("succeeded", True, ("x" * 26,))
        assert (view.results, view.price_nanodollars) == (closed.results, 400)


async def test_nobody_is_shown_a_job_of_another_account_or_a_deleted_one(tmp_path: Path) -> None:
    async with funded_ledger(tmp_path / "ledger.db") as (ledger, account_id):
        job = job_of(account_id)
        take(ledger, job)
        await ledger.wait_durable(ledger.move_job(*_moved(ledger, job)))
        other = await ledger.create_account("other")
        assert await ledger.find_job(other.account_id, "job_1") is None
        assert (await ledger.page_jobs(other.account_id, JobQuery())).jobs == ()
        assert await ledger.find_job(account_id, "job_1") is not None
        await ledger.delete_job("job_1")
        await ledger.delete_job("job_1")
        assert await ledger.find_job(account_id, "job_1") is None
        assert (await ledger.page_jobs(account_id, JobQuery())).jobs == ()


def _moved(ledger: Ledger, job: JobRow) -> tuple[Hold, JobRecord]:
    return ledger._open[job.request_id].hold, record_of(job, "running")


async def test_pages_follow_one_another(tmp_path: Path) -> None:
    async with funded_ledger(tmp_path / "ledger.db") as (ledger, account_id):
        for number in range(5):
            kind = "music" if number == 3 else "video"
            take(ledger, job_of(account_id, f"req_{number}", kind=kind))
        await ledger.wait_durable(ledger.move_job(*_moved(ledger, job_of(account_id, "req_4"))))

        async def ids(**query: object) -> tuple[list[str], bool]:
            page = await ledger.page_jobs(account_id, JobQuery(**query))  # type: ignore[arg-type]
            return [view.row.job_id for view in page.jobs], page.more

        assert await ids(limit=2) == (["job_4", "job_3"], True)
        assert await ids(limit=2, after="video_3") == (["job_2", "job_1"], True)
        assert await ids(limit=2, after="job_1") == (["job_0"], False)
        assert await ids(order="asc", after="job_1", kind="video") == (["job_2", "job_4"], False)
        with pytest.raises(InvalidRequestError):
            await ids(after="job_none")


async def test_the_answer_to_a_taken_job_is_kept_while_it_runs(tmp_path: Path) -> None:
    async with funded_ledger(tmp_path / "ledger.db") as (ledger, account_id):
        job = job_of(account_id)
        begun = opening("req_1", account_id)
        key = IdempotencyKey("order-66", "digest", stream=False)
        hold = ledger.hold(account_id, "req_1", 1_000, begun, idempotency=key, job=job)
        ledger.attempt(hold, ROW, submit_of(job))
        answer = StoredAnswer(200, (), '{"id":"video_1"}')
        ticket = ledger.hand_over(hold, acceptance_of(job), settling(begun), answer)
        await ledger.wait_durable(ticket)
        earlier = await ledger.earlier_request(account_id, "order-66", 0)
        assert earlier is not None
        assert (earlier.ended, earlier.answer) == (False, answer)
        assert earlier.receipt is not None
        assert earlier.receipt["state"] == "settling"


async def test_old_jobs_are_removed_and_open_ones_never(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with audited(path):
        async with funded_ledger(path) as (ledger, account_id):
            job = job_of(account_id)
            hold, receipt = take(ledger, job)
            succeed(ledger, hold, receipt, job)
            take(ledger, job_of(account_id, "req_2"))
            await ledger.delete_job("job_1")
            assert await ledger.prune_jobs(3_000) == 0
            assert await ledger.prune_jobs(3_001) == 1
            assert await ledger.find_job(account_id, "job_2") is not None
    with raw_database(path) as connection:
        for table in ("jobs", "job_acceptances"):
            assert connection.execute(f"SELECT job_id FROM {table}").fetchall() == [("job_2",)]
            with pytest.raises(Exception, match="is open"):
                connection.execute(f"DELETE FROM {table}")
