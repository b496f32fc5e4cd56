"""The list of models in three shapes, page by page, as the official SDKs read it."""

from __future__ import annotations

from pathlib import Path

import anthropic
import httpx
import openai
import pytest
import trio
from anthropic.types import ModelInfo
from google import genai
from google.genai.types import HttpOptions

from tests.frontends.apps import Front, open_front

NAMES = ("org/model:free", "a", "b", "c")
MORE = "".join(
    f'[models."{name}"]\ndeployments = [{{ provider = "sim", model = "m" }}]\nfree = true\n'
    for name in NAMES
)
MANY = "".join(
    f'[models."many-{number}"]\ndeployments = [{{ provider = "sim", model = "m" }}]\nfree = true\n'
    for number in range(120)
)
"""More than a page of anybody's."""
TOLD = """
[models.told]
price = { input = 0.0375, cached_input = 0.01, output = 1.5 }
[[models.told.deployments]]
provider = "sim"
model = "gpt-4o-audio-preview"
capabilities.context_window_tokens = 9_000
capabilities.output_max_tokens = 900
capabilities.media = ["image", "audio"]
"""
MODELS = ("sim-openai", "sim-responses", "sim-anthropic", "sim-gemini", *NAMES)
VERSION = {"anthropic-version": "2023-06-01"}


def url_of(front: Front) -> str:
    return f"http://{front.server.addresses[0]}"


def openai_client(front: Front) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(
        base_url=f"{url_of(front)}/v1", api_key=front.setup.key, max_retries=0
    )


def gemini_client(front: Front, version: str = "v1beta") -> genai.Client:
    options = HttpOptions(base_url=url_of(front), api_version=version)
    return genai.Client(api_key=front.setup.key, http_options=options)


async def test_openais_sdk(tmp_path: Path) -> None:
    async with open_front(tmp_path, models=MORE) as front, openai_client(front) as client:
        assert [model.id async for model in client.models.list()] == list(MODELS)
        one = await client.models.retrieve("org/model:free")
        assert (one.id, one.object, one.owned_by) == ("org/model:free", "model", "sim")
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("nobody's")


async def test_many_pages_of_the_sdks_own_size(tmp_path: Path) -> None:
    names = [*MODELS[:4], *(f"many-{number}" for number in range(120))]
    async with (
        open_front(tmp_path, models=MANY) as front,
        openai_client(front) as of_openai,
        anthropic.AsyncAnthropic(
            base_url=url_of(front), api_key=front.setup.key, max_retries=0
        ) as of_anthropic,
    ):
        assert [model.id async for model in of_openai.models.list()] == names
        assert [model.id async for model in of_anthropic.models.list()] == names
        backwards = await of_anthropic.models.list(before_id=names[-1])
        found = [backwards.data[0].id]
        while backwards.has_next_page():
            backwards = await backwards.get_next_page()
            found.append(backwards.data[0].id)
        assert found == [names[max(len(names) - 21 - 20 * page, 0)] for page in range(7)]

        def ask() -> list[str | None]:
            with gemini_client(front) as client:
                return [model.name for model in client.models.list()]

        assert await trio.to_thread.run_sync(ask) == [f"models/{name}" for name in names]


async def test_what_the_sdks_are_told_of_a_model(tmp_path: Path) -> None:
    async with (
        open_front(tmp_path, models=TOLD) as front,
        openai_client(front) as of_openai,
        anthropic.AsyncAnthropic(
            base_url=url_of(front), api_key=front.setup.key, max_retries=0
        ) as of_anthropic,
    ):
        theirs = (await of_openai.models.retrieve("told")).model_dump()
        assert (theirs["root"], theirs["parent"]) == ("gpt-4o-audio-preview", None)
        assert [row["object"] for row in theirs["permission"]] == ["model_permission"]
        assert (theirs["context_window"], theirs["max_output_tokens"]) == (9_000, 900)
        assert theirs["capabilities"]["media"] == ["audio", "image"]
        assert theirs["capabilities"]["reasoning"] == "none"
        assert theirs["capabilities"]["efforts"] is None
        assert theirs["pricing"] == {
            "currency": "USD",
            "unit": "million_tokens",
            "input": "0.0375",
            "cached_input": "0.01",
            "cache_write": "0.0375",
            "output": "1.5",
            "reasoning": "1.5",
        }
        assert theirs["media_params_schema"]["properties"].keys() == {"modalities", "audio"}

        read = await of_anthropic.models.retrieve("told")
        strict = ModelInfo.model_validate(read.model_dump(mode="json"))
        assert (strict.max_input_tokens, strict.max_tokens) == (9_000, 900)
        assert strict.capabilities is not None
        assert strict.capabilities.image_input.supported
        assert not strict.capabilities.pdf_input.supported
        assert not strict.capabilities.thinking.supported

        def ask() -> genai.types.Model:
            with gemini_client(front) as client:
                return client.models.get(model="told")

        model = await trio.to_thread.run_sync(ask)
        assert (model.input_token_limit, model.output_token_limit) == (9_000, 900)
        assert model.supported_actions == ["generateContent", "countTokens"]
        assert (model.thinking, model.temperature, model.max_temperature) == (False, 1, 2)


