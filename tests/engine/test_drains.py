"""Streams that are read on after their client has left, and what bounds that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from engine import Exchange, Outcome, Provenance
from engine.drains import open_drains
from engine.ledger.receipts import Receipt
from tests.engine.upstream.peer import Request
from tests.gateways import (
    DOLLAR,
    PROTOCOLS,
    Setup,
    charge,
    drain,
    open_setup,
    settled,
)
from tests.leaving import cancelled_once
from tests.scripted import DONE, open_scripted, usage_only, word

DRAIN = 'on_cancel = "drain"\n'


async def leave(setup: Setup, directives: str, *, events: int = 3, **changes: Any) -> Exchange:
    """Take some events of a stream, and go."""
    async with setup.gateway.open_exchange(setup.call(directives, **changes)) as exchange:
        seen = 0
        async for chunk in exchange:
            seen += chunk.count(b"\n\n")
            if seen >= events:
                break
    return exchange


async def final(setup: Setup, exchange: Exchange) -> Receipt:
    """The receipt, once the drain has ended."""
    await settled(lambda: setup.gateway.statistics()["open_drains"] == 0)
    return exchange.receipt


@pytest.mark.usefixtures("each_protocol")
async def test_a_drained_stream_is_billed_as_the_provider_reports_it(tmp_path: Path) -> None:
    async with open_setup(tmp_path, provider=DRAIN) as setup:
        exchange = await leave(setup, "tokens=400 tokens_per_second=800 reasoning=30")
        left = exchange.receipt
        assert (left.outcome, left.state) == (Outcome.CLIENT_LEFT, "settling")
        shown = await setup.gateway.ledger.read_receipt(setup.account_id, left.request_id)
        assert shown is not None
        assert shown["outcome"] == "client_left"
        receipt, truth = await final(setup, exchange), setup.truth(exchange)
        assert (receipt.outcome, receipt.provenance) == (Outcome.CLIENT_LEFT, Provenance.DRAINED)
        assert truth.ended == "done"
        assert receipt.usage["output_tokens"] == truth.tokens_generated == 430
        assert receipt.price_nanodollars == charge(truth.input_tokens, 430)
        assert receipt.delivered_output_tokens == left.delivered_output_tokens < 430
        assert receipt.state == "settled"


@pytest.mark.parametrize("client", PROTOCOLS)
@pytest.mark.parametrize("provider", PROTOCOLS)
async def test_in_every_pair_of_protocols(tmp_path: Path, client: Any, provider: str) -> None:
    async with open_setup(tmp_path, provider=DRAIN) as setup:
        call = setup.call_of(client, provider, "tokens=30 tokens_per_second=150")
        async with setup.gateway.open_exchange(call) as exchange:
            await exchange.head()
            await anext(exchange)
        receipt, truth = await final(setup, exchange), setup.truth(exchange)
        assert receipt.provenance is Provenance.DRAINED
        assert receipt.usage["output_tokens"] == truth.tokens_generated
        assert receipt.usage["input_tokens"] == truth.input_tokens


async def test_a_client_that_leaves_before_the_first_byte_is_drained_too(tmp_path: Path) -> None:
    async with open_setup(tmp_path, provider=DRAIN) as setup:
        async with (
            cancelled_once(lambda: any(setup.sim.truth.records())),
            setup.gateway.open_exchange(setup.call("tokens=9 head_ms=300")) as exchange,
        ):
            await exchange.head()
        receipt = await final(setup, exchange)
        assert receipt.provenance is Provenance.DRAINED
        assert receipt.usage["output_tokens"] == 9
        assert receipt.delivered_output_tokens == 0


async def test_a_slow_client_that_leaves_lets_its_stream_flow_on(tmp_path: Path) -> None:
    async with open_setup(tmp_path, provider=DRAIN) as setup:
        call = setup.call("tokens=6000 tokens_per_second=1000000")
        async with setup.gateway.open_exchange(call) as exchange:
            await anext(exchange)
            await settled(lambda: exchange._attempt.held_up)
        receipt = await final(setup, exchange)
        assert receipt.provenance is Provenance.DRAINED
        assert receipt.usage["output_tokens"] == 6_000


async def test_an_answer_in_one_piece_is_drained_at_the_expense_of_the_house(
    tmp_path: Path,
) -> None:
    async with open_setup(tmp_path, provider=DRAIN) as setup:
        call = setup.call("tokens=50 tokens_per_second=200", stream=False)
        async with (
            cancelled_once(lambda: any(setup.sim.truth.records())),
            setup.gateway.open_exchange(call) as exchange,
        ):
            await exchange.head()
        receipt, truth = await final(setup, exchange), setup.truth(exchange)
        assert receipt.price_nanodollars == 0
        assert receipt.usage["output_tokens"] == truth.tokens_generated == 50
        assert receipt.cost_nanodollars == charge(truth.input_tokens, 50)
        assert await setup.balance() == DOLLAR


# ---- bounds ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bound", "directives"),
    [
        ("cancel_drain_s = 0.2", "tokens=100000 tokens_per_second=200"),
        ("cancel_drain_tokens = 100", "tokens=100000 tokens_per_second=500"),
        ("idle_timeout_s = 0.2", "tokens=50 tokens_per_second=2000 fault=stall cut_after=40"),
        ("", "tokens=50 tokens_per_second=100 fault=cut cut_after=40"),
    ],
)
async def test_a_drain_that_ends_early_is_counted(
    tmp_path: Path, bound: str, directives: str
) -> None:
    async with open_setup(tmp_path, provider=DRAIN + bound) as setup:
        exchange = await leave(setup, directives)
        receipt, truth = await final(setup, exchange), setup.truth(exchange)
        assert (receipt.outcome, receipt.provenance) == (Outcome.CLIENT_LEFT, Provenance.COUNTED)
        billed = receipt.usage["output_tokens"]
        assert 3 <= billed == receipt.received_output_tokens <= truth.tokens_generated < 10_000
        assert receipt.price_nanodollars == charge(truth.input_tokens, billed)


async def test_a_drain_ends_where_the_funds_do(tmp_path: Path) -> None:
    async with open_setup(tmp_path, provider=DRAIN, funds_nanodollars=6_000_000) as setup:
        exchange = await leave(setup, "tokens=100000 tokens_per_second=20000")
        receipt = await final(setup, exchange)
        assert receipt.provenance is Provenance.COUNTED
        assert 2_000 < receipt.usage["output_tokens"] <= 2_048, "one slice, and no second one"
        assert receipt.overrun_nanodollars == 0


async def test_an_account_drains_a_few_streams_at_a_time(tmp_path: Path) -> None:
    billing = "drains_per_account_max = 2"
    over = trio.Event()

    async def script(request: Request) -> None:
        request.answer(word("one"))
        await over.wait()
        if request.reset_code is None:
            await request.send_all(usage_only(7, 1) + DONE, ended=True)

    async with open_scripted(tmp_path, script, provider=DRAIN, billing=billing) as setup:
        exchanges = [await leave(setup, "", events=1) for _ in range(4)]
        assert setup.gateway.statistics()["open_drains"] == 2
        assert [exchange.receipt.state for exchange in exchanges[2:]] == ["settled"] * 2
        over.set()
        for exchange in exchanges:
            await final(setup, exchange)
        ends = [exchange.receipt.provenance for exchange in exchanges]
        assert ends == [Provenance.DRAINED] * 2 + [Provenance.COUNTED] * 2


async def test_nothing_is_drained_while_the_gateway_stops(tmp_path: Path) -> None:
    async with open_setup(tmp_path, provider=DRAIN) as setup:
        call = setup.call("tokens=100000 tokens_per_second=100")
        async with setup.gateway.open_exchange(call) as exchange:
            await anext(exchange)
            setup.gateway.stop_admission()
        assert exchange.receipt.state == "settled"
        assert exchange.receipt.provenance is Provenance.COUNTED


async def test_drains_under_way_are_settled_when_the_gateway_is_left(tmp_path: Path) -> None:
    from engine import open_gateway, parse_config
    from tests.gateways import config_text

    async with open_setup(tmp_path) as setup:
        folder = tmp_path / "second"
        folder.mkdir()
        text = config_text(folder / "ledger.db", setup.sim.base_url, provider=DRAIN)
        config = parse_config(text, "second.toml", {})
        async with open_gateway(config) as gateway:
            account = await gateway.ledger.create_account("second")
            await gateway.ledger.fund(account.account_id, DOLLAR, "first")
            _, key = await gateway.create_key(account.account_id, "second")
            second = Setup(gateway, setup.sim, account.account_id, key)
            exchange = await leave(second, "tokens=100000 tokens_per_second=100")
            assert exchange.receipt.state == "settling"
        receipt = exchange.receipt
        assert (receipt.state, receipt.provenance) == ("settled", Provenance.COUNTED)
        async with open_gateway(config) as gateway:
            kept = await gateway.ledger.read_receipt(account.account_id, receipt.request_id)
            assert kept is not None
            assert kept["price"]["nanodollars"] == receipt.price_nanodollars > 0
            assert gateway.ledger.recovered_holds == 0


async def test_what_is_adopted_runs_to_its_first_checkpoint_whatever_happens() -> None:
    ended = []

    async def run() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append("settled")

    async with open_drains(per_account_max=3) as drains:
        assert all(drains.adopt("acc_1", run) for _ in range(3))
        assert not drains.adopt("acc_1", run)
        assert drains.adopt("acc_2", run)
    assert ended == ["settled"] * 4
    assert drains.open == 0
    assert not drains.adopt("acc_1", run)


# ---- ended by its receipt ----------------------------------------------------------------------


async def test_a_drain_is_ended_by_its_receipt(tmp_path: Path) -> None:
    async with open_setup(tmp_path, provider=DRAIN) as setup:
        exchange = await leave(setup, "tokens=100000 tokens_per_second=200")
        principal = setup.gateway.authenticate(setup.key)
        ended = await setup.gateway.cancel(principal, exchange.receipt.request_id)
        assert (ended["outcome"], ended["provenance"]) == ("client_left", "counted")
        assert (ended["state"], ended["flags"]) == ("settled", ["cancelled"])
        assert (await final(setup, exchange)).price_nanodollars == ended["price"]["nanodollars"]


async def test_to_the_end_nobody_is_charged_twice(tmp_path: Path) -> None:
    async with open_setup(tmp_path, provider=DRAIN) as setup:
        call = setup.call("tokens=20")
        async with setup.gateway.open_exchange(call) as exchange:
            await drain(exchange)
        principal = setup.gateway.authenticate(setup.key)
        receipt = await setup.gateway.cancel(principal, exchange.receipt.request_id)
        assert (receipt["outcome"], receipt["flags"]) == ("completed", [])
