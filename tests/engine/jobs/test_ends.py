"""How jobs end that do not simply succeed: late, cancelled, unknown, of a provider that is gone."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from engine.errors import JobNotCancellableError, UpstreamError
from engine.job import NEXT, JobReport, JobState
from tests.engine.jobs.makers import SECOND, Studio, open_site, open_studio
from tests.engine.ledger.samples import wait_until
from tests.gateways import DOLLAR

HOUR_MS = 3_600_000


class Wall:
    """A wall clock that is set."""

    def __init__(self) -> None:
        self.ms = 1_800_000_000_000

    def __call__(self) -> int:
        return self.ms


async def state(studio: Studio, job_id: str, wanted: JobState) -> None:
    """Wait until a job is in this state."""
    await wait_until(lambda: studio.book.open[job_id].view.state == wanted)


# ---- late ---------------------------------------------------------------------------------------


async def test_a_success_after_its_client_has_given_up_is_settled(tmp_path: Path) -> None:
    wall = Wall()
    async with open_studio(tmp_path, clock=wall) as studio:
        job_id = (await studio.ask(studio.film("end_polls=10")))["job_id"]
        wall.ms += HOUR_MS
        await state(studio, job_id, "expired")
        view = await studio.gateway.job(studio.who, job_id)
        assert (view.state, view.ended, view.closed) == ("expired", True, False)
        assert studio.gateway.ledger.statistics().open_holds == 1
        assert (await studio.made(job_id)).state == "succeeded"
        assert await studio.balance() == 10 * DOLLAR - 4 * SECOND


async def test_what_is_too_late_costs_nothing(tmp_path: Path) -> None:
    wall = Wall()
    async with open_studio(tmp_path, clock=wall) as studio:
        job_id = (await studio.ask(studio.film("job=never")))["job_id"]
        wall.ms += HOUR_MS
        await state(studio, job_id, "expired")
        wall.ms += 24 * HOUR_MS
        view = await studio.made(job_id)
        assert view.error is not None
        assert (view.state, view.closed, view.error.code) == ("expired", True, "expired")
        assert await studio.balance() == 10 * DOLLAR
        assert (await studio.receipt(job_id))["outcome"] == "deadline"


async def test_what_expired_may_succeed_under_the_next_gateway(tmp_path: Path) -> None:
    wall = Wall()
    async with open_site(tmp_path) as site:
        async with site.open(wall) as studio:
            job_id = (await studio.ask(studio.film("end_s=0.4")))["job_id"]
            wall.ms += HOUR_MS
            await state(studio, job_id, "expired")
        async with site.open(wall) as studio:
            assert (await studio.made(job_id)).state == "succeeded"
        assert site.charges() == [4 * SECOND]


async def test_every_state_is_followed_by_those_of_the_table_alone(tmp_path: Path) -> None:
    async with open_studio(tmp_path) as studio:
        for before, after in NEXT.items():
            if not after:
                continue
            for told in ("running", "succeeded", "failed", "cancelled"):
                job_id = (await studio.ask(studio.film("job=never run_polls=100000")))["job_id"]
                job = studio.book.open[job_id]
                if before == "expired":
                    studio.book.expire(job)
                elif before == "running":
                    studio.book.report(job, JobReport("running"))
                moved = studio.book.report(job, JobReport(told))
                assert moved is (told in after), (before, told)
                assert job.view.state == (told if moved else before), (before, told)
                studio.book.give_up(job)


# ---- cancelled ----------------------------------------------------------------------------------


async def test_a_job_that_is_cancelled_costs_nothing(tmp_path: Path) -> None:
    async with open_studio(tmp_path) as studio:
        job_id = (await studio.ask(studio.film("job=never")))["job_id"]
        view = await studio.gateway.cancel_job(studio.who, job_id)
        assert (view.state, view.closed) == ("cancelled", True)
        assert [job.cancelled for job in studio.sim.jobs] == [True]
        again = await studio.gateway.cancel_job(studio.who, job_id)
        assert again.state == "cancelled"
        assert await studio.balance() == 10 * DOLLAR
        assert "cancelled" in (await studio.receipt(job_id))["flags"]


@pytest.mark.parametrize("end", ["succeeded", "failed"])
async def test_what_has_ended_is_not_cancelled(tmp_path: Path, end: str) -> None:
    async with open_studio(tmp_path) as studio:
        job_id = (await studio.ask(studio.film(f"job={end}")))["job_id"]
        await studio.made(job_id)
        with pytest.raises(JobNotCancellableError, match=end):
            await studio.gateway.cancel_job(studio.who, job_id)


async def test_what_turns_out_to_have_succeeded_is_settled(tmp_path: Path) -> None:
    """We did not know it yet."""
    async with open_site(tmp_path) as site:
        async with site.open() as studio:
            job_id = (await studio.ask(studio.film("job=never")))["job_id"]
        slow = site.text().replace("poll_min_s = 0.01", "poll_min_s = 30")
        slow = slow.replace("poll_max_s = 0.04", "poll_max_s = 60")
        site.config = slow
        (job,) = site.sim.jobs
        job.succeeded_s = job.created_s
        async with site.open() as studio:
            with pytest.raises(JobNotCancellableError, match="succeeded"):
                await studio.gateway.cancel_job(studio.who, job_id)
        assert site.charges() == [4 * SECOND]


async def test_a_provider_that_cannot_cancel_goes_on(tmp_path: Path) -> None:
    async with open_studio(tmp_path) as studio:
        job_id = (await studio.ask(studio.film("end_polls=20", model="reel")))["job_id"]
        with pytest.raises(JobNotCancellableError, match="cannot cancel"):
            await studio.gateway.cancel_job(studio.who, job_id)
        assert (await studio.made(job_id)).state == "succeeded"


async def test_a_cancel_that_does_not_get_through_leaves_the_job(tmp_path: Path) -> None:
    async with open_studio(tmp_path) as studio:
        job_id = (await studio.ask(studio.film("end_polls=30")))["job_id"]
        studio.sim.behave("jobs.cancel", "fault=refused")
        with pytest.raises(UpstreamError):
            await studio.gateway.cancel_job(studio.who, job_id)
        assert (await studio.made(job_id)).state == "succeeded"


# ---- polls that fail ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "directives",
    [
        "poll_errors=4 poll_status=500",
        "poll_errors=4 poll_status=429 poll_retry_after=0.05",
        "poll_errors=4 poll_status=503 poll_retry_after=0.05",
        "poll_errors=3 poll_status=404",
        "poll_errors=3 poll_status=401",
        "poll_errors=4 poll_fault=cut",
        "poll_errors=4 poll_fault=rst",
        "poll_errors=4 poll_fault=eof",
        "poll_errors=4 poll_fault=html",
        "poll_errors=4 poll_fault=error_ok",
        "poll_errors=1 poll_fault=stall",
    ],
)
async def test_polls_that_fail_are_made_again(tmp_path: Path, directives: str) -> None:
    async with open_studio(tmp_path) as studio:
        job_id = (await studio.ask(studio.film(directives)))["job_id"]
        assert (await studio.made(job_id)).state == "succeeded"
        assert await studio.balance() == 10 * DOLLAR - 4 * SECOND


async def test_what_its_provider_does_not_know_any_more_has_failed(tmp_path: Path) -> None:
    async with open_studio(tmp_path) as studio:
        job_id = (await studio.ask(studio.film("job=lost")))["job_id"]
        studio.sim.jobs.drop(next(iter(studio.sim.jobs)))
        view = await studio.made(job_id)
        assert view.error is not None
        assert (view.state, view.error.code) == ("failed", "job_not_found")
        assert await studio.balance() == 10 * DOLLAR


async def test_retry_after_is_waited_for(tmp_path: Path) -> None:
    async with open_studio(tmp_path) as studio:
        job_id = (await studio.ask(studio.film("end_polls=2 poll_retry_after=0.3")))["job_id"]
        before = trio.current_time()
        await studio.made(job_id)
        assert trio.current_time() - before > 0.55
        (job,) = studio.sim.jobs
        assert job.polls == 3


async def test_a_provider_that_is_down_holds_up_nobody_else(tmp_path: Path) -> None:
    async with open_studio(tmp_path) as studio:
        stuck = [
            (await studio.ask(studio.film("poll_errors=100000 poll_fault=stall", model="reel")))
            for _ in range(3)
        ]
        job_id = (await studio.ask(studio.film("end_polls=3")))["job_id"]
        with trio.fail_after(5):
            assert (await studio.made(job_id)).state == "succeeded"
        for each in stuck:
            studio.book.give_up(studio.book.open[each["job_id"]])


# ---- providers that change ----------------------------------------------------------------------


async def test_a_provider_that_a_reload_removes_is_asked_all_the_same(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, site.open() as studio:
        job_id = (await studio.ask(studio.film("end_s=0.5")))["job_id"]
        text = site.text()
        begin, end = text.index("[providers.makers]"), text.index("[providers.films]")
        text = text[:begin] + text[end:]
        text = text.replace('{ provider = "makers", model = "sim-video" },', "")
        begin, end = text.index("[models.film]"), text.index("[models.reel]")
        (tmp_path / "wanted.toml").write_text(text[:begin] + text[end:])
        await studio.gateway.reload()
        assert "makers" not in studio.gateway.running.rules.providers
        assert (await studio.made(job_id)).state == "succeeded"


@pytest.mark.parametrize("known", [True, False])
async def test_a_key_that_was_rotated_away(tmp_path: Path, known: bool) -> None:
    """The next one is asked with; that it knows of no such job says nothing."""
    wall = Wall()
    async with open_site(tmp_path) as site:
        url = f'base_url = "{site.sim.base_url}"\n'
        own = site.text()
        site.config = own.replace(url, f'{url}api_key = "env:FIRST"\n')
        async with site.open(wall) as studio:
            job_id = (await studio.ask(studio.film("end_s=0.2")))["job_id"]
        site.config = own.replace(url, f'{url}api_key = "env:SECOND"\n')
        if known:
            next(iter(site.sim.jobs)).key = "second"
        async with site.open(wall) as studio:
            if known:
                assert (await studio.made(job_id)).state == "succeeded"
            else:
                (job,) = studio.book.open.values()
                await wait_until(lambda: job.asked > 8)
                assert studio.book.open[job_id].view.state == "submitted"
                wall.ms += HOUR_MS
                await state(studio, job_id, "expired")
                wall.ms += 24 * HOUR_MS
                assert (await studio.made(job_id)).state == "expired"