async def test_openais_list(tmp_path: Path) -> None:
    async with open_front(tmp_path, models=MORE) as front:
        listed = (await front.client.get("/v1/models")).json()
        one = (await front.client.get("/v1/models/org%2Fmodel%3Afree")).json()

        assert listed["object"] == "list"
        assert [model["id"] for model in listed["data"]] == list(MODELS)
        assert one in listed["data"]


async def test_anthropics_list(tmp_path: Path) -> None:
    async with (
        open_front(tmp_path, models=MORE) as front,
        anthropic.AsyncAnthropic(
            base_url=url_of(front), api_key=front.setup.key, max_retries=0
        ) as client,
    ):
        assert [model.id async for model in client.models.list(limit=2)] == list(MODELS)
        one = await client.models.retrieve("org/model:free")
        assert (one.id, one.type) == ("org/model:free", "model")
        last = await client.models.list(limit=2, before_id="b")
        assert ([model.id for model in last.data], last.has_more) == (["org/model:free", "a"], True)
        with pytest.raises(anthropic.NotFoundError) as refusal:
            await client.models.retrieve("nobody's")
        assert refusal.value.request_id is not None


@pytest.mark.parametrize("version", ["v1beta", "v1alpha", "v1"])
async def test_geminis_list(tmp_path: Path, version: str) -> None:
    async with open_front(tmp_path, models=MORE) as front:
        client = gemini_client(front, version)

        def ask() -> None:
            with client:
                listed = client.models.list(config={"page_size": 2})
                assert [model.name for model in listed] == [f"models/{name}" for name in MODELS]
                one = client.models.get(model="org/model:free")
                assert one.display_name == "org/model:free"
                with pytest.raises(genai.errors.ClientError) as refusal:
                    client.models.get(model="nobodys")
                assert (refusal.value.code, refusal.value.status) == (404, "NOT_FOUND")

        await trio.to_thread.run_sync(ask)


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1/models?limit=0", VERSION),
        ("/v1/models?limit=%D9%A3", VERSION),
        ("/v1/models?limit=99999999999999999999", VERSION),
        ("/v1/models?after_id=nobodys", VERSION),
        ("/v1/models?before_id=nobodys", VERSION),
        ("/v1beta/models?pageSize=-1", {}),
        ("/v1beta/models?pageToken=nobodys", {}),
    ],
)
async def test_a_page_that_is_none(tmp_path: Path, path: str, headers: dict[str, str]) -> None:
    async with open_front(tmp_path) as front:
        answer = await front.client.get(path, headers=headers)
        assert answer.status_code == 400
        error: dict[str, str] = answer.json()["error"]
        assert "type" in error if headers else error["status"] == "INVALID_ARGUMENT"


async def test_an_empty_page(tmp_path: Path) -> None:
    async with open_front(tmp_path) as front:
        answer: httpx.Response = await front.client.get(
            "/v1/models?after_id=sim-gemini", headers=VERSION
        )
        assert answer.json() == {
            "data": [],
            "has_more": False,
            "first_id": None,
            "last_id": None,
        }


OTHER_NAMES = """
[models.told]
aliases = ["told-latest"]
deployments = [{ provider = "sim", model = "m" }]
free = true
[auto]
name = "kr-auto"
models = [{ name = "told", strength = 3 }]
"""


async def test_further_names_and_what_chooses_are_listed_too(tmp_path: Path) -> None:
    async with open_front(tmp_path, models=OTHER_NAMES) as front, openai_client(front) as client:
        assert [model.id async for model in client.models.list()][4:] == [
            "told",
            "told-latest",
            "kr-auto",
        ]
        one = await client.models.retrieve("told-latest")
        assert (one.id, one.owned_by) == ("told-latest", "sim")
        chooses = await client.models.retrieve("kr-auto")
        assert (chooses.id, chooses.owned_by) == ("kr-auto", "parshall")
