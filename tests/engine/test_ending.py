"""Exchanges that an operator ends: settled, said in the client's protocol, and on the receipt."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from engine import Outcome
from engine.errors import EndedByOperatorError
from engine.events import Protocol
from tests.engine.test_stopping import running
from tests.gateways import PROTOCOLS, charge, drain, open_setup, run, settled

ENDLESS = "tokens=100000 tokens_per_second=500"


@pytest.mark.parametrize("client", PROTOCOLS)
async def test_a_stream_gets_an_error_ending_and_is_billed_as_received(
    tmp_path: Path, client: Protocol
) -> None:
    async with open_setup(tmp_path) as setup:
        call = setup.call_of(client, "openai_chat", ENDLESS)
        async with setup.gateway.open_exchange(call) as exchange:
            async with running(setup, exchange) as bodies:
                setup.gateway.running.exchange(call.request_id).end_by_operator()
                at_once = exchange.receipt
                exchange.end_by_operator()
            assert exchange.finished
        assert b"The operator of the gateway has ended this request." in bodies[0]
        receipt = exchange.receipt
        assert (at_once.outcome, at_once.state) == (Outcome.SHUTDOWN, "settled")
        assert receipt.flags == ("ended_by_operator",)
        assert receipt.error is not None
        assert receipt.error.code == "ended_by_operator"
        billed = receipt.usage["output_tokens"]
        assert 0 < billed <= setup.truth(exchange).tokens_generated
        assert receipt.price_nanodollars == at_once.price_nanodollars
        assert receipt.price_nanodollars == charge(receipt.usage["input_tokens"], billed)


async def test_an_answer_in_one_piece_is_refused_and_free(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        call = setup.call(ENDLESS, stream=False)
        errors: list[object] = []

        async def ask() -> None:
            _, receipt, error = await run(setup, call)
            assert (receipt.outcome, receipt.price_nanodollars) == (Outcome.SHUTDOWN, 0)
            assert receipt.flags == ("ended_by_operator",)
            errors.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await settled(lambda: bool(setup.sim.truth.records()))
            setup.gateway.running.exchange(call.request_id).end_by_operator()
        [error] = errors
        assert isinstance(error, EndedByOperatorError)
        assert (error.status, error.code) == (503, "ended_by_operator")


async def test_a_stream_that_is_read_on_without_its_client_ends_too(tmp_path: Path) -> None:
    async with open_setup(tmp_path, provider='on_cancel = "drain"\n') as setup:
        call = setup.call(ENDLESS)
        async with setup.gateway.open_exchange(call) as exchange:
            async for chunk in exchange:
                if chunk:
                    break
        settling = exchange.receipt
        setup.gateway.running.exchange(call.request_id).end_by_operator()
        receipt = exchange.receipt
        assert (settling.state, receipt.state) == ("settling", "settled")
        assert (receipt.outcome, receipt.flags) == (Outcome.SHUTDOWN, ("ended_by_operator",))
        await settled(lambda: setup.gateway.statistics()["open_drains"] == 0)


async def test_an_answer_that_is_whole_stays_whole(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        async with setup.gateway.open_exchange(setup.call("tokens=5")) as exchange:
            body = await drain(exchange)
            exchange.end_by_operator()
        assert body.endswith(b"data: [DONE]\n\n")
        assert (exchange.receipt.outcome, exchange.receipt.flags) == (Outcome.COMPLETED, ())
