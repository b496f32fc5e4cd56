"""Which runs pay for code: one session for a thread and hour, whatever is asked again."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
import trio

from engine.errors import UpstreamError
from engine.job import JobReport
from engine.jobs.asking import Answer
from engine.jobs.runs import RunFollow
from engine.ledger import Ledger, open_ledger
from engine.ledger.job_rows import JobAcceptance, JobRow, JobTerms, JobView
from engine.usage import Usage
from tests.engine.ledger.samples import funded_ledger, settings_for

HOUR_S = 3_600
NOON_S = 1_800_000_000 // HOUR_S * HOUR_S
ENDED = JobReport("succeeded", usage=Usage(input_tokens=5, output_tokens=7))


def view_of(account_id: str, name: str, priced: bool = True) -> JobView:
    """Of a run that is called `THREAD/RUN`."""
    rates = {"of": [1, 1, 1, 1, None], "more": {"code_sessions": 30} if priced else {}}
    terms = JobTerms({}, {}, {}, price=rates, cost={"of": [0, 0, 0, 0, None]})
    row = JobRow("job_1", "req_1", account_id, None, "run", "openai_runs", "m", 1, 2)
    taken = JobAcceptance("job_1", 1, "keeps", "m", "0123456789abcdef", name, terms, NOON_S * 1_000)
    return JobView(row, taken, "running", 1)


async def sessions(
    follow: RunFollow, view: JobView, at_s: int | None, kind: str = "code_interpreter"
) -> int:
    """That the run has to pay for, which ran code then."""

    async def steps(method: str, path: str) -> Answer:
        details = {"tool_calls": [{"type": kind}]}
        step = {"status": "completed", "created_at": at_s, "step_details": details}
        return Answer(200, [], orjson.dumps({"data": [step], "has_more": False}))

    report = await follow.collect(view, ENDED, steps)
    assert report.usage is not None
    assert report.usage.output_tokens == 7
    return report.usage.more.get("code_sessions", 0)


def of(ledger: Ledger) -> RunFollow:
    """Of another process."""
    return RunFollow(ledger)


async def test_a_thread_pays_once_while_its_session_may_live(tmp_path: Path) -> None:
    async with funded_ledger(tmp_path / "ledger.db") as (ledger, account_id):
        follow = of(ledger)
        for name, at_s, paid in (
            ("thread_1/run_1", NOON_S + 60, 1),
            ("thread_1/run_2", NOON_S + 3_000, 0),
            ("thread_1/run_3", NOON_S + HOUR_S + 30, 0),
            ("thread_1/run_0", NOON_S - 60, 0),  # settled late
            ("thread_1/run_4", NOON_S + 2 * HOUR_S, 1),
            ("thread_2/run_5", NOON_S + 60, 1),
        ):
            assert await sessions(follow, view_of(account_id, name), at_s) == paid, name


async def test_a_run_that_is_asked_after_again_pays_what_it_did(tmp_path: Path) -> None:
    """Its gateway has died between what is written down and the settlement."""
    path = tmp_path / "ledger.db"
    async with funded_ledger(path) as (ledger, account_id):
        first = view_of(account_id, "thread_1/run_1")
        second = view_of(account_id, "thread_1/run_2")
        assert await sessions(of(ledger), first, NOON_S) == 1
        assert await sessions(of(ledger), second, NOON_S) == 0
    async with open_ledger(settings_for(path)) as ledger:
        assert await sessions(of(ledger), second, NOON_S) == 0
        assert await sessions(of(ledger), first, NOON_S) == 1


async def test_of_runs_that_end_at_the_same_time_one_pays(tmp_path: Path) -> None:
    async with funded_ledger(tmp_path / "ledger.db") as (ledger, account_id):
        follow, paid = of(ledger), []

        async def settle(number: int) -> None:
            view = view_of(account_id, f"thread_1/run_{number}")
            paid.append(await sessions(follow, view, NOON_S + number * 300))

        async with trio.open_nursery() as nursery:
            for number in range(12):  # some in the next hour
                nursery.start_soon(settle, number + 6)
        assert sum(paid) == 1


@pytest.mark.parametrize("at_s", [None, 0])
async def test_a_step_without_a_time_is_of_when_its_run_was_taken(
    tmp_path: Path, at_s: int | None
) -> None:
    async with funded_ledger(tmp_path / "ledger.db") as (ledger, account_id):
        view = view_of(account_id, "thread_1/run_1")
        assert await sessions(of(ledger), view, at_s) == 1
        assert f"thread_1/code-{NOON_S // HOUR_S}" in await ledger.find_owned(
            account_id, [f"thread_1/code-{NOON_S // HOUR_S}"]
        )


async def test_what_costs_nothing_is_not_asked_after(tmp_path: Path) -> None:
    async with funded_ledger(tmp_path / "ledger.db") as (ledger, account_id):
        free = view_of(account_id, "thread_1/run_1", priced=False)
        assert await sessions(of(ledger), free, NOON_S) == 0
        searching = view_of(account_id, "thread_1/run_2")
        assert await sessions(of(ledger), searching, NOON_S, "file_search") == 0
        assert await sessions(of(ledger), view_of(account_id, "thread_1/run_3"), NOON_S) == 1


async def test_steps_that_are_not_told_now_settle_nothing(tmp_path: Path) -> None:
    async def down(method: str, path: str) -> Answer:
        return Answer(503, [], b"")

    async with funded_ledger(tmp_path / "ledger.db") as (ledger, account_id):
        with pytest.raises(UpstreamError):
            await of(ledger).collect(view_of(account_id, "thread_1/run_1"), ENDED, down)
