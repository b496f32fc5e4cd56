"""A gateway that stops ends what is under way: settled, and said in the client's protocol."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from engine import Call, Exchange, Outcome
from engine.errors import ShutdownError
from engine.events import Protocol
from engine.ledger.receipts import Receipt
from tests.engine.test_push import open_client, push
from tests.gateways import Setup, charge, drain, open_setup, run, settled

ERROR_ENDINGS: dict[Protocol, bytes] = {
    "openai_chat": b'data: {"error":{"message":"The gateway is stopping."',
    "openai_responses": b"event: response.failed\n",
    "anthropic": b"event: error\n",
    "gemini": b'data: {"error":{"code":503,"message":"The gateway is stopping."',
}


@asynccontextmanager
async def running(setup: Setup, exchange: Exchange) -> AsyncIterator[list[bytes]]:
    """The exchange is read for the block, which begins when its client has some of the answer."""
    bodies: list[bytes] = [b""]

    async def read() -> None:
        async for chunk in exchange:
            bodies[0] += chunk

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await settled(lambda: len(bodies[0]) > 500)
        yield bodies


@pytest.mark.parametrize("provider", ["openai_chat", "anthropic"])
@pytest.mark.parametrize("client", ERROR_ENDINGS)
async def test_a_stream_gets_its_protocols_error_ending(
    tmp_path: Path, client: Protocol, provider: str
) -> None:
    async with open_setup(tmp_path) as setup:
        call = setup.call_of(client, provider, "tokens=100000 tokens_per_second=500")
        async with setup.gateway.open_exchange(call) as exchange:
            async with running(setup, exchange) as bodies:
                await setup.gateway.end_all()
                settled_by_then = exchange.receipt
            assert exchange.finished
        ending = bodies[0][bodies[0].rindex(ERROR_ENDINGS[client]) :]
        assert b"The gateway is stopping." in ending
        assert settled_by_then.outcome is Outcome.SHUTDOWN
        receipt = exchange.receipt
        assert receipt.error is not None
        assert receipt.error.code == "shutdown"
        assert receipt.provenance == "counted"
        billed = receipt.usage["output_tokens"]
        assert 0 < billed <= setup.truth(exchange).tokens_generated
        assert receipt.price_nanodollars == charge(receipt.usage["input_tokens"], billed)


async def refused(
    setup: Setup, call: Call, under_way: Callable[[], bool]
) -> tuple[ShutdownError, Receipt]:
    """What a call ends with whose head has not gone out when all is ended."""
    ended: list[tuple[ShutdownError, Receipt]] = []

    async def ask() -> None:
        _, receipt, error = await run(setup, call)
        assert isinstance(error, ShutdownError)
        ended.append((error, receipt))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await settled(under_way)
        await setup.gateway.end_all()
    return ended[0]


async def test_an_answer_in_one_piece_is_refused_and_free(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        call = setup.call("tokens=100000 tokens_per_second=50", stream=False)
        error, receipt = await refused(setup, call, lambda: bool(setup.sim.truth.records()))
        assert (error.status, error.code, error.retry_after_s) == (503, "shutdown", 1)
        assert receipt.outcome is Outcome.SHUTDOWN
        assert receipt.price_nanodollars == 0


async def test_a_provider_that_does_not_connect_is_not_waited_for(tmp_path: Path) -> None:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    accepted: list[trio.SocketStream] = []

    async def accept() -> None:
        accepted.append(await listener.accept())

    base_url = f"https://127.0.0.1:{listener.socket.getsockname()[1]}"
    async with listener, open_setup(tmp_path, base_url=base_url) as setup:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept)
            _, receipt = await refused(setup, setup.call(), lambda: bool(accepted))
        assert (receipt.outcome, receipt.cost_nanodollars) == (Outcome.SHUTDOWN, 0)
        await accepted[0].aclose()


async def test_a_count_that_its_provider_owes_is_refused(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        asked = trio.Event()

        async def hang(stream: trio.SocketStream) -> None:
            asked.set()
            await trio.sleep_forever()

        nursery.start_soon(trio.serve_listeners, hang, [listener])
        base_url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        async with open_setup(tmp_path, base_url=base_url) as setup:
            call = setup.call_of("anthropic", "anthropic", stream=False)
            call = dataclasses.replace(call, operation="count_tokens")

            async def count() -> None:
                with pytest.raises(ShutdownError):
                    await setup.gateway.count_tokens(call)

            async with trio.open_nursery() as counting:
                counting.start_soon(count)
                await asked.wait()
                await setup.gateway.end_all()
        nursery.cancel_scope.cancel()


async def test_a_call_that_is_not_parsed_yet_is_refused(tmp_path: Path) -> None:
    """A large body goes to another process; nothing is held for it yet."""
    async with open_setup(tmp_path) as setup:
        call = setup.call("x" * 1_000_000)

        async def ask() -> None:
            with pytest.raises(ShutdownError):
                async with setup.gateway.open_exchange(call):
                    raise AssertionError("it was admitted")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            await setup.gateway.end_all()
        assert await setup.gateway.ledger.read_receipt(setup.account_id, call.request_id) is None


async def test_a_client_that_does_not_read_is_settled_at_once(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup, open_client(buffer_bytes=4_096) as (sink, _client):
        call = setup.call("tokens=100000")
        async with setup.gateway.open_exchange(call) as exchange, trio.open_nursery() as nursery:
            nursery.start_soon(push, exchange, sink)
            await settled(lambda: sink.delivered_bytes > 0)
            await trio.testing.wait_all_tasks_blocked(0.05)
            await setup.gateway.end_all()
            receipt = exchange.receipt
            sink.abort()
        assert (receipt.outcome, receipt.state) == (Outcome.SHUTDOWN, "settled")
        assert receipt.delivered_output_tokens < receipt.received_output_tokens
        assert exchange.receipt.price_nanodollars == receipt.price_nanodollars > 0


async def test_an_answer_that_is_whole_stays_whole(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        async with setup.gateway.open_exchange(setup.call("tokens=5")) as exchange:
            await exchange.head()
            await settled(lambda: setup.truth(exchange).ended == "done")
            await trio.testing.wait_all_tasks_blocked(0.05)
            await setup.gateway.end_all()
            body = await drain(exchange)
        assert body.endswith(b"data: [DONE]\n\n")
        assert exchange.receipt.outcome is Outcome.COMPLETED


async def test_a_gateway_that_will_stop_is_not_ready_but_serves(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        setup.gateway.withdraw()
        assert setup.gateway.not_ready == "stopping"
        body, receipt, error = await run(setup, setup.call("tokens=5"))
        assert (error, receipt.outcome) == (None, Outcome.COMPLETED)
        assert body.endswith(b"data: [DONE]\n\n")
