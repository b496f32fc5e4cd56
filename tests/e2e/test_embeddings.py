"""Embeddings: the SDKs of OpenAI and Google over real sockets, at providers of both kinds."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import openai
import orjson
import pytest
import trio
from google import genai
from google.genai import types
from openai import AsyncOpenAI, OpenAI

from engine.events import Call
from engine.protocols.openai_embeddings.vectors import values_of
from tests import recordings
from tests.costs import without_cost
from tests.e2e.sdks import one_truth
from tests.fleet import model, open_fleet
from tests.gateways import add_key, charge, run, settled
from tests.served import Served, open_served, raw_request

SMALL, GEMINI = "text-embedding-3-small", "gemini-embedding-001"
TEXTS = ["Rivers are long.", "Lakes are deep."]
TOKENS = 10
"""Of these texts."""

MODELS = f"""
[models.{SMALL}]
deployments = [{{ provider = "sim", model = "{SMALL}" }}]
price = {{ input = 1, output = 0 }}
[models.{GEMINI}]
deployments = [{{ provider = "sim-gemini", model = "{GEMINI}" }}]
price = {{ input = 1, output = 0 }}
"""


@asynccontextmanager
async def open_sdk(tmp_path: Path, **options: Any) -> AsyncIterator[tuple[Served, AsyncOpenAI]]:
    async with (
        open_served(tmp_path, **{"models": MODELS} | options) as served,
        AsyncOpenAI(base_url=served.url, api_key=served.setup.key, max_retries=0) as client,
    ):
        yield served, client


async def in_thread(work: Any) -> Any:
    """What an SDK without async does."""
    return await trio.to_thread.run_sync(work)


def google(served: Served) -> genai.Client:
    options = types.HttpOptions(base_url=served.origin)
    return genai.Client(api_key=served.setup.key, http_options=options)


@pytest.mark.parametrize("model", [SMALL, GEMINI])
async def test_openais_sdk(tmp_path: Path, model: str) -> None:
    async with open_sdk(tmp_path) as (served, client):
        create = partial(client.embeddings.create, model=model)
        packed = await client.embeddings.with_raw_response.create(model=model, input=TEXTS)
        plain = await create(input=TEXTS, encoding_format="float")
        short = await create(input=TEXTS[1], dimensions=8)
        vectors = [one.embedding for one in packed.parse().data]
        assert [one.index for one in packed.parse().data] == [0, 1]
        for vector, other in zip(vectors, plain.data, strict=True):
            assert vector == pytest.approx(other.embedding, abs=1e-7)
        assert vectors[0] != vectors[1]
        assert len(short.data[0].embedding) == 8
        assert math.hypot(*short.data[0].embedding) == pytest.approx(1, abs=1e-6)
        assert plain.usage.prompt_tokens == TOKENS
        receipt = await served.receipt(packed.headers["x-request-id"])
        first = served.setup.sim.truth.records()[0]
        assert (receipt["operation"], receipt["outcome"]) == ("embed", "completed")
        assert receipt["price"]["nanodollars"] == charge(first.input_tokens, 0)
        how = "reported" if model == SMALL else "counted"
        assert receipt["usage_provenance"]["input_tokens"] == how
        assert packed.headers["x-credits-used"]
        assert packed.headers["x-model-used"] == model


@pytest.mark.parametrize("model", [SMALL, GEMINI])
async def test_openais_sdk_without_async(tmp_path: Path, model: str) -> None:
    async with open_served(tmp_path, models=MODELS) as served:

        def work() -> int:
            with OpenAI(base_url=served.url, api_key=served.setup.key, max_retries=0) as client:
                return len(client.embeddings.create(model=model, input="Rivers.").data[0].embedding)

        assert await in_thread(work) == (1_536 if model == SMALL else 3_072)


@pytest.mark.parametrize("model", [SMALL, GEMINI])
async def test_googles_sdk(tmp_path: Path, model: str) -> None:
    async with open_served(tmp_path, models=MODELS) as served:

        def work() -> list[types.EmbedContentResponse]:
            client = google(served)
            embed = client.models.embed_content
            short = types.EmbedContentConfig(output_dimensionality=5, task_type="CLUSTERING")
            contents: list[types.ContentUnionDict] = [*TEXTS]
            return [
                embed(model=model, contents=contents),
                embed(model=model, contents=contents[:1], config=short),
            ]

        whole, short = await in_thread(work)
        vectors = [one.values for one in whole.embeddings]
        assert [len(one) for one in vectors] == [1_536 if model == SMALL else 3_072] * 2
        assert vectors[0] != vectors[1]
        assert len(short.embeddings[0].values) == 5
        receipts = [
            await served.receipt(truth.request_id) for truth in served.setup.sim.truth.records()
        ]
        assert [one["operation"] for one in receipts] == ["embed_batch"] * 2
        assert [one["price"]["nanodollars"] for one in receipts] == [charge(10, 0), charge(5, 0)]


@pytest.mark.parametrize("version", ["v1", "v1beta"])
@pytest.mark.parametrize("model", [SMALL, GEMINI])
async def test_one_content(tmp_path: Path, model: str, version: str) -> None:
    body = {"content": {"parts": [{"text": TEXTS[0]}]}, "task_type": "RETRIEVAL_QUERY"}
    async with open_served(tmp_path, models=MODELS) as served, served.http() as client:
        path = f"{served.origin}/{version}/models/{model}:embedContent"
        answer = await client.post(path, json=body)
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["embedding"]["values"]) > 1_000
        dropped = answer.headers.get("x-parshall-dropped")
        assert dropped == ("task_type" if model == SMALL else None)
        if model == SMALL:
            assert answer.json()["usageMetadata"]["promptTokenCount"] == 5
        assert answer.headers["x-credits-used"] == "0.005"


async def test_tokens_in_the_place_of_texts(tmp_path: Path) -> None:
    async with open_sdk(tmp_path) as (served, client):
        one = await client.embeddings.create(model=SMALL, input=[15339, 1917])
        two = await client.embeddings.create(model=SMALL, input=[[1], [2, 3]])
        assert (len(one.data), one.usage.prompt_tokens) == (1, 2)
        assert (len(two.data), two.usage.prompt_tokens) == (2, 3)
        with pytest.raises(openai.BadRequestError, match="tokens in the place") as refused:
            await client.embeddings.create(model=GEMINI, input=[[1], [2, 3]])
        assert refused.value.code == "not_supported_by_model"
        assert refused.value.param == "input"
        assert len(served.setup.sim.truth.records()) == 2


@pytest.mark.parametrize(
    ("given", "tokens"), [("#sim usage=none\nRivers are long.", None), ([1, 2, 3], 3)]
)
async def test_counted_where_the_provider_reports_nothing(
    tmp_path: Path, given: Any, tokens: int | None
) -> None:
    async with open_sdk(tmp_path) as (served, client):
        raw = await client.embeddings.with_raw_response.create(model=SMALL, input=given)
        receipt = await served.receipt(raw.headers["x-request-id"])
        truth = one_truth(served).input_tokens
        assert receipt["usage"]["input_tokens"] == (tokens or truth)
        assert receipt["price"]["nanodollars"] == charge(tokens or truth, 0)
        assert receipt["provenance"] == ("counted" if tokens is None else "reported")


async def test_what_is_refused_before_anybody_is_asked(tmp_path: Path) -> None:
    async with open_sdk(tmp_path) as (served, client):
        wrong: list[Any] = [[], [[]], 5, ["a", 5]]
        for given in wrong:
            with pytest.raises(openai.BadRequestError, match="'input' must be"):
                await client.embeddings.create(model=SMALL, input=given)
        with pytest.raises(openai.BadRequestError, match="does 'embed'"):
            await client.embeddings.create(model="sim-anthropic", input="a")
        assert not served.setup.sim.truth.records()


async def test_a_client_that_leaves_pays_nothing(tmp_path: Path) -> None:
    body = orjson.dumps({"model": SMALL, "input": "#sim first_token_ms=60000\nRivers."})
    async with open_served(tmp_path, models=MODELS) as served:
        truth, before = served.setup.sim.truth, await served.setup.balance()
        stream = await trio.open_tcp_stream("127.0.0.1", served.port)
        async with stream:
            await stream.send_all(raw_request(served, "/v1/embeddings", body))
            await settled(lambda: bool(truth.records()))
        await settled(lambda: one_truth(served).ended == "reset")
        receipt = await served.receipt(one_truth(served).request_id)
        assert receipt["outcome"] == "client_left"
        assert receipt["price"]["nanodollars"] == 0
        assert await served.setup.balance() == before


async def test_another_deployment_answers_where_the_first_fails(tmp_path: Path) -> None:
    models = model("pair", "sim0", {"provider": "sim1", "priority": 1})
    async with open_fleet(tmp_path, 2, models=models) as fleet:
        fleet.sims[0].behave(None, "status=500")
        body = orjson.dumps({"model": "pair", "input": TEXTS})
        call = Call(body, fleet.setup.key, "openai", "embed")
        answer, receipt, error = await run(fleet.setup, call)
        assert error is None
        assert len(orjson.loads(answer)["data"]) == 2
        *failed, last = receipt.attempts
        assert {row.outcome for row in failed} == {"upstream_rejected"}
        assert (last.provider, last.outcome) == ("sim1", "completed")
        assert receipt.price_nanodollars == charge(TOKENS, 0)


async def test_the_limits_of_a_key_are_those_of_all_requests(tmp_path: Path) -> None:
    async with open_sdk(tmp_path) as (served, _):
        setup = served.setup
        _, secret = await add_key(setup.gateway, setup.account_id, limits={"requests_per_min": 1})
        async with AsyncOpenAI(base_url=served.url, api_key=secret, max_retries=0) as client:
            await client.embeddings.create(model=SMALL, input="a")
            with pytest.raises(openai.RateLimitError):
                await client.embeddings.create(model=SMALL, input="a")


def found_in(folder: str) -> list[str]:
    names = recordings.names(folder)
    return [name for name in names if isinstance(name, str) and "usage-" not in name]


def prompt(name: str, seed: int) -> str:
    """What makes the simulated provider replay a recording."""
    return f"#sim recording={name} split_seed={seed} max_split=4096\nhello"


def batch_of(text: str) -> dict[str, Any]:
    return {"requests": [{"content": {"parts": [{"text": text}]}}]}


VERBATIM = [
    *((SMALL, name) for name in found_in("openai-embeddings") + found_in("mistral-embeddings")),
    *((GEMINI, name) for name in found_in("gemini-batchEmbedContents")),
]
"""The model whose provider answers with them."""


async def test_recorded_answers(tmp_path: Path) -> None:
    """In their own protocol byte for byte; across with the same numbers; billed as reported."""
    if not VERBATIM:
        pytest.skip("no recordings")
    async with open_served(tmp_path, models=MODELS) as served, served.http() as client:
        for seed, (name_of_model, name) in enumerate(VERBATIM):
            recording, text = recordings.load(name), prompt(name, seed)
            openais = await client.post("/embeddings", json={"model": name_of_model, "input": text})
            path = f"{served.origin}/v1beta/models/{name_of_model}:batchEmbedContents"
            geminis = await client.post(path, json=batch_of(text))
            own, across = (openais, geminis) if name_of_model == SMALL else (geminis, openais)
            assert own.status_code == across.status_code == recording.status, name
            if recording.status != 200:
                assert "not" in own.json()["error"]["message"]
                continue
            assert without_cost(own.content) == without_cost(recording.body), name
            told = vectors_of(across.json())
            for vector, values in zip(told, vectors_of(orjson.loads(recording.body)), strict=True):
                assert vector == pytest.approx(values, abs=1e-7)
            for answer in (own, across):
                receipt = await served.receipt(answer.headers["x-request-id"])
                reported = tokens_in(orjson.loads(recording.body))
                billed = receipt["usage"]["input_tokens"]
                assert receipt["price"]["nanodollars"] == charge(billed, 0)
                assert billed == (reported or billed)
                assert receipt["provenance"] == ("reported" if reported else "counted"), name


def vectors_of(document: dict[str, Any]) -> list[Any]:
    """Of an answer in either shape."""
    if "data" in document:
        return [list(values_of(one["embedding"])) for one in document["data"]]
    return [one["values"] for one in document["embeddings"]]


def tokens_in(document: dict[str, Any]) -> int | None:
    """As an answer in either shape reports them."""
    openais, geminis = document.get("usage", {}), document.get("usageMetadata", {})
    found: int | None = openais.get("prompt_tokens") or geminis.get("promptTokenCount")
    return found
