"""Jobs outlive their gateway: stopped, killed, or gone between any two steps."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from engine.errors import GatewayError
from engine.ledger.job_rows import JobQuery
from tests.engine.jobs.makers import SECOND, Site, open_site
from tests.engine.ledger.samples import raw_database, wait_until


async def test_a_job_goes_on_under_the_next_gateway(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        async with site.open() as studio:
            job_id = (await studio.ask(studio.film("end_s=0.3")))["job_id"]
            before = trio.current_time()
        assert trio.current_time() - before < 5
        site.check()
        async with site.open() as studio:
            assert studio.gateway.ledger.available_nanodollars(site.account_id) < 10**12
            view = await studio.made(job_id)
            assert (view.state, view.price_nanodollars) == ("succeeded", 4 * SECOND)
        assert site.charges() == [4 * SECOND]


async def test_the_same_key_gives_the_same_job_under_the_next_gateway(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        async with site.open() as studio:
            asked = await studio.ask(studio.film("end_s=0.2", idempotency_key="order-66"))
        async with site.open() as studio:
            again = await studio.ask(studio.film("end_s=0.2", idempotency_key="order-66"))
            assert again == asked
            await studio.made(asked["job_id"])
        assert len(site.sim.jobs) == 1
        assert site.charges() == [4 * SECOND]


async def ask_and_stop(site: Site, model: str, directives: str) -> None:
    """A gateway stops while a provider is about to say that it has taken a job."""
    async with site.open() as studio, trio.open_nursery() as nursery:
        before = len(site.sim.jobs)
        maker = {"film": "sim-video", "reel": "sora-2"}[model]
        studio.sim.behave(maker, "head_ms=20000")

        async def ask() -> None:
            with pytest.raises(GatewayError):
                await studio.ask(studio.film(directives, model=model))

        nursery.start_soon(ask)
        await wait_until(lambda: len(site.sim.jobs) > before)
        await studio.gateway.end_all()
        studio.sim.behave(maker)
    site.check()


@pytest.mark.parametrize(
    ("model", "submits"), [("film", {2, 3}), ("reel", {1})], ids=["film", "reel"]
)
async def test_what_was_asked_for_when_the_gateway_stopped_is_found_again(
    tmp_path: Path, model: str, submits: set[int]
) -> None:
    """By its key; in the list of the provider's jobs."""
    async with open_site(tmp_path) as site:
        await ask_and_stop(site, model, "end_s=0.1")
        async with site.open() as studio:
            (job_id,) = studio.book.open
            view = await studio.made(job_id)
            assert (view.state, view.price_nanodollars) == ("succeeded", 4 * SECOND)
            receipt = await studio.receipt(job_id)
            assert receipt["flags"] == ["recovered"]
            assert receipt["provider"] == {"film": "makers", "reel": "films"}[model]
        (job,) = site.sim.jobs
        # A gateway that is being left may ask again before it is; a list is only looked at.
        assert job.submits in submits
        assert site.charges() == [4 * SECOND]


async def test_two_that_are_alike_are_two(tmp_path: Path) -> None:
    """And what others have asked for is nobody's."""
    async with open_site(tmp_path) as site:
        for _ in range(2):
            await ask_and_stop(site, "reel", "job=never")
        async with site.open() as studio:
            assert len(studio.book.open) == 2
            taken = await studio.ask(studio.film("head_ms=1 job=never", model="reel"))
            await wait_until(lambda: all(j.view.acceptance for j in studio.book.open.values()))
            known = {
                job.view.acceptance.provider_job_id
                for job in studio.book.open.values()
                if job.view.acceptance is not None
            }
            assert known == {job.job_id for job in site.sim.jobs}
            assert len(known) == 3
            assert taken["job_id"] in studio.book.open
            for job in list(studio.book.open.values()):
                studio.book.give_up(job)
        assert site.charges() == []


