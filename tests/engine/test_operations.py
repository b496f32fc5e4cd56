"""What operators do to what runs, without HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from engine import Exchange
from engine.admission.switches import SwitchKind
from engine.errors import NotFoundError
from engine.events import Outcome
from tests.fleet import model, open_fleet
from tests.gateways import Setup, open_setup, settled

SLOW = "tokens=5000 tokens_per_second=100"


@asynccontextmanager
async def under_way(setup: Setup, *models: str) -> AsyncIterator[list[Exchange]]:
    """Streams that have begun, of models by their protocols."""
    async with AsyncExitStack() as stack:
        exchanges = []
        for model in models:
            call = setup.call_of("openai_chat", model, SLOW)
            exchange = await stack.enter_async_context(setup.gateway.open_exchange(call))
            await exchange.head()
            exchanges.append(exchange)
        yield exchanges


async def test_what_is_under_way_comes_page_by_page(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        running = setup.gateway.running
        async with under_way(setup, *["openai_chat"] * 3) as exchanges:
            newest = sorted((each.receipt.request_id for each in exchanges), reverse=True)
            page = running.exchanges(account_id=None, limit=2, cursor=None)
            assert [each["request_id"] for each in page.receipts] == newest[:2]
            last = running.exchanges(account_id=setup.account_id, limit=2, cursor=page.cursor)
            assert [each["request_id"] for each in last.receipts] == newest[2:]
            assert last.cursor is None
            assert running.exchanges(account_id="acct_other", limit=2, cursor=None).receipts == ()
            assert running.account_of(newest[0]) == setup.account_id
        assert running.account_of(newest[0]) is None
        with pytest.raises(NotFoundError):
            running.exchange(newest[0])


OF: list[tuple[SwitchKind, str, list[bool]]] = [
    ("provider", "sim", [True, False]),
    ("provider", "sim-anthropic", [False, False]),
    ("model", "sim-gemini", [False, True]),
    ("deployment", "sim-gemini/sim-gemini", [False, True]),
    ("deployment", "sim/sim-gemini", [False, False]),
    ("key", "KEY", [True, True]),
    ("account", "ACCOUNT", [True, True]),
    ("account", "KEY", [False, False]),
]
"""Kind and name, and whether the first of two and the second is of it."""


async def test_what_is_ended_is_of_it(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        running = setup.gateway.running
        key_id = setup.gateway.authenticate(setup.key).key_id
        for kind, subject, ended in OF:
            name = subject.replace("KEY", key_id).replace("ACCOUNT", setup.account_id)
            async with under_way(setup, "openai_chat", "gemini") as exchanges:
                assert await running.end_all_of(kind, name) == sum(ended)
                flags = ["ended_by_operator" in each.receipt.flags for each in exchanges]
                assert flags == ended, (kind, subject)
                assert await running.end_all_of(kind, name) == 0


async def test_what_a_provider_is_read_on_for_is_ended_too(tmp_path: Path) -> None:
    async with open_setup(tmp_path, provider='on_cancel = "drain"') as setup:
        running = setup.gateway.running
        async with under_way(setup, "openai_chat") as [exchange]:
            pass
        request_id = exchange.receipt.request_id
        assert running.status()["draining"] == 1
        running.end(running.exchange(request_id))
        receipt = await running.ended(exchange)
        assert (receipt["outcome"], receipt["state"]) == (str(Outcome.SHUTDOWN), "settled")
        assert receipt["price"]["nanodollars"] > 0
        await settled(lambda: running.status()["draining"] == 0)


async def test_what_the_configuration_has(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        knows = setup.gateway.running.knows
        assert knows("provider", "sim")
        assert knows("model", "sim-openai")
        assert knows("deployment", "sim-responses/sim-openai")
        assert not knows("provider", "sim-openai")
        assert not knows("model", "sim")
        assert not knows("deployment", "sim")
        status = setup.gateway.running.status()
        assert (status["ready"], status["problem"]) == (True, None)
        assert (status["models"], status["providers"], status["keys"]) == (4, 4, 1)


async def test_what_another_one_serves_is_of_that_one(tmp_path: Path) -> None:
    """A model's only provider fails, and another model stands in."""
    models = model("own", "sim0", fallbacks=["other"]) + model("other", "sim1")
    cases: list[tuple[SwitchKind, str, int]] = [
        ("provider", "sim0", 0),
        ("deployment", "sim0/sim-openai", 0),
        ("provider", "sim1", 1),
        ("deployment", "sim1/sim-openai", 1),
        ("model", "own", 1),
        ("model", "other", 1),
    ]
    async with open_fleet(tmp_path, 2, models=models) as fleet:
        running = fleet.setup.gateway.running
        fleet.sims[0].behave(None, "status=500")
        for kind, subject, ended in cases:
            async with fleet.setup.gateway.open_exchange(fleet.call("own", SLOW)) as exchange:
                await exchange.head()
                assert await running.end_all_of(kind, subject) == ended, subject
                assert exchange.receipt.provider == "sim1"
