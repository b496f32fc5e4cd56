"""Jobs from their submit to their end, through a gateway: shown, charged once, or not at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import (
    InsufficientFundsError,
    JobNotEndedError,
    JobsLimitedError,
    NotFoundError,
    UpstreamError,
)
from engine.ledger.job_rows import JobQuery
from tests.engine.jobs.makers import SECOND, open_studio
from tests.gateways import AGAIN, DOLLAR


async def test_a_success_is_charged_by_what_the_provider_reports(tmp_path: Path) -> None:
    async with open_studio(tmp_path) as studio:
        answer = await studio.ask(studio.film("run_polls=1 end_polls=2"))
        job_id = answer["job_id"]
        assert studio.gateway.ledger.statistics().open_holds == 1
        view = await studio.made(job_id)
        assert (view.state, view.closed, view.price_nanodollars) == ("succeeded", True, 4 * SECOND)
        assert [result.content_type for result in view.results] == ["video/mp4"]
        assert await studio.balance() == 10 * DOLLAR - 4 * SECOND
        receipt = await studio.receipt(job_id)
        assert (receipt["outcome"], receipt["state"]) == ("completed", "settled")
        assert receipt["usage"]["milliseconds"] == 4_000
        assert receipt["usage_provenance"]["milliseconds"] == "reported"
        (attempt,) = receipt["attempts"]
        assert (attempt["won"], attempt["status"]) == (True, 201)


async def test_a_failure_costs_nothing(tmp_path: Path) -> None:
    async with open_studio(tmp_path) as studio:
        job_id = (await studio.ask(studio.film("job=blocked")))["job_id"]
        view = await studio.made(job_id)
        assert view.error is not None
        assert (view.state, view.error.code) == ("failed", "not_allowed")
        assert await studio.balance() == 10 * DOLLAR
        receipt = await studio.receipt(job_id)
        assert (receipt["outcome"], receipt["error"]["code"]) == ("upstream_failed", "not_allowed")


@pytest.mark.parametrize(("told", "billed"), [(3, 3), (400, 4), (0, 0)])
async def test_no_more_is_charged_than_was_held_for(tmp_path: Path, told: int, billed: int) -> None:
    async with open_studio(tmp_path) as studio:
        job_id = (await studio.ask(studio.film(f"told_seconds={told}")))["job_id"]
        assert (await studio.made(job_id)).price_nanodollars == billed * SECOND
        assert await studio.balance() == 10 * DOLLAR - billed * SECOND


async def test_a_provider_that_reports_nothing_is_paid_for_what_was_asked(tmp_path: Path) -> None:
    async with open_studio(tmp_path, "[providers.films.jobs.video.units]\n") as studio:
        job_id = (await studio.ask(studio.film(model="reel")))["job_id"]
        view = await studio.made(job_id)
        assert view.price_nanodollars == 4 * SECOND
        (result, *_) = view.results
        assert (result.needs_key, result.url.startswith("/videos/")) == (True, True)


async def test_a_submit_that_is_refused_leaves_no_job(tmp_path: Path) -> None:
    async with open_studio(tmp_path) as studio:
        with pytest.raises(UpstreamError):
            await studio.ask(studio.film("refuse=prompt"))
        assert studio.book.open == {}
        assert (await studio.gateway.jobs(studio.who, JobQuery())).jobs == ()
        assert await studio.balance() == 10 * DOLLAR


async def test_a_submit_that_fails_falls_back_and_only_the_other_is_paid(tmp_path: Path) -> None:
    async with open_studio(tmp_path, routing=AGAIN) as studio:
        studio.sim.behave("sim-video", "status=503")
        job_id = (await studio.ask(studio.film(model="both")))["job_id"]
        view = await studio.made(job_id)
        assert view.acceptance is not None
        assert view.acceptance.provider == "films"
        assert view.price_nanodollars == 4 * SECOND
        receipt = await studio.receipt(job_id)
        assert [each["provider"] for each in receipt["attempts"]][-1] == "films"
        assert [each["won"] for each in receipt["attempts"]][-1]
        assert receipt["provider"] == "films"
        assert sum(each["won"] for each in receipt["attempts"]) == 1


async def test_the_account_has_so_many_jobs_at_once(tmp_path: Path) -> None:
    async with open_studio(tmp_path) as studio:
        asked = [await studio.ask(studio.film("end_polls=5")) for _ in range(4)]
        with pytest.raises(JobsLimitedError):
            await studio.ask(studio.film())
        for each in asked:
            await studio.made(each["job_id"])
        await studio.made((await studio.ask(studio.film()))["job_id"])


async def test_who_cannot_pay_for_all_of_it_asks_nobody(tmp_path: Path) -> None:
    async with open_studio(tmp_path) as studio:
        with pytest.raises(InsufficientFundsError):
            await studio.ask(studio.film(document={"seconds": 101}))
        assert len(studio.sim.jobs) == 0


async def test_the_same_key_gives_the_same_job_also_when_that_has_ended(tmp_path: Path) -> None:
    async with open_studio(tmp_path) as studio:
        asked = [
            await studio.ask(studio.film("end_polls=4", idempotency_key="order-66"))
            for _ in range(2)
        ]
        assert asked[0] == asked[1]
        await studio.made(asked[0]["job_id"])
        again = await studio.ask(studio.film("end_polls=4", idempotency_key="order-66"))
        assert again == asked[0]
        assert len(studio.sim.jobs) == 1
        assert await studio.balance() == 10 * DOLLAR - 4 * SECOND


async def test_a_job_that_failed_keeps_its_key(tmp_path: Path) -> None:
    async with open_studio(tmp_path) as studio:
        call = studio.film("job=failed", idempotency_key="order-66")
        asked = await studio.ask(call)
        await studio.made(asked["job_id"])
        assert await studio.ask(studio.film("job=failed", idempotency_key="order-66")) == asked
        assert len(studio.sim.jobs) == 1


async def test_jobs_are_listed_and_deleted_by_their_account_alone(tmp_path: Path) -> None:
    async with open_studio(tmp_path) as studio:
        gateway, who = studio.gateway, studio.who
        job_id = (await studio.ask(studio.film("run_polls=3")))["job_id"]
        with pytest.raises(JobNotEndedError):
            await gateway.delete_job(who, job_id)
        await studio.made(job_id)
        other = replace(who, account_id="acct_other")
        for act in (gateway.job, gateway.delete_job, gateway.cancel_job):
            with pytest.raises(NotFoundError):
                await act(other, job_id)
        (shown,) = (await gateway.jobs(who, JobQuery())).jobs
        assert shown.row.job_id == job_id
        await gateway.delete_job(who, job_id)
        with pytest.raises(NotFoundError):
            await gateway.job(who, job_id)
