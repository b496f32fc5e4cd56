"""Embeddings of the simulated provider: by the SDKs of OpenAI and Google, and what it refuses."""

from __future__ import annotations

import math
from typing import Any

import openai
import orjson
import pytest
from google import genai
from google.genai import types
from openai.types import CreateEmbeddingResponse

from bench.simulate import Simulator, SimulatorSettings, open_simulator
from bench.simulate.embeddings import INPUTS_MAX
from bench.simulate.gemini_embeddings import REQUESTS_MAX
from tests.bench.raw import Received, converse, post
from tests.bench.test_sdk import with_sdk
from tests.bench.test_sdk_gemini import with_sdk as with_google

SMALL = "text-embedding-3-small"
PATH = "/v1beta/models/gemini-embedding-001"


async def asked(body: dict[str, Any], path: str = "/v1/embeddings") -> tuple[Received, Simulator]:
    async with open_simulator(SimulatorSettings()) as simulator:
        data = post(body, path=path, more="connection: close\r\n")
        received = await converse(simulator.port, data)
        assert simulator.statistics().crashes == 0
        return received, simulator


async def test_packed_and_plain_vectors_are_the_same_and_of_length_one() -> None:
    def work(client: openai.OpenAI) -> list[CreateEmbeddingResponse]:
        texts = ["Rivers are long.", "Lakes are deep."]
        create = client.embeddings.create
        return [
            create(model=SMALL, input=texts),  # the SDK asks for base64
            create(model=SMALL, input=texts, encoding_format="float"),
            create(model=SMALL, input=texts[1], dimensions=8),
        ]

    (packed, plain, short), simulator = await with_sdk(work)
    assert [one.embedding for one in packed.data] == [one.embedding for one in plain.data]
    assert [one.index for one in plain.data] == [0, 1]
    assert len(plain.data[0].embedding) == 1_536
    assert plain.data[0].embedding != plain.data[1].embedding
    for answer in (plain, short):
        assert math.hypot(*answer.data[0].embedding) == pytest.approx(1, abs=1e-6)
    assert len(short.data[0].embedding) == 8
    assert plain.usage.prompt_tokens == plain.usage.total_tokens == 10
    records = simulator.truth.records()
    assert [record.consumed for record in records] == [{"input_tokens": n} for n in (10, 10, 5)]
    assert records[0].usage_reported == {"prompt_tokens": 10, "total_tokens": 10}


async def test_tokens_in_the_place_of_texts() -> None:
    def work(client: openai.OpenAI) -> list[CreateEmbeddingResponse]:
        create = client.embeddings.create
        return [create(model=SMALL, input=[15339, 1917]), create(model=SMALL, input=[[1], [2, 3]])]

    (one, two), simulator = await with_sdk(work)
    assert (len(one.data), one.usage.prompt_tokens) == (1, 2)
    assert (len(two.data), two.usage.prompt_tokens) == (2, 3)
    assert [record.input_tokens for record in simulator.truth.records()] == [2, 3]


async def test_as_many_inputs_as_are_allowed() -> None:
    received, _ = await asked({"model": SMALL, "input": ["a"] * INPUTS_MAX, "dimensions": 2})
    assert len(orjson.loads(received.body)["data"]) == INPUTS_MAX


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"input": "a"}, "you must provide a model parameter"),
        ({"model": SMALL}, "Missing required parameter: 'input'."),
        ({"model": SMALL, "input": []}, "'$.input' is invalid."),
        ({"model": SMALL, "input": ["a", 5]}, "'$.input' is invalid."),
        ({"model": SMALL, "input": [[1], []]}, "'$.input' is invalid."),
        ({"model": SMALL, "input": 5}, "Invalid type for 'input'"),
        ({"model": SMALL, "input": ["a"] * (INPUTS_MAX + 1)}, "maximum length 2048"),
        ({"model": SMALL, "input": "a" * 9_000 + " b" * 8_192}, "context length is 8192 tokens"),
        ({"model": SMALL, "input": [[1] * 8_000] * 40}, "max 300000 tokens per request"),
        ({"model": SMALL, "input": "a", "dimensions": 0}, "Invalid 'dimensions'"),
        ({"model": SMALL, "input": "a", "dimensions": 1_537}, "less than or equal to 1536"),
        ({"model": SMALL, "input": "a", "encoding_format": "int8"}, "Supported values"),
        ({"model": SMALL, "input": "a", "stream": True}, "Unknown parameter: 'stream'."),
        (
            {"model": "text-embedding-ada-002", "input": "a", "dimensions": 5},
            "does not support specifying dimensions",
        ),
    ],
)
async def test_refuses(body: dict[str, Any], says: str) -> None:
    received, simulator = await asked(body)
    assert received.status == 400
    assert says in orjson.loads(received.body)["error"]["message"]
    [record] = simulator.truth.records()
    assert (record.ended, record.consumed) == ("error", {})


