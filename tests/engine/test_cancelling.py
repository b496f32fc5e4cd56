"""Streams ended by their receipts while something else goes wrong with them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import trio

from engine import Outcome
from engine.errors import UnavailableError
from tests.gateways import Setup, drain, open_setup, run, settled


async def cancel(setup: Setup, request_id: str) -> dict[str, Any]:
    return await setup.gateway.cancel(setup.gateway.authenticate(setup.key), request_id)


async def test_before_it_was_sent_it_never_is(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        async with setup.gateway.open_exchange(setup.call("tokens=20")) as exchange:
            exchange.cancel()
            exchange.cancel()
            body = await drain(exchange)
        assert body.endswith(b"data: [DONE]\n\n")
        assert exchange.receipt.flags == ("cancelled",)
        assert exchange.receipt.price_nanodollars == exchange.receipt.cost_nanodollars == 0
        assert list(setup.sim.truth.records()) == []


async def test_while_the_provider_is_connected_to_in_vain(tmp_path: Path) -> None:
    """Its client gets a valid ending, not the failure that came after it."""
    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        accepted: list[trio.SocketStream] = []

        async def accept() -> None:
            accepted.append(await listener.accept())

        nursery.start_soon(accept)
        base_url = f"https://127.0.0.1:{listener.socket.getsockname()[1]}"
        async with open_setup(tmp_path, base_url=base_url) as setup:
            call = setup.call()
            bodies: list[bytes] = []

            async def ask() -> None:
                async with setup.gateway.open_exchange(call) as exchange:
                    bodies.append(await drain(exchange))
                assert exchange.receipt.outcome is Outcome.CLIENT_LEFT
                assert exchange.receipt.flags == ("cancelled",)

            async with trio.open_nursery() as asking:
                asking.start_soon(ask)
                await settled(lambda: bool(accepted))
                ended = await cancel(setup, call.request_id)
                assert (ended["state"], ended["price"]["nanodollars"]) == ("settled", 0)
                await accepted[0].aclose()
            assert bodies[0].endswith(b"data: [DONE]\n\n")
        await listener.aclose()


async def test_while_the_hold_does_not_become_durable(tmp_path: Path) -> None:
    """It is settled once; its client is told that it cannot be served."""
    async with open_setup(tmp_path, storage="barrier_timeout_s = 1.5") as setup:
        call = setup.call("tokens=100000 tokens_per_second=2000")
        errors: list[object] = []

        async def ask() -> None:
            errors.append((await run(setup, call))[2])

        with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask)
                await settled(lambda: any(t.tokens_written for t in setup.sim.truth.records()))
                ended = await cancel(setup, call.request_id)
            other.execute("ROLLBACK")
        assert (ended["outcome"], ended["flags"]) == ("client_left", ["cancelled"])
        assert isinstance(errors[0], UnavailableError)
        receipt = await setup.gateway.receipt(
            setup.gateway.authenticate(setup.key), call.request_id
        )
        assert receipt["price"] == ended["price"]
