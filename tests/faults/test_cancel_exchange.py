"""One whole exchange, from hold to settlement, cancelled at every checkpoint."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
import trio.testing

from engine import Call, Exchange, Gateway, Outcome
from engine.ledger.receipts import Receipt
from tests.gateways import Setup, assert_invariants, charge, drain, open_setup, settled
from tests.sinks import SocketSink

from .cancel_everywhere import CancelPoint, cancel_everywhere
from .quiet import count

SEED = 20_261_121
TOKENS = 12
PACE = "head_ms=5 first_token_ms=15 tokens_per_second=1000"
FUNDS = 10**15


async def pull(gateway: Gateway, call: Call, seen: list[Exchange]) -> None:
    """As an embedder does: chunk by chunk."""
    async with gateway.open_exchange(call) as exchange:
        seen.append(exchange)
        await drain(exchange)


async def push(gateway: Gateway, call: Call, seen: list[Exchange]) -> None:
    """As the server does: into a client's socket."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        client = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
        async with client, await listener.accept() as server, trio.open_nursery() as nursery:
            sink = SocketSink(server)
            nursery.start_soon(sink.flush)
            async with gateway.open_exchange(call) as exchange:
                seen.append(exchange)
                await exchange.head()
                sink.uncork(b"")
                await exchange.relay_to(sink)
            nursery.cancel_scope.cancel()


def assert_fair(setup: Setup, receipt: Receipt, point: CancelPoint, *, stream: bool) -> None:
    """What was billed is what the outcome and the provider's own log say."""
    truth = setup.sim.truth.record(receipt.request_id)
    billed = receipt.usage["output_tokens"]
    assert receipt.outcome in (Outcome.COMPLETED, Outcome.CLIENT_LEFT), point
    if truth is None:
        assert receipt.price_nanodollars == 0, point
        return
    if receipt.outcome is Outcome.COMPLETED:
        assert billed == TOKENS, point
    elif not stream:
        assert receipt.price_nanodollars == 0, point
        return
    assert receipt.delivered_output_tokens <= receipt.received_output_tokens, point
    assert billed <= truth.tokens_generated, point
    if receipt.price_nanodollars:
        assert receipt.price_nanodollars == charge(truth.input_tokens, billed), point


@pytest.mark.parametrize(
    ("way", "stream"),
    [(pull, True), (push, True), (pull, False)],
    ids=["a stream, pulled", "a stream, pushed", "in one piece"],
)
async def test_an_exchange(
    tmp_path: Path,
    way: Callable[[Gateway, Call, list[Exchange]], Awaitable[None]],
    stream: bool,
    say: Callable[[str], None],
    request: pytest.FixtureRequest,
) -> None:
    async with open_setup(tmp_path, funds_nanodollars=FUNDS) as setup:
        seen: list[Exchange] = []
        spent = 0

        async def scenario() -> None:
            call = setup.call(f"tokens={TOKENS} {PACE}", stream=stream)
            await way(setup.gateway, call, seen)

        await scenario()
        await settled(lambda: setup.sim.truth.records()[-1].ended is not None)
        await trio.testing.wait_all_tasks_blocked(0.01)
        spent += seen.pop().receipt.price_nanodollars
        baseline = count()

        async def check(point: CancelPoint) -> None:
            nonlocal spent
            await settled(lambda: all(r.ended for r in setup.sim.truth.records()))
            await baseline.wait_restored(point)
            pool = setup.gateway._parts.pool.statistics()
            assert [(o.open_streams, o.waiting) for o in pool.origins] == [(0, 0)], point
            assert setup.gateway.ledger.statistics().open_holds == 0, point
            for exchange in seen:
                assert_fair(setup, exchange.receipt, point, stream=stream)
                spent += exchange.receipt.price_nanodollars
            seen.clear()

        points = await cancel_everywhere(scenario, check, seed=SEED)
        say(f"{request.node.callspec.id}: {points} cancel points, seed {SEED}")
        assert points > (25 if stream else 10)
        assert await setup.balance() == FUNDS - spent
        await assert_invariants(setup.gateway)
