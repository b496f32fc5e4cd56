"""The client closes its socket: the provider's stream is reset, the charge is what was received."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.events import Protocol
from tests.gateways import PAIRS, charge, settled
from tests.served import Served, open_raw, open_raw_of, open_served

TOKENS = 40
pytestmark = pytest.mark.usefixtures("each_protocol")


async def leave_after(served: Served, count: int, tokens_per_event: int) -> None:
    """Close the socket after `count` events, and check what was billed for it."""
    pace = f"tokens={TOKENS} tokens_per_event={tokens_per_event} tokens_per_second=800"
    setup = served.setup
    known = len(setup.sim.truth.records())
    balance = await setup.balance()
    async with open_raw(served, pace) as client:
        if count:
            await client.read_head()
            await client.read_events(count)
        else:
            await settled(
                lambda: setup.gateway.open_exchanges == 1 or len(setup.sim.truth.records()) > known
            )
    await settled(lambda: setup.gateway.open_exchanges == 0)
    if len(setup.sim.truth.records()) == known:
        assert count == 0, "left before the provider was asked"
        assert await setup.balance() == balance
        return
    truth = setup.sim.truth.records()[-1]
    receipt = await served.receipt(truth.request_id)
    billed = receipt["usage"]["output_tokens"]
    assert receipt["outcome"] in ("client_left", "completed")
    if receipt["outcome"] == "client_left":
        await settled(lambda: truth.ended is not None)
        assert truth.ended in ("reset", "done")
    assert receipt["delivered_output_tokens"] <= billed == receipt["received_output_tokens"]
    assert billed <= truth.tokens_generated
    price = receipt["price"]["nanodollars"]
    assert price == charge(truth.input_tokens, billed) or (count == 0 == price)
    assert await setup.balance() == balance - price


@pytest.mark.parametrize("tokens_per_event", [1, 17])
async def test_leaving_after_every_event(tmp_path: Path, tokens_per_event: int) -> None:
    events = -(-TOKENS // tokens_per_event) + 3  # the role, the words, the finish, [DONE]
    async with open_served(tmp_path) as served:
        for count in range(events + 1):
            await leave_after(served, count, tokens_per_event)


async def test_a_half_close_counts_as_leaving(tmp_path: Path) -> None:
    async with open_served(tmp_path) as served:
        async with open_raw(served, "tokens=100000 tokens_per_second=50") as client:
            await client.read_head()
            await client.read_events(2)
            await client.send_eof()
            await settled(lambda: served.setup.gateway.open_exchanges == 0)
        [truth] = served.setup.sim.truth.records()
        assert (await served.receipt(truth.request_id))["outcome"] == "client_left"


async def test_leaving_while_the_provider_is_quiet(tmp_path: Path) -> None:
    async with open_served(tmp_path) as served:
        async with open_raw(served, "tokens=5 first_token_ms=60000"):
            await settled(lambda: bool(served.setup.sim.truth.records()))
        await settled(lambda: served.setup.gateway.open_exchanges == 0)
        [truth] = served.setup.sim.truth.records()
        await settled(lambda: truth.ended == "reset")


async def leave_pair_after(served: Served, client: Protocol, provider: str, count: int) -> None:
    """Close the socket of a client of one protocol after `count` events of another's provider."""
    setup = served.setup
    pace = f"tokens={TOKENS} tokens_per_second=800"
    async with open_raw_of(served, client, provider, pace) as stream:
        await stream.read_head()
        assert stream.status == 200
        await stream.read_events(count)
    await settled(lambda: setup.gateway.open_exchanges == 0)
    truth = setup.sim.truth.records()[-1]
    await settled(lambda: truth.ended is not None)
    receipt = await served.receipt(truth.request_id)
    usage, billed = receipt["usage"], receipt["usage"]["output_tokens"]
    assert receipt["outcome"] in ("client_left", "completed")
    assert receipt["delivered_output_tokens"] <= billed == receipt["received_output_tokens"]
    assert billed <= truth.tokens_generated
    assert receipt["price"]["nanodollars"] == charge(usage["input_tokens"], billed)


@pytest.mark.parametrize(("client", "provider"), PAIRS)
async def test_leaving_in_every_pair_of_protocols(
    tmp_path: Path, client: Protocol, provider: str
) -> None:
    async with open_served(tmp_path) as served:
        for count in (1, 2, 3, 5, 8, 13, 21, 34):
            await leave_pair_after(served, client, provider, count)
