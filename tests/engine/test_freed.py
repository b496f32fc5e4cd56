"""An exchange that is over is freed at once: the collector of cyclic garbage has nothing to do."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import Exchange
from engine.attempt import Attempt
from engine.billing import ExchangeBilling
from engine.upstream.streams import UpstreamStream
from tests.engine.test_push import open_client, push, read_until
from tests.gateways import Setup, open_setup


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def left_behind() -> list[object]:
    kinds = (Exchange, Attempt, ExchangeBilling, UpstreamStream)
    return [each for each in gc.get_objects() if isinstance(each, kinds)]


async def pull(setup: Setup, *, stream: bool) -> None:
    call = setup.call("tokens=16", stream=stream)
    async with setup.gateway.open_exchange(call) as exchange:
        await exchange.head()
        async for _ in exchange:
            pass


@pytest.mark.parametrize("stream", [False, True])
async def test_one_whose_answer_was_pulled(tmp_path: Path, stream: bool) -> None:
    async with open_setup(tmp_path) as setup:
        await pull(setup, stream=stream)
        assert left_behind() == []


async def test_one_whose_stream_was_pushed(tmp_path: Path) -> None:
    async def ask() -> None:
        async with (
            open_client() as (sink, client),
            setup.gateway.open_exchange(setup.call("tokens=16")) as exchange,
        ):
            await push(exchange, sink)
            await read_until(client, b"data: [DONE]\n\n")

    async with open_setup(tmp_path) as setup:
        await ask()
        assert left_behind() == []


async def test_one_whose_client_left(tmp_path: Path) -> None:
    async def ask() -> None:
        call = setup.call("tokens=16 fault=stall cut_after=4")
        async with setup.gateway.open_exchange(call) as exchange:
            await exchange.head()
            await anext(exchange)

    async with open_setup(tmp_path) as setup:
        await ask()
        assert left_behind() == []
