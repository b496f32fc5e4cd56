"""Rerank of the simulated provider: the shapes of Cohere and Jina, and what each reports."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from bench.simulate import Simulator, SimulatorSettings, open_simulator
from tests.bench.raw import Received, converse, post

DOCUMENTS = ["Lakes are deep.", "Rivers of the north are long.", {"text": "Hills and rivers."}]
COHERE = {"model": "rerank-v3.5", "query": "long rivers of the north", "documents": DOCUMENTS}
JINA = COHERE | {"model": "jina-reranker-v2-base-multilingual"}


async def asked(body: dict[str, Any], path: str = "/v1/rerank") -> tuple[Received, Simulator]:
    async with open_simulator(SimulatorSettings()) as simulator:
        data = post(body, path=path, more="connection: close\r\n")
        received = await converse(simulator.port, data)
        assert simulator.statistics().crashes == 0
        return received, simulator


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank"])
async def test_cohere_reports_searches(path: str) -> None:
    received, simulator = await asked(COHERE | {"top_n": 2}, path)
    answer = orjson.loads(received.body)
    best, second = answer["results"]
    assert best["index"] == 1
    assert best["relevance_score"] > second["relevance_score"]
    assert "document" not in best
    assert answer["meta"]["billed_units"] == {"search_units": 1}
    [record] = simulator.truth.records()
    assert (record.api, record.completion_id) == ("openai-rerank", answer["id"])
    assert record.consumed["searches"] == 1
    assert record.usage_reported == {"search_units": 1}


async def test_jina_reports_tokens() -> None:
    received, simulator = await asked(JINA)
    answer = orjson.loads(received.body)
    assert answer["results"][0]["document"]["text"] == DOCUMENTS[1]
    [record] = simulator.truth.records()
    assert answer["usage"] == record.usage_reported == {"total_tokens": record.input_tokens}


async def test_every_hundred_documents_are_a_search_and_long_ones_are_several() -> None:
    _, many = await asked(COHERE | {"documents": ["a"] * 101})
    assert many.truth.records()[0].consumed["searches"] == 2
    _, long = await asked(COHERE | {"documents": ["north " * 600] * 60})
    assert long.truth.records()[0].consumed["searches"] == 2


async def test_told_to_report_in_another_unit_or_not_at_all() -> None:
    received, _ = await asked(COHERE | {"query": "#sim metered=tokens\nrivers"})
    assert "total_tokens" in orjson.loads(received.body)["usage"]
    received, _ = await asked(COHERE | {"query": "#sim usage=none\nrivers"})
    assert "billed_units" not in orjson.loads(received.body)["meta"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (COHERE | {"query": ""}, "query is required"),
        (COHERE | {"documents": []}, "documents is required"),
        (COHERE | {"documents": [5]}, "documents[0] must be a string"),
        (COHERE | {"top_n": 0}, "Invalid 'top_n'"),
        (COHERE | {"limit": 5}, "unknown field limit"),
    ],
)
async def test_refuses_in_the_shape_of_each(body: dict[str, Any], says: str) -> None:
    received, _ = await asked(body)
    assert received.status in (400, 422)
    assert says in orjson.loads(received.body)["message"]
    received, _ = await asked(body | {"model": JINA["model"]})
    assert says in orjson.loads(received.body)["detail"]
