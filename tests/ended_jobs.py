"""Jobs that a ledger knows to have ended, in one way or another."""

from __future__ import annotations

from typing import Any

from engine.job import JobError, JobResult, JobState
from engine.ledger import Hold, Ledger
from engine.ledger.job_rows import JobAcceptance, JobRecord, JobRow, JobTerms
from engine.ledger.receipts import Attempt, Receipt
from engine.ledger.records import AttemptRow, CostLine, Ticket

TERMS = JobTerms({"clips": 1}, {"clips": 400_000}, {"clips": 200_000})
PRICE_NANODOLLARS = 400
RESULT = JobResult("https://provider.example/film.mp4")


def take_job(
    ledger: Ledger,
    account_id: str,
    number: int = 1,
    *,
    provider: str = "sim",
    credential: str = "0123456789abcdef",
    **changes: Any,
) -> tuple[JobRow, Hold, Receipt]:
    """A job that a provider has taken: `req_NUMBER`, `job_NUMBER`."""
    job, hold, receipt, acceptance = ask_job(
        ledger, account_id, number, provider=provider, credential=credential, **changes
    )
    ledger.hand_over(hold, acceptance, receipt)
    return job, hold, receipt


def ask_job(
    ledger: Ledger,
    account_id: str,
    number: int,
    *,
    provider: str,
    credential: str,
    **changes: Any,
) -> tuple[JobRow, Hold, Receipt, JobAcceptance]:
    """One that is about to be handed over."""
    request_id = f"req_{number}"
    values: dict[str, Any] = {
        "job_id": f"job_{number}",
        "request_id": request_id,
        "account_id": account_id,
        "key_id": "key_1",
        "kind": "video",
        "protocol": "video_generations",
        "model": "film",
        "created_at_ms": ledger.clock(),
        "expires_at_ms": ledger.clock() + 3_600_000,
        "params": {"prompt": "a secret plan"},
    }
    job = JobRow(**(values | changes))
    opening = Receipt(
        request_id=request_id,
        account_id=account_id,
        key_id="key_1",
        created_at_ms=job.created_at_ms,
        operation="video",
        protocol="video_generations",
        stream=False,
        model="film",
        rates_picodollars={},
    )
    hold = ledger.hold(account_id, request_id, 1_000, opening, job=job)
    ledger.attempt(hold, AttemptRow(1, provider, "sim-video", job.created_at_ms))
    receipt = opening.replace(attempts=(Attempt(1, provider, "sim-video", 200),))
    acceptance = JobAcceptance(
        job.job_id, 1, provider, "sim-video", credential, f"prov_{number}", TERMS, job.created_at_ms
    )
    return job, hold, receipt, acceptance


def end_job(
    ledger: Ledger,
    taken: tuple[JobRow, Hold, Receipt],
    state: JobState = "succeeded",
    *,
    results: tuple[JobResult, ...] = (RESULT,),
    error: JobError | None = None,
) -> Ticket:
    """It has ended: charged where it has succeeded."""
    job, hold, receipt = taken
    well = state == "succeeded"
    attempt = Attempt(
        1,
        receipt.attempts[0].provider,
        "sim-video",
        200,
        "completed" if well else "upstream_failed",
        won=well,
        price_nanodollars=PRICE_NANODOLLARS if well else 0,
        cost_nanodollars=200 if well else 0,
    )
    record = JobRecord(
        job.job_id,
        state,
        ledger.clock(),
        error=error,
        results=results if well else (),
        closed=True,
    )
    ended = receipt.replace(outcome="completed" if well else "upstream_failed", attempts=(attempt,))
    costs = [CostLine(attempt.provider, 200)] if well else []
    if not well:
        return ledger.void(hold, costs=costs, receipt=ended, job=record)
    return ledger.settle(
        hold,
        posted_nanodollars=PRICE_NANODOLLARS,
        overrun_nanodollars=0,
        costs=costs,
        receipt=ended,
        job=record,
    )