@pytest.mark.parametrize(("model", "charges"), [("film", [4 * SECOND]), ("reel", [])])
async def test_a_submit_that_the_provider_never_got_is_sent_again_or_given_up(
    tmp_path: Path, model: str, charges: list[int]
) -> None:
    async with open_site(tmp_path) as site:
        await ask_and_stop(site, model, "end_s=0.1")
        for job in list(site.sim.jobs):
            site.sim.jobs.drop(job)
        async with site.open() as studio:
            for job_id in list(studio.book.open):
                await studio.closed(job_id)
            page = await studio.gateway.jobs(studio.who, JobQuery())
            assert len(page.jobs) == len(charges)
        assert site.charges() == charges


async def test_where_nothing_can_be_found_out_nobody_pays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_site(tmp_path) as site:
        await ask_and_stop(site, "film", "end_s=0.1")
        async with site.open(without='recover = "resubmit"\n') as studio:
            for job_id in list(studio.book.open):
                await studio.closed(job_id)
        assert site.charges() == []
        assert "it is on the house" in caplog.text


@pytest.mark.parametrize("step", ["held", "asked", "taken"])
async def test_killed_after_any_step_of_a_submit(tmp_path: Path, step: str) -> None:
    """As the database is then: what comes later is taken out of it by hand."""
    async with open_site(tmp_path) as site:
        async with site.open() as studio:
            await studio.ask(studio.film("end_s=0.1"))
        with raw_database(tmp_path / "ledger.db") as connection:
            for (name,) in connection.execute(
                "SELECT name FROM sqlite_schema WHERE name LIKE '%_no_delete'"
            ).fetchall():
                connection.execute(f"DROP TRIGGER {name}")
            if step in ("held", "asked"):
                connection.execute("DELETE FROM job_records")
                connection.execute("DELETE FROM job_acceptances")
            if step == "held":
                connection.execute("DELETE FROM attempts")
                connection.execute("UPDATE open_jobs SET number = 0, submit = NULL")
        async with site.open() as studio:
            page = await studio.gateway.jobs(studio.who, JobQuery())
            for job_id in list(studio.book.open):
                await studio.closed(job_id)
            assert bool(page.jobs) is (step == "taken")
        assert site.charges() == ([] if step == "held" else [4 * SECOND])
        assert len(site.sim.jobs) == 1


def run_and_kill(config: Path, key: str, seed: int, lines: int, after_s: float) -> list[str]:
    """The jobs that clients of a gateway were told of when it is killed: some time after it has
    told of so many."""
    command = [sys.executable, "-m", "tests.engine.jobs.crash_child", str(config), key, str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(lines)]
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(after_s)
        child.send_signal(signal.SIGKILL)
        said += child.stdout.readlines()
    assert child.returncode == -signal.SIGKILL
    return [line.split()[1] for line in said if line.endswith("\n")]


@pytest.mark.parametrize("kills", [3, pytest.param(40, marks=pytest.mark.long)])
async def test_nothing_is_lost_and_all_is_charged_once_whenever_it_is_killed(
    tmp_path: Path, kills: int
) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # noqa: T201
    chance = random.Random(seed)
    taken: list[str] = []
    async with open_site(tmp_path) as site:
        async with site.open():
            pass
        config = tmp_path / "gateway.toml"
        config.write_text(site.text().replace("open_per_account_max = 4", ""))
        for kill in range(kills):
            lines, after_s = chance.randrange(1, 20), chance.random() * 0.1
            taken += await trio.to_thread.run_sync(
                run_and_kill, config, site.key, seed + kill, lines, after_s
            )
        async with site.open() as studio:
            for job_id in list(studio.book.open):
                await studio.closed(job_id)
            for job_id in taken:
                view = await studio.gateway.job(studio.who, job_id)
                assert (view.state, view.price_nanodollars) == ("succeeded", 4 * SECOND)
        # Whatever the provider has made is a job of ours, and paid once: none is an orphan.
        assert len(site.charges()) == len(site.sim.jobs)
        assert set(site.charges()) == {4 * SECOND}
        print(f"{len(taken)} jobs, {sum(job.submits > 1 for job in site.sim.jobs)} found again")  # noqa: T201
