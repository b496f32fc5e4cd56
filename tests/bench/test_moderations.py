"""Moderations of the simulated provider: by OpenAI's SDK, and what it refuses."""

from __future__ import annotations

from typing import Any

import openai
import orjson
import pytest
from openai.types import ModerationMultiModalInputParam

from bench.simulate import SimulatorSettings, open_simulator
from bench.simulate.moderations import CATEGORIES
from tests.bench.raw import Received, converse, post
from tests.bench.test_sdk import with_sdk


async def asked(body: dict[str, Any]) -> Received:
    async with open_simulator(SimulatorSettings()) as simulator:
        data = post(body, path="/v1/moderations", more="connection: close\r\n")
        received = await converse(simulator.port, data)
        assert simulator.statistics().crashes == 0
        return received


async def test_each_text_has_a_result() -> None:
    def work(client: openai.OpenAI) -> openai.types.ModerationCreateResponse:
        return client.moderations.create(input=["I like rivers.", "#sim flagged=violence\nI hit"])

    answer, simulator = await with_sdk(work)
    assert answer.model == "omni-moderation-latest"
    assert [result.flagged for result in answer.results] == [True, True]
    assert answer.results[0].categories.violence
    assert not answer.results[0].categories.hate
    scores = [result.category_scores for result in answer.results]
    assert scores[0] != scores[1]
    [record] = simulator.truth.records()
    assert record.api == "openai-moderations"
    assert record.consumed == {"input_tokens": 13}
    assert record.usage_reported is None
    assert record.ended == "done"


async def test_parts_are_judged_together() -> None:
    parts: list[ModerationMultiModalInputParam] = [
        {"type": "text", "text": "Look at this."},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    ]

    def work(client: openai.OpenAI) -> openai.types.ModerationCreateResponse:
        return client.moderations.create(input=parts)

    answer, _ = await with_sdk(work)
    [result] = answer.results
    assert not result.flagged
    assert result.category_applied_input_types.violence == ["text", "image"]
    assert result.category_applied_input_types.hate == ["text"]


async def test_an_older_model_knows_fewer_categories() -> None:
    received = await asked({"model": "text-moderation-latest", "input": "Have a great day!"})
    [result] = orjson.loads(received.body)["results"]
    assert set(CATEGORIES) - set(result["categories"]) == {"illicit", "illicit/violent"}
    assert set(result) == {"flagged", "categories", "category_scores"}


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({}, "input", "missing_required_parameter"),
        ({"input": 5}, "input", "invalid_type"),
        ({"input": []}, "input", "empty_array"),
        ({"input": "a", "stream": True}, "stream", "unknown_parameter"),
        ({"input": ["a", 5]}, "input[0]", "invalid_type"),
        ({"input": [{"type": "sound"}]}, "input[0].type", "invalid_value"),
        ({"input": [{"type": "image_url"}]}, "input[0].image_url", "invalid_type"),
        ({"input": "#sim flagged=rain\n"}, "messages", "invalid_directive"),
    ],
)
async def test_refuses(body: dict[str, Any], param: str, code: str) -> None:
    received = await asked(body)
    assert received.status == 400
    error = orjson.loads(received.body)["error"]
    assert (error["param"], error["code"]) == (param, code)


@pytest.mark.parametrize(
    ("fault", "kind", "begins"),
    [("html", b"text/html", b"<!DOCTYPE html>"), ("error_ok", b"application/json", b"{")],
)
async def test_something_else_comes_with_the_status_of_an_answer(
    fault: str, kind: bytes, begins: bytes
) -> None:
    received = await asked({"input": f"#sim fault={fault}\nHello."})
    assert received.status == 200
    assert b"content-type: " + kind in received.head
    assert received.body.startswith(begins)
    assert b"results" not in received.body


async def test_an_answer_of_any_size() -> None:
    received = await asked({"input": "#sim answer_bytes=100000\nHello."})
    assert len(received.body) == 100_000
    assert len(orjson.loads(received.body)["results"]) == 1
