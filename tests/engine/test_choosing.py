"""The plan of one call: by whose key, of which models, at which price."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from engine.admitting import Choice
from engine.errors import ModelNotAllowedError, ModelNotFoundError, ModelUnavailableError
from engine.routing.values import Asked
from tests.gateways import Setup, add_key, open_setup

MODELS = """
[models.large]
aliases = ["best"]
fallbacks = ["small"]
deployments = [
  { provider = "sim", model = "l" },
  { provider = "sim-anthropic", model = "l", priority = 1 },
]
price = { input = 10, output = 20 }
[models.small]
deployments = [{ provider = "sim", model = "s" }]
price = { input = 1, output = 2 }
[plans.all.prices.small]
input = 7
output = 7
[plans.some]
models = ["large", "auto"]
[auto]
models = [{ name = "small", strength = 1 }, { name = "large", strength = 3 }]
"""


@asynccontextmanager
async def on_plan(folder: Path, plan: str | None) -> AsyncIterator[Setup]:
    """A gateway whose account is on a plan."""
    async with open_setup(folder, models=MODELS, routing="") as setup:
        if plan is not None:
            await setup.gateway.ledger.set_account_plan(setup.account_id, plan)
        yield setup


def choice(setup: Setup, key: str | None = None) -> Choice:
    gateway = setup.gateway
    return Choice(gateway._parts, gateway.identify(key or setup.key, "inference"))


def planned(setup: Setup, name: str, key: str | None = None) -> list[tuple[str, str, int]]:
    """Each candidate's model, deployment, and price of an input token."""
    found = choice(setup, key)(Asked(name))
    return [
        (each.model.name, each.deployment.path, each.model.price.input // 1_000_000)
        for each in found.candidates
    ]


async def test_a_plan_has_all_that_may_serve_at_the_price_of_who_asks(tmp_path: Path) -> None:
    expected = [("large", "sim/l", 10), ("large", "sim-anthropic/l", 10), ("small", "sim/s", 7)]
    async with on_plan(tmp_path, "all") as setup:
        assert planned(setup, "large") == expected
        assert planned(setup, "best") == expected, "an alias is the model itself"
        choose = choice(setup)
        first = choose(Asked("large"))
        setup.gateway._parts.switches.turn("model", "large", off=True)
        assert choose(Asked("large")) is first is choose.plan, "a call has one plan"
        assert planned(setup, "large") == expected[2:]
        setup.gateway._parts.switches.turn("provider", "sim", off=True)
        with pytest.raises(ModelUnavailableError):
            planned(setup, "large")


async def test_fallbacks_and_choices_are_of_what_who_asks_may_use(tmp_path: Path) -> None:
    async with on_plan(tmp_path, "some") as setup:
        _, narrow = await add_key(setup.gateway, setup.account_id, models=("auto",))
        assert [name for name, _, _ in planned(setup, "best")] == ["large", "large"]
        assert {name for name, _, _ in planned(setup, "auto")} == {"large"}
        with pytest.raises(ModelNotFoundError):
            planned(setup, "small")
        for name in ("large", "best"):
            with pytest.raises(ModelNotAllowedError, match=f"'{name}'"):
                planned(setup, name, narrow)
        with pytest.raises(ModelNotFoundError):
            planned(setup, "nobody", narrow)


async def test_models_are_listed_with_their_aliases_for_who_may_use_them(tmp_path: Path) -> None:
    async with on_plan(tmp_path, "some") as setup:
        gateway = setup.gateway
        found = gateway.models(gateway.identify(setup.key, None))
        assert [(model.id, model.name) for model in found] == [
            ("large", "large"),
            ("best", "large"),
            ("auto", "auto"),
        ]
        large, best, auto = found
        assert (best.root, best.owned_by, best.created) == ("l", "sim", large.created)
        assert (auto.root, auto.owned_by) == ("auto", "parshall")
        assert auto.price == large.price, "no more than that"
