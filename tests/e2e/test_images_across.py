"""Pictures across protocols: OpenAI's clients of images to Gemini's models, and clients that chat
to OpenAI's, with the official SDKs over real sockets."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
import trio
from google import genai
from google.genai import errors, types
from openai import AsyncOpenAI

from bench.simulate.pictures import png
from engine.media.sniff import image_size
from tests.e2e.sdks import one_truth
from tests.e2e.test_sdk_gemini import talk
from tests.gateways import HTTP2
from tests.served import Served, open_served

pytestmark = pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")

PNG = png(64, 64, bytes(16))
MODELS = f"""
[providers.painter]
protocol = "openai"
base_url = "$SIM/v1"
http2 = "{HTTP2}"
[models.gpt-image-1]
deployments = [{{ provider = "painter", model = "gpt-image-1" }}]
price = {{ input = 5, output = 40 }}
[models.nano]
deployments = [{{ provider = "sim-gemini", model = "sim-gemini" }}]
price = {{ input = 0.3, output = 30 }}
[models.by-the-image]
deployments = [{{ provider = "sim-gemini", model = "sim-gemini" }}]
price = {{ images = 0.04 }}
[models.storyteller]
price = {{ images = 0.04 }}
[[models.storyteller.deployments]]
provider = "sim-gemini"
model = "sim-gemini"
capabilities = {{ serves = ["chat", "image"] }}
"""


@asynccontextmanager
async def open_sdk(tmp_path: Path) -> AsyncIterator[tuple[Served, AsyncOpenAI]]:
    async with (
        open_served(tmp_path, models=MODELS) as served,
        AsyncOpenAI(base_url=served.url, api_key=served.setup.key, max_retries=0) as client,
    ):
        yield served, client


async def test_openais_client_draws_with_gemini(tmp_path: Path) -> None:
    async with open_sdk(tmp_path) as (served, client):
        raw = await client.images.with_raw_response.generate(
            model="nano", prompt="A river.", size="1792x1024"
        )
        [image], truth = raw.parse().data or [], one_truth(served)
        assert image_size(base64.b64decode(image.b64_json or "")) == (1_344, 768)
        receipt = await served.receipt(raw.headers["x-request-id"])
        assert (receipt["usage"]["output_tokens"], receipt["usage"]["images"]) == (1_290, 1)
        assert receipt["price"]["nanodollars"] == 300 * truth.input_tokens + 30_000 * 1_290
        assert (receipt["operation"], receipt["provenance"]) == ("image", "reported")


async def test_a_picture_is_paid_for_where_the_provider_counts_tokens(tmp_path: Path) -> None:
    async with open_sdk(tmp_path) as (served, client):
        raw = await client.images.with_raw_response.edit(
            model="by-the-image", prompt="A boat.", image=PNG, response_format="url"
        )
        [image] = raw.parse().data or []
        async with served.http() as http:
            fetched = await http.get(image.url or "")
        assert image_size(fetched.content) == (1_024, 1_024)
        assert one_truth(served).consumed["input_image_tokens"] == 258
        receipt = await served.receipt(raw.headers["x-request-id"])
        assert receipt["price"]["nanodollars"] == 40_000_000


async def test_its_stream_is_one_event(tmp_path: Path) -> None:
    async with open_sdk(tmp_path) as (served, client):
        stream = await client.images.generate(
            model="nano", prompt="A river.", stream=True, partial_images=2
        )
        [event] = [event async for event in stream]
        assert event.type == "image_generation.completed"
        assert (event.size, event.usage.output_tokens) == ("1024x1024", 1_290)
        assert one_truth(served).ended == "done"


async def test_what_gemini_cannot_draw_is_refused_in_openais_words(tmp_path: Path) -> None:
    async with open_sdk(tmp_path) as (served, client):
        with pytest.raises(openai.BadRequestError) as refused:
            await client.images.generate(model="nano", prompt="A river.", n=2)
        assert (refused.value.param, refused.value.code) == ("n", "not_supported_by_model")
        with pytest.raises(openai.BadRequestError) as refused:
            await client.images.edit(model="nano", prompt="A boat.", image=PNG, mask=PNG)
        assert (refused.value.param, refused.value.code) == ("mask", "not_supported_by_model")
        assert not served.setup.sim.truth.records()


async def test_what_gemini_gives_is_not_paid_for_without_a_picture(tmp_path: Path) -> None:
    async with open_sdk(tmp_path) as (served, client):
        with pytest.raises(openai.InternalServerError, match="no picture") as failed:
            await client.images.generate(model="nano", prompt="#sim media=html\nA river.")
        receipt = await served.receipt(failed.value.response.headers["x-request-id"])
        assert (receipt["outcome"], receipt["price"]["nanodollars"]) == ("upstream_failed", 0)


@pytest.mark.parametrize("stream", [False, True])
async def test_pictures_that_come_while_chatting_are_paid_for(tmp_path: Path, stream: bool) -> None:
    async with open_served(tmp_path, models=MODELS) as served:
        config = types.GenerateContentConfig(response_modalities=["TEXT", "IMAGE"])
        asked: Any = {"model": "storyteller", "contents": "A river.", "config": config}

        def ask(client: genai.Client) -> None:
            if stream:
                list(client.models.generate_content_stream(**asked))
            else:
                client.models.generate_content(**asked)

        await talk(served, ask)
        receipt = await served.receipt(one_truth(served).request_id or "")
        assert (receipt["usage"]["images"], receipt["operation"]) == (1, "chat")
        assert receipt["price"]["nanodollars"] == 40_000_000


@pytest.mark.parametrize("stream", [False, True])
async def test_geminis_client_draws_with_openai(tmp_path: Path, stream: bool) -> None:
    async with open_served(tmp_path, models=MODELS) as served:
        config = types.GenerateContentConfig(
            response_modalities=["IMAGE"],
            image_config=types.ImageConfig(aspect_ratio="16:9"),
        )
        contents = ["A boat.", types.Part.from_bytes(data=PNG, mime_type="image/png")]

        asked: Any = {"model": "gpt-image-1", "contents": contents, "config": config}

        def ask(client: genai.Client) -> list[types.GenerateContentResponse]:
            if stream:
                return list(client.models.generate_content_stream(**asked))
            return [client.models.generate_content(**asked)]

        answers = await talk(served, ask)
        parts = [part for answer in answers for part in answer.parts or ()]
        [data] = [part.inline_data.data for part in parts if part.inline_data]
        assert data is not None
        assert image_size(data) == (1_536, 1_024)
        truth, usage = one_truth(served), answers[-1].usage_metadata
        assert truth.api == "openai-image-edits"
        assert truth.consumed["input_image_tokens"] == 323
        assert usage is not None
        assert usage.candidates_token_count == truth.consumed["output_tokens"] == 6_208


async def test_openais_clients_that_chat(tmp_path: Path) -> None:
    async with open_sdk(tmp_path) as (served, client):
        raw = await client.chat.completions.with_raw_response.create(
            model="gpt-image-1", messages=[{"role": "user", "content": "A river."}], temperature=1
        )
        [image] = raw.parse().choices[0].message.model_extra["images"]  # type: ignore[index]
        data = base64.b64decode(image["image_url"]["url"].partition(",")[2])
        assert image_size(data) == (1_024, 1_024)
        assert raw.headers["x-parshall-dropped"] == "temperature"
        receipt = await served.receipt(raw.headers["x-request-id"])
        truth = one_truth(served)
        assert receipt["usage"]["images"] == 1
        assert receipt["price"]["nanodollars"] == 5_000 * truth.input_tokens + 40_000 * 4_160
        answer = await client.responses.create(model="gpt-image-1", input="A river.")
        assert [item.type for item in answer.output] == ["image_generation_call"]


async def test_clients_whose_protocol_has_no_pictures(tmp_path: Path) -> None:
    async with open_served(tmp_path, models=MODELS) as served:

        def ask() -> None:
            with anthropic.Anthropic(base_url=served.origin, api_key=served.setup.key) as client:
                client.messages.create(
                    model="gpt-image-1",
                    max_tokens=10,
                    messages=[{"role": "user", "content": "A river."}],
                )

        with pytest.raises(anthropic.BadRequestError, match="nothing to ask for this"):
            await trio.to_thread.run_sync(ask)
        assert not served.setup.sim.truth.records()


async def test_what_a_model_that_draws_cannot_do(tmp_path: Path) -> None:
    async with open_served(tmp_path, models=MODELS) as served:

        def ask(client: genai.Client) -> None:
            config = types.GenerateContentConfig(response_mime_type="application/json")
            client.models.generate_content(model="gpt-image-1", contents="A river.", config=config)

        with pytest.raises(errors.ClientError, match="answers with no JSON") as refused:
            await talk(served, ask)
        assert refused.value.code == 400
