"""`auto` over HTTP: which model answers, what is said of it, and what it saves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.fleet import Fleet, model, open_fleet, open_front
from tests.served import Served

MODELS = (
    model("weak", "sim0/weak")
    + model("middle", "sim0/middle", price={"input": 3, "output": 6})
    + model("strong", "sim1-anthropic/strong", price={"input": 10, "output": 20})
    + """
[auto]
name = "kr-auto"
reference = "strong"
models = [
    { name = "strong", strength = 3 },
    { name = "middle", strength = 2 },
    { name = "weak", strength = 1 },
]
"""
)
HARD = "Prove the theorem rigorously, and analyse where the proof fails."
MEDIUM = "Evaluate this offer."


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[tuple[Fleet, Served]]:
    async with open_fleet(tmp_path, 2, models=MODELS) as fleet, open_front(fleet) as served:
        yield fleet, served


def body(prompt: str, **more: Any) -> dict[str, Any]:
    content = f"#sim tokens=3\n{prompt}"
    return {"model": "kr-auto", "messages": [{"role": "user", "content": content}]} | more


SERVED = (
    ("Hello there.", "easy", "weak", "sim0"),
    (MEDIUM, "medium", "middle", "sim0"),
    (HARD, "hard", "strong", "sim1-anthropic"),
)
"""A prompt, how hard it looks, the model that suits it, and whose that is."""


async def test_each_request_goes_to_the_cheapest_that_suits_it(
    front: tuple[Fleet, Served],
) -> None:
    _, served = front
    async with served.http() as client:
        for prompt, level, served_by, provider in SERVED:
            answer = await client.post("/chat/completions", json=body(prompt))
            receipt = await served.receipt(answer.headers["x-request-id"])
            assert answer.json()["model"] == served_by
            assert answer.headers["x-model-used"] == served_by
            assert answer.headers["x-parshall-provider"] == provider
            assert "x-fallback-from" not in answer.headers
            assert (receipt["model"], receipt["model_used"]) == ("kr-auto", served_by)
            auto = receipt["route"]["auto"]
            assert (receipt["route"]["served"], auto["level"]) == (served_by, level)
            assert auto["reference"] == "strong"
            assert sum(int(each.rpartition("+")[2]) for each in auto["reasons"]) == auto["score"]


async def test_savings_are_what_the_reference_would_have_cost_more(
    front: tuple[Fleet, Served],
) -> None:
    _, served = front
    async with served.http() as client:
        answer = await client.post("/chat/completions", json=body("Hello there."))
        streamed = await client.post(
            "/chat/completions",
            json=body("Hello there.", stream=True, stream_options={"include_usage": True}),
        )
    usage = answer.json()["usage"]
    tokens = usage["prompt_tokens"], usage["completion_tokens"]
    saved = Decimal(tokens[0] * 9 + tokens[1] * 18) / 1_000_000
    assert Decimal(answer.headers["x-parshall-savings"]) == saved
    assert Decimal(str(usage["savings"])) == saved
    receipt = await served.receipt(answer.headers["x-request-id"])
    assert Decimal(receipt["savings"]["usd"]) == saved
    last = streamed.content.split(b"\n\n")[-3].removeprefix(b"data: ")
    assert Decimal(str(orjson.loads(last)["usage"]["savings"])) == saved
    assert "x-parshall-savings" not in streamed.headers


async def test_where_the_strong_model_fails_a_weaker_one_serves(
    front: tuple[Fleet, Served],
) -> None:
    fleet, served = front
    fleet.sims[1].behave(None, "status=500")
    async with served.http() as client:
        answer = await client.post("/chat/completions", json=body(HARD))
    assert (answer.status_code, answer.json()["model"]) == (200, "middle")
    assert answer.headers["x-fallback-from"] == "sim1-anthropic/strong"
    assert answer.headers["x-fallback-depth"] == "1"


async def test_it_is_listed_and_its_models_still_have_names_of_their_own(
    front: tuple[Fleet, Served],
) -> None:
    _, served = front
    async with served.http() as client:
        listed = (await client.get("/models")).json()["data"]
        shown = (await client.get("/models/kr-auto")).json()
        answer = await client.post("/chat/completions", json=body(HARD, model="weak"))
    assert {entry["id"] for entry in listed} == {"kr-auto", "weak", "middle", "strong"}
    assert shown["id"] == "kr-auto"
    assert answer.json()["model"] == "weak"
    assert "x-parshall-savings" not in answer.headers
    assert "savings" not in answer.json()["usage"]
