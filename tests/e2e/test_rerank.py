"""Rerank in the shapes of Cohere and Jina, over real sockets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import recordings
from tests.costs import without_cost
from tests.e2e.sdks import one_truth
from tests.served import open_served

JINA = "jina-reranker-v2-base-multilingual"
MODELS = """
[models."rerank-v3.5"]
deployments = [{ provider = "sim", model = "rerank-v3.5" }]
price = { requests = 2 }
[models.jina-reranker-v2-base-multilingual]
deployments = [{ provider = "sim", model = "jina-reranker-v2-base-multilingual" }]
price = { input = 1, output = 0 }
"""
SEARCH_NANODOLLARS = 2_000_000


def asked(model: str, documents: list[Any], query: str = "long rivers") -> dict[str, Any]:
    return {"model": model, "query": query, "documents": documents, "top_n": 2}


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize(("documents", "searches"), [(["Rivers.", "Lakes."], 1), (["a"] * 250, 3)])
async def test_coheres_is_billed_by_searches(
    tmp_path: Path, version: str, documents: list[str], searches: int
) -> None:
    async with open_served(tmp_path, models=MODELS) as served, served.http() as client:
        url = f"{served.origin}/{version}/rerank"
        answer = await client.post(url, json=asked("rerank-v3.5", documents))
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["results"]) == 2
        assert answer.json()["meta"]["billed_units"]["search_units"] == searches
        receipt = await served.receipt(answer.headers["x-request-id"])
        assert (receipt["operation"], receipt["outcome"]) == ("rerank", "completed")
        assert receipt["usage"]["requests"] == one_truth(served).consumed["searches"] == searches
        assert receipt["usage_provenance"] == {"requests": "reported"}
        assert receipt["price"]["nanodollars"] == searches * SEARCH_NANODOLLARS


async def test_jinas_is_billed_by_tokens(tmp_path: Path) -> None:
    async with open_served(tmp_path, models=MODELS) as served, served.http() as client:
        documents = [{"text": "Rivers are long."}, "Lakes are deep."]
        answer = await client.post("/rerank", json=asked(JINA, documents))
        assert answer.json()["usage"]["total_tokens"] == one_truth(served).input_tokens
        assert "credits" in answer.json()["usage"]
        receipt = await served.receipt(answer.headers["x-request-id"])
        assert receipt["usage"]["input_tokens"] == one_truth(served).input_tokens
        assert receipt["price"]["nanodollars"] == one_truth(served).input_tokens * 1_000


async def test_what_is_refused(tmp_path: Path) -> None:
    async with open_served(tmp_path, models=MODELS) as served, served.http() as client:
        for body, words in (
            (asked("rerank-v3.5", []), "'documents' must be"),
            (asked("rerank-v3.5", ["a"], ""), "'query' must be"),
            (asked("sim-anthropic", ["a"]), "does 'rerank'"),
        ):
            answer = await client.post("/rerank", json=body)
            assert answer.status_code == 400
            assert words in answer.json()["error"]["message"]
        assert not served.setup.sim.truth.records()


@pytest.mark.parametrize("name", recordings.names("cohere-rerank"))
async def test_recorded_answers(tmp_path: Path, name: str) -> None:
    query = f"#sim recording={name}\nWho won?"
    async with open_served(tmp_path, models=MODELS) as served, served.http() as client:
        answer = await client.post("/rerank", json=asked("rerank-v3.5", ["a", "b"], query))
        assert without_cost(answer.content) == recordings.load(name).body
        receipt = await served.receipt(answer.headers["x-request-id"])
        assert receipt["price"]["nanodollars"] == SEARCH_NANODOLLARS
