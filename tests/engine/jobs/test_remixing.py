"""Videos that are made of others: who is asked for them, what they cost, and what is not done."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import trio

from bench.simulate.jobs import Order
from engine import Call
from engine.errors import (
    GatewayError,
    IdempotencyMismatchError,
    InvalidRequestError,
    JobNotEndedError,
    JobNotRemixableError,
    ModelNotFoundError,
    ModelUnavailableError,
    NotFoundError,
    UpstreamError,
)
from engine.jobs.remixing import source_of
from engine.ledger.job_rows import JobAcceptance, JobRow, JobTerms, JobView
from tests.engine.jobs.makers import SECOND, Site, Studio, open_site, open_studio
from tests.engine.ledger.samples import wait_until
from tests.gateways import AGAIN, DOLLAR, HTTP2

TWO = f"""
[providers.near]
protocol = "openai"
base_url = "$SIM/v1"
http2 = "{HTTP2}"
api_keys = ["env:FIRST", "env:SECOND"]
[providers.near.jobs.video]
like = "openai"
[providers.far]
protocol = "openai"
base_url = "$SIM/v1"
http2 = "{HTTP2}"
[providers.far.jobs.video]
like = "openai"
[models.shared]
deployments = [
    {{ provider = "near", model = "sora-2", weight = 2 }},
    {{ provider = "far", model = "sora-2", weight = 1 }},
]
price = {{ seconds = 0.1 }}
"""
"""A model that three keys of two providers serve."""

RESUBMITTED = """
[providers.again]
protocol = "openai"
base_url = "$SIM/v1"
http2 = "prior-knowledge"
api_key = "env:FIRST"
[providers.again.jobs.video]
like = "openai"
recover = "resubmit"
idempotency_header = "Idempotency-Key"
[models.again]
deployments = [{ provider = "again", model = "sora-2" }]
price = { seconds = 0.1 }
"""
"""A provider of OpenAI's dialect that finds a submit by its key, not in a list."""


def extended(site: Site, more: str, **sections: str) -> str:
    return site.text(**sections) + more.replace("$SIM", site.sim.base_url)


async def remix(studio: Studio, job_id: str, directives: str = "", **changes: Any) -> Call:
    """A call for another one of a job."""
    return Call(
        body=orjson.dumps({"prompt": f"#sim {directives}\nA tabby cat."}),
        key=studio.key,
        protocol="openai_videos",
        operation="video",
        source=await studio.gateway.job_source(studio.who, job_id),
        **changes,
    )


async def finished(studio: Studio, directives: str = "", model: str = "reel") -> str:
    """A film that is made."""
    job_id: str = (await studio.ask(studio.film(directives, model=model)))["job_id"]
    await studio.made(job_id)
    return job_id


def ours(shown: dict[str, Any]) -> str:
    return str(shown["id"]).replace("video_", "job_")


# ---- who is asked -------------------------------------------------------------------------------


