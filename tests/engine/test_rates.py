"""What applies to an exchange of a model's rates: the tier of its context, how it was served."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.engine.upstream.peer import Request
from tests.gateways import chat_body, run
from tests.scripted import DONE, answering, event, open_scripted, usage, usage_only, word

MODEL = """
[models.rated]
deployments = [{ provider = "sim", model = "rated" }]
price = { input = 1, output = 2, cached_input = 0.1, web_searches = 10, requests = 5 }
[[prices]]
model = "rated"
above_input_tokens = 1000
input = 2
output = 3
[[prices]]
model = "rated"
service_tier = "priority"
input = 10
output = 20
[[prices]]
model = "rated"
service_tier = "flex"
input = 0.5
output = 1
"""
FEE = 5_000_000  # nanodollars a request: 5 dollars a thousand


async def billed(folder: Path, body: bytes, **changes: Any) -> Any:
    async with open_scripted(folder, answering(body), provider=MODEL) as setup:
        _, receipt, _ = await run(setup, setup.call(model="rated", **changes))
    return receipt


@pytest.mark.parametrize(
    ("input_tokens", "nanodollars"),
    [(1_000, 1_000 * 1_000 + 2_000), (1_001, 1_001 * 2_000 + 3_000)],
)
async def test_a_long_context_costs_what_it_costs_the_house(
    tmp_path: Path, input_tokens: int, nanodollars: int
) -> None:
    receipt = await billed(tmp_path, word(" word") + usage_only(input_tokens, 1) + DONE)
    assert receipt.price_nanodollars == nanodollars + FEE
    assert receipt.usage["requests"] == 1


@pytest.mark.parametrize(
    ("asked", "answered", "per_token", "tier"),
    [
        ({}, None, 2_000, None),
        ({"service_tier": "priority"}, "priority", 20_000, "priority"),
        ({"service_tier": "priority"}, "default", 2_000, "standard"),
        ({"service_tier": "auto"}, "flex", 1_000, "flex"),
        ({"service_tier": "flex"}, None, 1_000, "flex"),
        ({"service_tier": "unheard-of"}, None, 2_000, "unheard-of"),
    ],
)
async def test_an_answer_costs_as_it_was_served(
    tmp_path: Path, asked: dict[str, Any], answered: str | None, per_token: int, tier: str | None
) -> None:
    said: dict[str, Any] = {} if answered is None else {"service_tier": answered}
    body = word(" word", **said) * 10 + usage_only(0, 10) + DONE
    receipt = await billed(tmp_path, body, **asked)
    assert receipt.price_nanodollars == 10 * per_token + FEE
    assert receipt.service_tier == tier
    assert receipt.rates_picodollars["output_tokens"] == per_token * 1_000
    assert receipt.cost_rates_picodollars["output_tokens"] == 2_000_000


async def test_the_dearer_of_asked_and_standard_is_held(tmp_path: Path) -> None:
    held = []

    def script(request: Request) -> None:
        held.append(setup.gateway.ledger.statistics().held_nanodollars)
        request.answer(word(" word") + usage_only(1, 1) + DONE, ended=True)

    async with open_scripted(tmp_path, script, provider=MODEL) as setup:
        for tier, per_token in (("priority", 10_000), ("flex", 1_000)):
            changes: dict[str, Any] = {"model": "rated", "service_tier": tier, "max_tokens": 100}
            await run(setup, setup.call(**changes))
            bound = len(chat_body(**changes)) * per_token + 100 * 2 * per_token
            assert held.pop() == bound + FEE


async def test_searches_are_charged_apiece(tmp_path: Path) -> None:
    searched = {**usage(10, 1), "num_search_queries": 3}
    body = word(" word") + event(id="c1", choices=[], usage=searched) + DONE
    receipt = await billed(tmp_path, body)
    assert receipt.price_nanodollars == 10 * 1_000 + 2_000 + 3 * 10_000_000 + FEE
    assert receipt.usage["web_searches"] == 3
    again = type(receipt).from_json(receipt.to_json())
    assert again.rates_picodollars["web_searches"] == 10**10
