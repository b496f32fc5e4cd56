"""Legacy completions: OpenAI's SDK over a real socket, to providers that speak them and others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import orjson
import pytest
import trio
from openai import AsyncOpenAI

from tests import recordings
from tests.costs import without_cost
from tests.e2e.sdks import one_truth
from tests.gateways import HTTP2, MODELS, charge
from tests.served import Served, open_served

pytestmark = [
    # The SDK stops reading at `[DONE]` and leaves its generators to the garbage collector.
    pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

LEGACY = f"""
[providers.legacy]
protocol = "openai"
base_url = "$SIM/v1"
http2 = "{HTTP2}"
completions = true
[models.legacy]
deployments = [{{ provider = "legacy", model = "sim-openai" }}]
price = {{ input = 1, output = 2 }}
"""
EVERY = ["legacy", *MODELS.values()]
"""A provider that takes completions as they are, and one of each protocol that does not."""


@asynccontextmanager
async def open_sdk(tmp_path: Path) -> AsyncIterator[tuple[Served, AsyncOpenAI]]:
    async with (
        open_served(tmp_path, models=LEGACY) as served,
        AsyncOpenAI(base_url=served.url, api_key=served.setup.key, max_retries=0) as client,
    ):
        yield served, client


def prompt(directives: str) -> str:
    return f"#sim {directives}\nOnce upon a time"


@pytest.mark.parametrize("model", EVERY)
async def test_a_stream(tmp_path: Path, model: str) -> None:
    async with open_sdk(tmp_path) as (served, client):
        answer = await client.completions.with_raw_response.create(
            model=model,
            prompt=prompt("tokens=50"),
            max_tokens=100,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in answer.parse()]
        truth = one_truth(served)
        assert "".join(c.text for chunk in chunks for c in chunk.choices) == truth.text
        assert [c.finish_reason for chunk in chunks for c in chunk.choices][-1] == "stop"
        assert {chunk.object for chunk in chunks} == {"text_completion"}
        assert len({chunk.id for chunk in chunks}) == 1
        [usage] = [chunk.usage for chunk in chunks if chunk.usage]
        assert (usage.prompt_tokens, usage.completion_tokens) == (truth.input_tokens, 50)
        receipt = await served.receipt(answer.headers["x-request-id"])
        assert receipt["price"]["nanodollars"] == charge(truth.input_tokens, 50)
        expected = {"legacy": "openai-completions", "sim-responses": "openai-responses"}
        assert truth.api == expected.get(model, model.removeprefix("sim-"))


@pytest.mark.parametrize("model", EVERY)
async def test_an_answer_in_one_piece(tmp_path: Path, model: str) -> None:
    async with open_sdk(tmp_path) as (served, client):
        answer = await client.completions.create(model=model, prompt=[prompt("tokens=50")])
        truth = one_truth(served)
        [choice] = answer.choices
        assert (choice.text, choice.finish_reason) == (truth.text, "length")
        assert answer.usage is not None
        assert answer.usage.completion_tokens == 16, "the protocol's own limit"


@pytest.mark.parametrize("model", EVERY)
async def test_no_usage_unless_asked_for(tmp_path: Path, model: str) -> None:
    async with open_served(tmp_path, models=LEGACY) as served, served.http() as http:
        body = {"model": model, "prompt": prompt("tokens=3"), "stream": True}
        answer = await http.post("/completions", json=body)
        assert answer.text.endswith("data: [DONE]\n\n")
        assert '"usage"' not in answer.text
        assert one_truth(served).usage_reported is not None


@pytest.mark.parametrize("model", EVERY)
async def test_an_error_in_a_stream(tmp_path: Path, model: str) -> None:
    async with open_sdk(tmp_path) as (served, client):
        with pytest.raises(openai.APIError):
            async for _ in await client.completions.create(
                model=model, prompt=prompt("tokens=9 fault=error_event cut_after=4"), stream=True
            ):
                pass
        assert one_truth(served).ended == "error"


ASKED: list[dict[str, Any]] = [
    {"prompt": ["#sim tokens=3\nOne", "Two"], "n": 2, "echo": True},
    {"prompt": [1, 2, 3]},
    {"prompt": "#sim tokens=3", "best_of": 2, "suffix": "end", "logprobs": 2},
]


@pytest.mark.parametrize("asked", ASKED)
async def test_all_of_it_passes_to_who_speaks_it(tmp_path: Path, asked: dict[str, Any]) -> None:
    async with open_sdk(tmp_path) as (served, client):
        answer = await client.completions.create(model="legacy", **asked)
        truth = one_truth(served)
        assert truth.request == {"model": "sim-openai", "max_tokens": 16, **asked}
        texts = [choice.text for choice in answer.choices]
        assert len(texts) == len(truth.choices)
        assert all(text.endswith(said) for text, said in zip(texts, truth.choices, strict=True))
        assert answer.usage is not None
        assert answer.usage.completion_tokens == truth.tokens_generated


@pytest.mark.parametrize("model", MODELS.values())
@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"prompt": ["One", "Two"]}, "prompt"),
        ({"prompt": [1, 2, 3]}, "prompt"),
        ({"best_of": 2}, "best_of"),
        ({"suffix": "end"}, "suffix"),
        ({"echo": True}, "echo"),
    ],
)
async def test_what_cannot_be_translated_is_refused(
    tmp_path: Path, model: str, asked: dict[str, Any], param: str
) -> None:
    async with open_sdk(tmp_path) as (served, client):
        with pytest.raises(openai.BadRequestError) as refusal:
            await client.completions.create(**{"model": model, "prompt": "One", **asked})
        assert refusal.value.param == param
        assert served.setup.sim.truth.records() == []


async def test_a_client_that_leaves_pays_for_what_came(tmp_path: Path) -> None:
    async with open_sdk(tmp_path) as (served, client):
        answer = await client.completions.with_raw_response.create(
            model="legacy",
            prompt=prompt("tokens=4000 tokens_per_second=50"),
            max_tokens=4_000,
            stream=True,
        )
        stream = answer.parse()
        async for chunk in stream:
            if chunk.choices[0].text:
                break
        await stream.close()
        receipt = await served.receipt(answer.headers["x-request-id"])
        with trio.fail_after(30):
            truth = await served.setup.sim.truth.wait_ended(answer.headers["x-request-id"])
        assert truth.tokens_generated < 4_000
        assert 0 < receipt["price"]["nanodollars"] < charge(truth.input_tokens, 4_000)


STREAMS = recordings.names("openai-completions", stream=True, status=200)
WHOLE = [
    name
    for name in recordings.names("openai-completions", stream=False, status=200)
    if not isinstance(name, str)  # there are no recordings
    or orjson.loads(recordings.load(name).body).get("object") == "text_completion"
]


@pytest.mark.parametrize("name", [*STREAMS, *WHOLE])
@pytest.mark.parametrize("seed", [1, 2])
async def test_recordings_pass_byte_for_byte(tmp_path: Path, name: str, seed: int) -> None:
    recording = recordings.load(name)
    async with open_served(tmp_path, models=LEGACY) as served, served.http() as http:
        body = {
            "model": "legacy",
            "prompt": f"#sim recording={name} split_seed={seed} max_split=40",
            "max_tokens": 4_000,
            "n": 2,
            "stream": recording.stream,
        }
        if recording.stream:
            body["stream_options"] = {"include_usage": True}
        answer = await http.post("/completions", json=body)
    assert answer.status_code == 200
    assert without_cost(answer.content) == without_cost(recording.body)
