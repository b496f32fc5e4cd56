"""One whole exchange, from hold to settlement, cancelled at every checkpoint."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trio
import trio.testing

from engine import Call, Exchange, Gateway, Outcome, Provenance
from engine.admission.limits import LocalLimiter, Slots
from engine.events import Protocol
from engine.ledger.receipts import Receipt
from tests.gateways import PROTOCOLS, Setup, assert_invariants, charge, drain, open_setup, settled
from tests.sinks import SocketSink

from .cancel_everywhere import CancelPoint, Whose, cancel_everywhere
from .quiet import count

SEED = 20_261_121
TOKENS = 12
PACE = "head_ms=5 first_token_ms=15 tokens_per_second=1000"
FUNDS = 10**15
LIMITS = {"requests_per_min": 10**6, "tokens_per_min": 10**9, "concurrent_streams": 2}

Way = Callable[[Gateway, Call, list[Exchange]], Awaitable[None]]


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


def assert_fair(
    setup: Setup, receipt: Receipt, point: CancelPoint, *, stream: bool, on_cancel: str = "stop"
) -> None:
    """What was billed is what the outcome, the policy and the provider's own log say."""
    truth = setup.sim.truth.record(receipt.request_id)
    billed = receipt.usage["output_tokens"]
    assert receipt.outcome in (Outcome.COMPLETED, Outcome.CLIENT_LEFT), point
    assert receipt.state == "settled", point
    if truth is None:
        assert receipt.price_nanodollars == 0, point
        return
    left = receipt.outcome is Outcome.CLIENT_LEFT
    read_to_its_end = left and on_cancel == "drain" and truth.ended == "done"
    if read_to_its_end:  # before the client left, or after it
        assert receipt.provenance in (Provenance.REPORTED, Provenance.DRAINED), point
    if read_to_its_end or not left:
        assert billed == TOKENS == truth.tokens_generated, point
    if left and (on_cancel == "waive" or not stream):
        assert receipt.price_nanodollars == 0, point
        return
    assert receipt.delivered_output_tokens <= receipt.received_output_tokens, point
    assert billed <= truth.tokens_generated, point
    input_tokens = receipt.usage["input_tokens"]
    assert input_tokens <= truth.input_tokens, point
    if receipt.price_nanodollars:
        assert receipt.price_nanodollars == charge(input_tokens, billed), point


@dataclass
class LimitsKept:
    """Of the key of a test, by a clock that stands still: what is left is exact."""

    setup: Setup
    used_tokens: int = 0

    async def begin(self) -> None:
        """Let the key have limits from now on."""
        ledger = self.setup.gateway.ledger
        for row in await ledger.keys(self.setup.account_id):
            await ledger.set_key_terms(row.key_id, lambda terms: replace(terms, limits=LIMITS))
        self.setup.gateway._parts.limiter = LocalLimiter(clock_us=lambda: 0)

    def check(self, receipt: Receipt | None, what: object = "") -> None:
        """Nothing is taken any more but what has been used, with this exchange's."""
        if receipt is not None:
            self.used_tokens += receipt.usage["input_tokens"] + receipt.usage["output_tokens"]
        gateway = self.setup.gateway
        left = gateway.limit_status(gateway.identify(self.setup.key, "inference"))
        assert left.streams == Slots(LIMITS["concurrent_streams"], 0), what
        assert left.tokens is not None
        assert left.tokens.remaining == LIMITS["tokens_per_min"] - self.used_tokens, what


async def cancelled_everywhere(
    setup: Setup,
    way: Way,
    new_call: Callable[[], Call],
    *,
    stream: bool,
    on_cancel: str = "stop",
    whose: Whose = "any",
) -> int:
    """Cancel an exchange at each of its steps; how many there were. All is quiet after each."""
    seen: list[Exchange] = []
    spent = 0
    limits = LimitsKept(setup)
    await limits.begin()

    async def scenario() -> None:
        await way(setup.gateway, new_call(), seen)

    await scenario()
    await settled(lambda: setup.sim.truth.records()[-1].ended is not None)
    await trio.testing.wait_all_tasks_blocked(0.01)
    limits.check(seen[-1].receipt)
    spent += seen.pop().receipt.price_nanodollars
    baseline = count()

    async def check(point: CancelPoint) -> None:
        nonlocal spent
        await settled(lambda: all(r.ended for r in setup.sim.truth.records()))
        await settled(lambda: setup.gateway.statistics()["open_drains"] == 0)
        await baseline.wait_restored(point)
        pool = setup.gateway._parts.pool.statistics()
        assert [(o.open_streams, o.waiting) for o in pool.origins] == [(0, 0)], point
        assert setup.gateway.ledger.statistics().open_holds == 0, point
        for exchange in seen:
            assert_fair(setup, exchange.receipt, point, stream=stream, on_cancel=on_cancel)
            spent += exchange.receipt.price_nanodollars
        limits.check(seen[-1].receipt if seen else None, point)
        seen.clear()

    points = await cancel_everywhere(scenario, check, seed=SEED, whose=whose)
    assert await setup.balance() == FUNDS - spent
    await assert_invariants(setup.gateway)
    return points


@pytest.mark.parametrize(
    ("way", "stream"),
    [(pull, True), (push, True), (pull, False)],
    ids=["a stream, pulled", "a stream, pushed", "in one piece"],
)
async def test_an_exchange(
    tmp_path: Path,
    way: Way,
    stream: bool,
    say: Callable[[str], None],
    request: pytest.FixtureRequest,
) -> None:
    """Between the steps of any task."""
    async with open_setup(tmp_path, funds_nanodollars=FUNDS) as setup:
        points = await cancelled_everywhere(
            setup, way, lambda: setup.call(f"tokens={TOKENS} {PACE}", stream=stream), stream=stream
        )
        say(f"{request.node.callspec.id}: {points} cancel points, seed {SEED}")
        assert points > (25 if stream else 10)


POLICIES = ("stop", "drain", "waive")
CASES = [
    (protocol, policy, stream)
    for stream in (True, False)
    for protocol in PROTOCOLS
    for policy in POLICIES
]


@pytest.mark.parametrize(("protocol", "on_cancel", "stream"), CASES)
async def test_each_protocol_and_policy(
    tmp_path: Path,
    protocol: Protocol,
    on_cancel: str,
    stream: bool,
    say: Callable[[str], None],
    pytestconfig: pytest.Config,
) -> None:
    """At its own steps; between those of any task with `--long`."""
    whose: Whose = "any" if pytestconfig.getoption("--long") else "own"
    provider = f'on_cancel = "{on_cancel}"'
    async with open_setup(tmp_path, funds_nanodollars=FUNDS, provider=provider) as setup:
        points = await cancelled_everywhere(
            setup,
            push if stream else pull,
            lambda: setup.call_of(protocol, protocol, f"tokens={TOKENS} {PACE}", stream=stream),
            stream=stream,
            on_cancel=on_cancel,
            whose=whose,
        )
        kind = "a stream" if stream else "one piece"
        say(f"{protocol}, {kind}, {on_cancel}: {points} cancel points, seed {SEED}")
        # Of one piece: the journal may be done before anybody waits for it.
        assert points >= (8 if stream else 1)