async def test_it_is_asked_of_the_key_that_has_the_source(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        site.config = extended(site, TWO)
        async with site.open() as studio:
            sources = []
            while len({job.key for job in site.sim.jobs}) < 3:
                sources.append(await finished(studio, model="shared"))
            for job_id in sources:
                source = (await studio.gateway.job(studio.who, job_id)).acceptance
                view = await studio.made(ours(await studio.ask(await remix(studio, job_id))))
                taken = view.acceptance
                assert source is not None
                assert taken is not None
                assert (taken.provider, taken.credential) == (source.provider, source.credential)
                assert list(site.sim.jobs)[-1].order.remix_of == source.provider_job_id
        assert site.charges() == [4 * SECOND] * 2 * len(sources)


async def of_near(studio: Studio) -> str:
    """A film of the provider with two keys."""
    while True:
        job_id = await finished(studio, model="shared")
        acceptance = (await studio.gateway.job(studio.who, job_id)).acceptance
        if acceptance is not None and acceptance.provider == "near":
            return job_id


async def test_nobody_else_is_asked_where_that_one_fails(tmp_path: Path) -> None:
    """Neither the other provider nor the provider's other key, which is tried once else."""
    async with open_site(tmp_path) as site:
        site.config = extended(site, TWO, routing=AGAIN)
        async with site.open() as studio:
            job_id = await of_near(studio)
            charged = len(site.sim.jobs)
            for status, attempts in ((401, 1), (503, 2)):
                studio.sim.behave("sora-2", f"status={status}")
                call = await remix(studio, job_id)
                with pytest.raises(UpstreamError):
                    await studio.ask(call)
                receipt = await studio.gateway.receipt(studio.who, call.request_id)
                asked = [each["provider"] for each in receipt["attempts"]]
                assert asked == ["near"] * attempts
            assert not any(job.order.remix_of for job in site.sim.jobs)
        assert site.charges() == [4 * SECOND] * charged


async def test_what_is_switched_off_is_not_asked(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        site.config = extended(site, TWO)
        async with site.open() as studio:
            job_id = await of_near(studio)
            switches = studio.gateway._parts.switches
            for kind, name in (
                ("model", "shared"),
                ("provider", "near"),
                ("deployment", "near/sora-2"),
            ):
                switches.turn(kind, name, off=True)
                with pytest.raises(ModelUnavailableError):
                    await studio.ask(await remix(studio, job_id))
                switches.turn(kind, name, off=False)
            await studio.made(ours(await studio.ask(await remix(studio, job_id))))


async def test_who_has_the_source_may_be_gone(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        site.config = extended(site, TWO)
        async with site.open() as studio:
            job_id = await of_near(studio)
            source = (await studio.gateway.job(studio.who, job_id)).acceptance
            assert source is not None
            key = site.sim.jobs.find("openai", "first", source.provider_job_id)
        other = "SECOND" if key is not None else "FIRST"
        gone: list[tuple[str, type[GatewayError]]] = [
            (TWO.replace('"env:FIRST", "env:SECOND"', f'"env:{other}"'), JobNotRemixableError),
            (TWO.replace('provider = "near"', 'provider = "films"'), JobNotRemixableError),
            (TWO.replace("models.shared", "models.other"), ModelNotFoundError),
        ]
        before = len(site.sim.jobs)
        for config, error in gone:
            site.config = extended(site, config)
            async with site.open() as studio:
                with pytest.raises(error):
                    await studio.ask(await remix(studio, job_id))
        assert len(site.sim.jobs) == before


async def test_a_model_that_chooses_has_made_it(tmp_path: Path) -> None:
    """By a fallback, at whose price what is made of it is paid."""
    more = """
[models.early]
deployments = [{ provider = "makers", model = "sim-video" }]
price = { seconds = 0.3 }
fallbacks = ["reel"]
"""
    async with open_studio(tmp_path, more, routing=AGAIN) as studio:
        studio.sim.behave("sim-video", "status=503")
        job_id = await finished(studio, model="early")
        studio.sim.behave("sim-video")
        made = await studio.ask(await remix(studio, job_id))
        assert made["model"] == "early"
        assert (await studio.made(ours(made))).price_nanodollars == 4 * SECOND
        assert await studio.balance() == 10 * DOLLAR - 8 * SECOND


# ---- what is not made ---------------------------------------------------------------------------


async def test_a_source_has_succeeded(tmp_path: Path) -> None:
    async with open_studio(tmp_path) as studio:
        running = (await studio.ask(studio.film("end_polls=8", model="reel")))["job_id"]
        with pytest.raises(JobNotEndedError):
            await studio.gateway.job_source(studio.who, running)
        await studio.made(running)
        failed = await finished(studio, "job=failed")
        with pytest.raises(JobNotRemixableError, match="'failed'"):
            await studio.gateway.job_source(studio.who, failed)


async def test_a_source_of_another_account_is_nobodys(tmp_path: Path) -> None:
    """Also where a program that embeds the gateway has mixed up whose it is."""
    async with open_studio(tmp_path) as studio:
        call = await remix(studio, await finished(studio))
        assert call.source is not None
        forged = replace(call, source=replace(call.source, account_id="acct_other"))
        with pytest.raises(NotFoundError):
            await studio.ask(forged)
        assert await studio.balance() == 10 * DOLLAR - 4 * SECOND


async def test_a_provider_that_makes_no_others_is_not_asked(tmp_path: Path) -> None:
    async with open_studio(tmp_path) as studio:
        call = await remix(studio, await finished(studio, model="film"))
        with pytest.raises(InvalidRequestError, match="makes no others"):
            await studio.ask(call)
        assert len(studio.sim.jobs) == 1


async def test_a_key_of_idempotency_is_of_one_source(tmp_path: Path) -> None:
    async with open_studio(tmp_path) as studio:
        first, second = await finished(studio), await finished(studio)
        made = await studio.ask(await remix(studio, first, idempotency_key="once"))
        assert await studio.ask(await remix(studio, first, idempotency_key="once")) == made
        await studio.made(ours(made))
        with pytest.raises(IdempotencyMismatchError):
            await studio.ask(await remix(studio, second, idempotency_key="once"))
        assert len(studio.sim.jobs) == 3


# ---- what is lost -------------------------------------------------------------------------------


async def lose(studio: Studio, call: Call) -> None:
    """The gateway stops while a provider is about to say that it has taken a job."""
    before = len(studio.sim.jobs)
    studio.sim.behave("sora-2", "head_ms=20000")
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(GatewayError):
                await studio.ask(call)

        nursery.start_soon(ask)
        await wait_until(lambda: len(studio.sim.jobs) > before)
        await studio.gateway.end_all()
    studio.sim.behave("sora-2")


@pytest.mark.parametrize(("model", "asked_again"), [("again", True), ("reel", False)])
async def test_a_lost_one_is_found_again(tmp_path: Path, model: str, asked_again: bool) -> None:
    """By its key, at the same path; in the list of the provider's jobs."""
    async with open_site(tmp_path) as site:
        site.config = extended(site, RESUBMITTED)
        async with site.open() as studio:
            job_id = await finished(studio, model=model)
            await lose(studio, await remix(studio, job_id))
        site.check()
        async with site.open() as studio:
            (lost,) = studio.book.open
            view = await studio.made(lost)
            assert (view.state, view.price_nanodollars) == ("succeeded", 4 * SECOND)
            assert (await studio.receipt(lost))["flags"] == ["recovered"]
        source, made = site.sim.jobs
        assert made.order.remix_of == source.job_id
        assert (made.submits > 1) is asked_again
        assert site.charges() == [4 * SECOND] * 2


async def test_a_lost_one_is_not_asked_of_another_key(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_site(tmp_path) as site:
        site.config = extended(site, RESUBMITTED)
        async with site.open() as studio:
            job_id = await finished(studio, model="again")
            await lose(studio, await remix(studio, job_id))
        asked = [job.submits for job in site.sim.jobs]
        site.config = site.config.replace("env:FIRST", "env:SECOND")
        async with site.open() as studio:
            for lost in list(studio.book.open):
                await studio.closed(lost)
            assert [job.submits for job in site.sim.jobs] == asked
        assert site.charges() == [4 * SECOND]
        assert "it is on the house" in caplog.text


async def test_what_is_made_anew_is_not_taken_for_a_lost_one(tmp_path: Path) -> None:
    """Both say the same in the provider's list, but for what one is made of."""
    async with open_site(tmp_path) as site:
        async with site.open() as studio:
            job_id = await finished(studio)
            await lose(studio, await remix(studio, job_id))
        async with site.open() as studio:
            for lost in list(studio.book.open):
                alike = list(site.sim.jobs)[-1]
                site.sim.jobs.drop(alike)
                site.sim.jobs.take("openai", alike.key, plain(alike.order), alike.directives)
                await studio.closed(lost)
        assert site.charges() == [4 * SECOND]


def plain(order: Order) -> Order:
    return replace(order, remix_of=None)


# ---- what it costs ------------------------------------------------------------------------------


def made_so(terms: JobTerms, units: dict[Any, int], params: dict[str, Any]) -> JobView:
    row = JobRow("job_1", "req_1", "acct_1", None, "video", "openai_videos", "m", 0, 0, params)
    taken = JobAcceptance("job_1", 1, "films", "sora-2", "0" * 16, "video_9", terms, 0)
    return JobView(row, taken, "succeeded", 0, units=units)


def test_it_is_as_long_as_its_source_was_paid_for() -> None:
    asked = JobTerms({"requests": 1, "clips": 1, "milliseconds": 8_000}, {}, {}, "1280x720")
    source = source_of(made_so(asked, {"milliseconds": 6_000}, {"seconds": 8, "prompt": "a"}))
    assert source.units == {"clips": 1, "milliseconds": 6_000}
    assert (source.tier, source.params) == ("1280x720", {"seconds": 8, "size": "1280x720"})

    unsaid = JobTerms({"requests": 1, "clips": 2}, {}, {}, None, {"milliseconds": 120_000})
    source = source_of(made_so(unsaid, {"milliseconds": 900_000}, {"aspect_ratio": "9:16"}))
    assert source.units == {"clips": 2, "milliseconds": 120_000}
    assert source.most == {"milliseconds": 120_000}
    assert source.params == {"aspect_ratio": "9:16", "seconds": 60}
