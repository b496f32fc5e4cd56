"""Billing in every pair of protocols: reported and counted usage, and a client that leaves."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from engine.events import Protocol, TextDelta, UsageReport
from tests.gateways import PAIRS, Setup, charge, drain, open_setup, settled

TOKENS = 40
NAMES = [f"{client}-from-{provider}" for client, provider in PAIRS]


@pytest.fixture(params=PAIRS, ids=NAMES)
def pair(request: pytest.FixtureRequest) -> tuple[Protocol, str]:
    """A client's protocol and a provider's."""
    pair: tuple[Protocol, str] = request.param
    return pair


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "unary"])
async def test_reported_usage_is_billed(
    tmp_path: Path, pair: tuple[Protocol, str], stream: bool
) -> None:
    async with open_setup(tmp_path) as setup:
        call = setup.call_of(*pair, f"tokens={TOKENS} cached=7", stream=stream)
        async with setup.gateway.open_exchange(call) as exchange:
            await drain(exchange)
        receipt, truth = exchange.receipt, setup.truth(exchange)
        assert (receipt.outcome, receipt.provenance) == ("completed", "reported")
        assert receipt.usage["input_tokens"] == truth.input_tokens
        assert receipt.usage["output_tokens"] == truth.tokens_generated == TOKENS
        assert receipt.usage["cached_input_tokens"] == 7
        assert receipt.received_output_tokens == receipt.delivered_output_tokens == TOKENS
        assert receipt.price_nanodollars == charge(truth.input_tokens, TOKENS)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "unary"])
async def test_what_is_not_reported_is_counted(
    tmp_path: Path, pair: tuple[Protocol, str], stream: bool
) -> None:
    async with open_setup(tmp_path) as setup:
        call = setup.call_of(*pair, f"tokens={TOKENS} usage=none", stream=stream)
        async with setup.gateway.open_exchange(call) as exchange:
            await drain(exchange)
        receipt, truth = exchange.receipt, setup.truth(exchange)
        assert (receipt.outcome, receipt.provenance) == ("completed", "counted")
        assert receipt.usage["output_tokens"] == truth.tokens_generated
        assert 0 < receipt.usage["input_tokens"] <= len(call.body)


async def leave_after(setup: Setup, pair: tuple[Protocol, str], count: int) -> None:
    """Take `count` chunks and go; check what was billed for it."""
    directives = f"tokens={TOKENS} tokens_per_second=2000"
    chunks = 0
    async with setup.gateway.open_exchange(setup.call_of(*pair, directives)) as exchange:
        async for _ in exchange:
            chunks += 1
            if chunks > count:
                break
    receipt, truth = exchange.receipt, setup.truth(exchange)
    await settled(lambda: truth.ended is not None)
    billed = receipt.usage["output_tokens"]
    assert receipt.outcome in ("client_left", "completed")
    assert receipt.delivered_output_tokens <= billed == receipt.received_output_tokens
    assert billed <= truth.tokens_generated
    assert receipt.price_nanodollars == charge(receipt.usage["input_tokens"], billed)
    if pair[1] in ("anthropic", "gemini"):  # these say the input when they begin
        assert receipt.usage["input_tokens"] in (0, truth.input_tokens)


async def test_leaving_after_every_chunk(tmp_path: Path, pair: tuple[Protocol, str]) -> None:
    async with open_setup(tmp_path) as setup, trio.open_nursery() as nursery:
        for count in range(0, TOKENS + 4, 3):
            nursery.start_soon(leave_after, setup, pair, count)


async def test_an_embedder_reads_the_same_events_whatever_the_protocols(
    tmp_path: Path, pair: tuple[Protocol, str]
) -> None:
    async with open_setup(tmp_path) as setup:
        async with setup.gateway.open_exchange(setup.call_of(*pair, "tokens=9")) as exchange:
            events = [event async for event in exchange.events()]
        truth = setup.truth(exchange)
        text = "".join(event.text for event in events if isinstance(event, TextDelta))
        assert text == truth.text
        assert [e.usage.output_tokens for e in events if isinstance(e, UsageReport)][-1] == 9
        assert exchange.receipt.outcome == "completed"