@pytest.mark.parametrize("usage", ["none", "wrong"])
async def test_usage_as_told(usage: str) -> None:
    received, simulator = await asked({"model": SMALL, "input": f"#sim usage={usage}\nRivers."})
    [record] = simulator.truth.records()
    reported = orjson.loads(received.body).get("usage")
    assert record.usage_reported == reported
    truth = record.input_tokens
    assert reported == (
        None if usage == "none" else {"prompt_tokens": truth + 7, "total_tokens": truth + 7}
    )


async def test_google_reports_no_usage() -> None:
    def work(client: genai.Client) -> list[types.EmbedContentResponse]:
        embed = client.models.embed_content
        short = types.EmbedContentConfig(output_dimensionality=5, task_type="CLUSTERING")
        contents: list[types.ContentUnionDict] = ["Rivers are long.", "Lakes are deep."]
        return [
            embed(model="gemini-embedding-001", contents=contents),
            embed(model="gemini-embedding-001", contents=contents[:1], config=short),
        ]

    (whole, short), simulator = await with_google(work)
    assert whole.embeddings is not None
    assert short.embeddings is not None
    values = [one.values or [] for one in whole.embeddings]
    assert [len(one) for one in values] == [3_072, 3_072]
    assert math.hypot(*values[0]) == pytest.approx(1, abs=1e-6)
    assert short.embeddings[0].values == values[0][:5]
    [first, second] = simulator.truth.records()
    assert (first.consumed, first.usage_reported) == ({"input_tokens": 10}, None)
    assert second.consumed == {"input_tokens": 5}


async def test_one_of_google_with_the_usage_of_its_newest_models() -> None:
    text = "#sim usage=always\nRivers are long."
    body = {"content": {"parts": [{"text": text}]}, "outputDimensionality": 4}
    received, simulator = await asked(body, f"{PATH}:embedContent")
    answer = orjson.loads(received.body)
    assert len(answer["embedding"]["values"]) == 4
    [record] = simulator.truth.records()
    assert record.api == "gemini-embeddings"
    assert answer["usageMetadata"]["promptTokenCount"] == record.input_tokens
    assert record.usage_reported == answer["usageMetadata"]


ONE = {"model": "models/gemini-embedding-001", "content": {"parts": [{"text": "a"}]}}


@pytest.mark.parametrize(
    ("body", "method", "says"),
    [
        ({}, "embedContent", "EmbedContentRequest.content: content is not specified"),
        ({"content": {"parts": []}}, "embedContent", "contents is not specified"),
        (ONE | {"dimensions": 5}, "embedContent", 'Unknown name "dimensions"'),
        (ONE | {"taskType": "COOKING"}, "embedContent", "Invalid value at 'task_type'"),
        ({"requests": []}, "batchEmbedContents", "requests is not specified"),
        ({"requests": [ONE] * (REQUESTS_MAX + 1)}, "batchEmbedContents", "at most 100 requests"),
        ({"requests": [ONE | {"model": "models/b"}]}, "batchEmbedContents", "must match the model"),
    ],
)
async def test_google_refuses(body: dict[str, Any], method: str, says: str) -> None:
    received, _ = await asked(body, f"{PATH}:{method}")
    assert received.status == 400
    error = orjson.loads(received.body)["error"]
    assert error["status"] == "INVALID_ARGUMENT"
    assert says in error["message"]
