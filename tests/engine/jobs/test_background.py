"""Responses in the background: their holds are handed over, and they are charged once, by what the
provider reports, whoever still listens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
import trio

from engine.errors import (
    GatewayError,
    InsufficientFundsError,
    InvalidRequestError,
    NotAStreamError,
)
from engine.ledger.job_rows import JobQuery
from tests.engine.jobs.background import Keeper, events_of, first_of, open_keeper
from tests.engine.ledger.samples import raw_database
from tests.gateways import DOLLAR, drain


async def test_the_providers_own_answer_goes_out_and_the_end_is_charged(tmp_path: Path) -> None:
    async with open_keeper(tmp_path) as keeper:
        async with keeper.gateway.open_exchange(
            keeper.later("tokens=7 run_polls=1 end_polls=3")
        ) as exchange:
            answer = orjson.loads(await drain(exchange))
        assert (answer["status"], answer["usage"]) == ("queued", None)
        assert answer["id"].startswith("resp_")
        assert exchange.receipt.state == "settling"
        assert keeper.gateway.ledger.statistics().open_holds == 1
        receipt = await keeper.settled(exchange)
        assert (receipt["outcome"], receipt["state"]) == ("completed", "settled")
        assert receipt["price"]["nanodollars"] == keeper.reported(exchange)
        assert await keeper.balance() == 10 * DOLLAR - keeper.reported(exchange)
        assert receipt["usage"]["output_tokens"] == 7
        assert receipt["usage_provenance"]["output_tokens"] == "reported"
        (attempt,) = receipt["attempts"]
        assert (attempt["won"], attempt["usage"]["output_tokens"]) == (True, 7)
        assert costs_of(keeper) == 1_000 * (receipt["usage"]["input_tokens"] + 7)


@pytest.mark.parametrize("stream", [False, True])
async def test_it_is_the_accounts_before_it_has_ended(tmp_path: Path, stream: bool) -> None:
    async with open_keeper(tmp_path) as keeper:
        call = keeper.later("tokens=7 run_polls=1 end_polls=3", stream=stream)
        async with keeper.gateway.open_exchange(call) as exchange:
            told = await first_of(exchange)
            begun = events_of(told)[0]["response"] if stream else orjson.loads(told)
            find = keeper.gateway.ledger.find_owned
            assert set(await find(keeper.account_id, [begun["id"]])) == {begun["id"]}
        receipt = await keeper.settled(exchange)
        row = (await find(keeper.account_id, [begun["id"]]))[begun["id"]]
        assert (row.kind, row.model) == ("response", "thinker")
        assert row.context_tokens == receipt["usage"]["input_tokens"] + 7


async def test_it_is_none_of_an_accounts_videos(tmp_path: Path) -> None:
    async with open_keeper(tmp_path) as keeper:
        async with keeper.gateway.open_exchange(keeper.later("end_polls=1")) as exchange:
            await drain(exchange)
        job_id = keeper.job_of(exchange)
        assert (await keeper.gateway.jobs(keeper.who, JobQuery())).jobs == ()
        await keeper.closed(job_id)
        assert (await keeper.gateway.jobs(keeper.who, JobQuery())).jobs == ()
        with pytest.raises(GatewayError):
            await keeper.gateway.job(keeper.who, job_id)


@pytest.mark.parametrize(
    ("told", "outcome", "charged"),
    [
        ("job=failed", "upstream_failed", False),
        ("job=failed usage=always tokens=5", "upstream_failed", True),
        ("job=expired", "upstream_failed", False),
        ("tokens=999", "completed", True),
    ],
)
async def test_it_is_charged_by_what_is_reported_however_it_ends(
    tmp_path: Path, told: str, outcome: str, charged: bool
) -> None:
    async with open_keeper(tmp_path) as keeper:
        async with keeper.gateway.open_exchange(keeper.later(f"end_polls=1 {told}")) as exchange:
            await drain(exchange)
        receipt = await keeper.settled(exchange)
        assert receipt["outcome"] == outcome
        assert (receipt["price"]["nanodollars"] > 0) is charged
        assert receipt["price"]["nanodollars"] == (keeper.reported(exchange) if charged else 0)


async def test_a_stream_that_is_heard_to_its_end_is_settled_by_it(tmp_path: Path) -> None:
    async with open_keeper(tmp_path) as keeper:
        call = keeper.later("tokens=12", stream=True)
        async with keeper.gateway.open_exchange(call) as exchange:
            told = events_of(await drain(exchange))
        assert told[-1]["type"] == "response.completed"
        assert exchange.receipt.state == "settled"
        assert exchange.receipt.durability == "durable"
        assert exchange.receipt.price_nanodollars == keeper.reported(exchange)
        assert keeper.book.open == {}
        assert keeper.book.polls == 0


@pytest.mark.parametrize("told", ["", "head_ms=200", "tokens_per_second=20"])
async def test_a_client_that_leaves_its_stream_pays_for_all_that_is_made(
    tmp_path: Path, told: str
) -> None:
    async with open_keeper(tmp_path) as keeper:
        call = keeper.later(f"tokens=15 first_token_ms=100 {told}", stream=True)
        async with keeper.gateway.open_exchange(call) as exchange:
            with trio.move_on_after(0.15):
                await first_of(exchange)
        receipt = await keeper.settled(exchange)
        assert receipt["usage"]["output_tokens"] == 15
        assert receipt["price"]["nanodollars"] == keeper.reported(exchange)
        assert receipt["delivered_output_tokens"] <= 15


@pytest.mark.parametrize("fault", ["cut", "rst", "error_event"])
async def test_a_provider_that_breaks_its_stream_goes_on_and_is_paid_for_it(
    tmp_path: Path, fault: str
) -> None:
    async with open_keeper(tmp_path) as keeper:
        call = keeper.later(f"tokens=30 cut_after=4 fault={fault}", stream=True)
        async with keeper.gateway.open_exchange(call) as exchange:
            told = events_of(await drain(exchange))
        assert told[-1]["type"] in ("error", "response.failed")
        receipt = await keeper.settled(exchange)
        assert receipt["usage"]["output_tokens"] == 30
        assert receipt["price"]["nanodollars"] == keeper.reported(exchange)


async def test_a_stream_begins_before_anything_is_generated(tmp_path: Path) -> None:
    async with open_keeper(tmp_path) as keeper:
        call = keeper.later("tokens=3 first_token_ms=400", stream=True)
        async with keeper.gateway.open_exchange(call) as exchange:
            first = events_of(await first_of(exchange))
            assert first[0]["type"] == "response.created"
            (stored,) = await stored_acceptances(tmp_path)
            assert stored == first[0]["response"]["id"]
            with pytest.raises(NotAStreamError):
                exchange.cancel()
        await keeper.settled(exchange)


async def test_an_operator_ends_the_stream_and_not_what_goes_on(tmp_path: Path) -> None:
    async with open_keeper(tmp_path) as keeper:
        call = keeper.later("tokens=20 tokens_per_second=50", stream=True)
        async with keeper.gateway.open_exchange(call) as exchange:
            body = await first_of(exchange)
            exchange.end_by_operator()
            body += await drain(exchange)
        assert events_of(body)[-1]["type"] in ("error", "response.failed")
        receipt = await keeper.settled(exchange)
        assert receipt["usage"]["output_tokens"] == 20


async def test_what_is_seen_elsewhere_is_asked_about_at_once(tmp_path: Path) -> None:
    async with open_keeper(tmp_path, poll_s=60) as keeper:
        async with keeper.gateway.open_exchange(keeper.later("end_s=0.2 tokens=4")) as exchange:
            answer = orjson.loads(await drain(exchange))
        assert len(keeper.book.open_as("keeper", answer["id"])) == 1
        assert keeper.book.open_as("elsewhere", answer["id"]) == ()
        assert not await keeper.gateway.settle_first("keeper", answer["id"])
        await trio.sleep(0.25)
        assert await keeper.gateway.settle_first("keeper", answer["id"])
        assert keeper.book.open_as("keeper", answer["id"]) == ()
        keeper.book.hint("keeper", answer["id"])  # which says nothing of nobody
        assert (await keeper.settled(exchange))["usage"]["output_tokens"] == 4


async def test_the_funds_are_held_and_no_more_than_there_is_is_spent(tmp_path: Path) -> None:
    async with open_keeper(tmp_path, funds_nanodollars=600_000) as keeper:
        long = keeper.later(document={"input": "x" * 2_000})
        with pytest.raises(InsufficientFundsError):
            async with keeper.gateway.open_exchange(long):
                raise AssertionError
        unsaid: dict[str, Any] = {"document": {"max_output_tokens": None}}
        async with keeper.gateway.open_exchange(
            keeper.later("tokens=9999 ignore_max_tokens=true", **unsaid)
        ) as exchange:
            await drain(exchange)
        receipt = await keeper.settled(exchange)
        assert receipt["price"]["nanodollars"] == 600_000
        assert await keeper.balance() == 0


async def test_the_same_key_of_idempotency_is_the_same_response(tmp_path: Path) -> None:
    async with open_keeper(tmp_path) as keeper:
        answers = []
        for _ in range(2):
            call = keeper.later("end_polls=1 tokens=4", idempotency_key="one")
            async with keeper.gateway.open_exchange(call) as exchange:
                answers.append(await drain(exchange))
            answers.append(exchange.receipt.request_id.encode())
        assert answers[:2] == answers[2:]
        await keeper.closed(answers[1].decode().replace("req_", "job_"))
        assert await keeper.balance() > 10 * DOLLAR - 1_000_000


async def test_it_is_asked_only_of_who_keeps_it(tmp_path: Path) -> None:
    async with open_keeper(tmp_path) as keeper:
        for model in ("sim-responses", "sim-anthropic"):
            for stream in (False, True):
                call = keeper.later(document={"model": model}, stream=stream)
                with pytest.raises(InvalidRequestError) as caught:
                    async with keeper.gateway.open_exchange(call):
                        raise AssertionError
                assert caught.value.param == "background"


def costs_of(keeper: Keeper) -> int:
    """What the provider has cost the house."""
    balances = keeper.gateway.ledger._books.balances()
    return sum(amount for name, amount in balances.items() if name == "provider:keeper")


async def stored_acceptances(folder: Path) -> list[str]:
    """What of the provider's is known by the database."""
    with raw_database(folder / "ledger.db") as connection:
        rows = connection.execute("SELECT provider_job_id FROM job_acceptances")
        return [known_as for (known_as,) in rows]
