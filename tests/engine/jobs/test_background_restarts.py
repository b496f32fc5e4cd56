"""Answers in the background outlive their gateway: stopped, killed, or with a provider that is
down when they end."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from tests.engine.jobs.background import events_of, first_of, open_home, open_keeper
from tests.engine.ledger.samples import raw_database
from tests.gateways import drain


async def test_they_go_on_under_the_next_gateway(tmp_path: Path) -> None:
    async with open_home(tmp_path) as home:
        async with home.open() as keeper:
            async with keeper.gateway.open_exchange(keeper.later("end_s=0.3 tokens=6")) as unary:
                await drain(unary)
            call = keeper.later("tokens=8 tokens_per_second=20", stream=True)
            async with keeper.gateway.open_exchange(call) as streamed:
                await first_of(streamed)
                await keeper.gateway.end_all()
                assert events_of(await drain(streamed))
            assert len(keeper.book.open) == 2
        assert home.charges() == []
        async with home.open() as keeper:
            for exchange, tokens in ((unary, 6), (streamed, 8)):
                receipt = await keeper.settled(exchange)
                assert receipt["usage"]["output_tokens"] == tokens
                assert receipt["price"]["nanodollars"] == keeper.reported(exchange)
        assert len(home.charges()) == 2


async def test_a_provider_that_is_down_is_asked_until_it_tells(tmp_path: Path) -> None:
    async with open_keeper(tmp_path) as keeper:
        keeper.sim.behave("responses.get", "status=503")
        async with keeper.gateway.open_exchange(keeper.later("tokens=5 end_s=0.05")) as exchange:
            await drain(exchange)
        job = keeper.book.open[keeper.job_of(exchange)]
        with trio.fail_after(10):
            while job.asked < 4:  # noqa: ASYNC110 - it is asked by the clock
                await trio.sleep(0.01)
        assert job.open
        keeper.sim.behave("responses.get")
        receipt = await keeper.settled(exchange)
        assert receipt["price"]["nanodollars"] == keeper.reported(exchange)


def run_and_kill(config: Path, key: str, seed: int, lines: int, after_s: float) -> list[str]:
    """The requests whose clients have heard something when their gateway is killed: some time after
    it has told of so many."""
    module = "tests.engine.jobs.background_child"
    command = [sys.executable, "-m", module, str(config), key, str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(lines)]
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(after_s)
        child.send_signal(signal.SIGKILL)
        said += child.stdout.readlines()
    assert child.returncode == -signal.SIGKILL
    return [line.split()[1] for line in said if line.endswith("\n")]


@pytest.mark.parametrize("kills", [2, pytest.param(40, marks=pytest.mark.long)])
async def test_whoever_has_heard_of_one_pays_for_it_once_whenever_it_is_killed(
    tmp_path: Path, kills: int
) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # noqa: T201
    chance = random.Random(seed)
    taken: list[str] = []
    async with open_home(tmp_path) as home:
        async with home.open():
            pass
        config = tmp_path / "gateway.toml"
        config.write_text(home.text())
        for kill in range(kills):
            lines, after_s = chance.randrange(1, 20), chance.random() * 0.1
            taken += await trio.to_thread.run_sync(
                run_and_kill, config, home.key, seed + kill, lines, after_s
            )
        async with home.open() as keeper:
            for job_id in list(keeper.book.open):
                await keeper.closed(job_id)
            for request_id in taken:
                receipt = await keeper.gateway.receipt(keeper.who, request_id)
                record = home.sim.truth.record(request_id)
                assert record is not None
                assert record.usage_reported is not None
                assert receipt["state"] == "settled"
                usage = record.usage_reported
                assert receipt["price"]["nanodollars"] == (
                    usage["input_tokens"] * 1_000 + usage["output_tokens"] * 2_000
                )
        with raw_database(tmp_path / "ledger.db") as connection:
            (twice,) = connection.execute(
                "SELECT count(*) FROM (SELECT request_id FROM hold_records"
                " WHERE kind = 'posted' GROUP BY request_id HAVING count(*) > 1)"
            ).fetchone()
        assert twice == 0
        # What nobody has heard of may be lost, and is on the house then; never more.
        assert len(taken) <= len(home.charges()) <= len(home.sim.truth.records())
        print(f"{len(taken)} were heard of, {len(home.charges())} charged")  # noqa: T201
