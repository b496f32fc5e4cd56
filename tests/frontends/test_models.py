"""The list of models in three shapes, page by page, as the official SDKs read it."""

from __future__ import annotations

from pathlib import Path

import anthropic
import httpx
import pytest
import trio
from google import genai
from google.genai.types import HttpOptions

from tests.frontends.apps import Front, open_front

NAMES = ("org/model:free", "a", "b", "c")
MORE = "".join(
    f'[models."{name}"]\ndeployments = [{{ provider = "sim", model = "m" }}]\nfree = true\n'
    for name in NAMES
)
MODELS = ("sim-openai", "sim-anthropic", "sim-gemini", *NAMES)
VERSION = {"anthropic-version": "2023-06-01"}


def url_of(front: Front) -> str:
    return f"http://{front.server.addresses[0]}"


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
        client = genai.Client(
            api_key=front.setup.key,
            http_options=HttpOptions(base_url=url_of(front), api_version=version),
        )

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
