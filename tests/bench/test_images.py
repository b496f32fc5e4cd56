"""Images of the simulated provider: by OpenAI's SDK, what is drawn, streams, forms, refusals."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

import httpx
import openai
import orjson
import pytest

from bench.simulate import SimulatorSettings, TruthRecord, open_simulator
from bench.simulate.pictures import jpeg, png
from tests.bench.raw import Received, converse, post
from tests.bench.test_sdk import with_sdk
from tests.bench.uploads import form, upload

GENERATIONS, EDITS, VARIATIONS = (
    f"/v1/images/{name}" for name in ("generations", "edits", "variations")
)
GPT, OLD, DALLE = "gpt-image-1", "dall-e-2", "dall-e-3"
PNG = png(64, 64, bytes(16))


async def said(data: bytes) -> tuple[Received, TruthRecord]:
    async with open_simulator(SimulatorSettings()) as simulator:
        received = await converse(simulator.port, data)
        assert simulator.statistics().crashes == 0
        [record] = simulator.truth.records()
        return received, record


async def asked(path: str = GENERATIONS, **body: Any) -> tuple[Received, TruthRecord]:
    more = "connection: close\r\ncontent-type: application/json\r\n"
    return await said(post({"prompt": "A river.", **body}, path=path, more=more))


async def sent(path: str, *parts: tuple[str, str | bytes]) -> tuple[Received, TruthRecord]:
    return await said(upload(path, form(parts)))


def size_of(picture: bytes) -> tuple[int, int]:
    """Of a PNG that is whole: every chunk has its checksum, and there are all rows."""
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    at, found = 8, {}
    while at < len(picture):
        size, name = struct.unpack_from(">I4s", picture, at)
        data = picture[at + 8 : at + 8 + size]
        assert struct.unpack_from(">I", picture, at + 8 + size) == (zlib.crc32(name + data),)
        found[name] = data
        at += 12 + size
    assert list(found) == [b"IHDR", b"PLTE", b"IDAT", b"IEND"]
    width, height, depth = struct.unpack_from(">IIB", found[b"IHDR"])
    assert len(zlib.decompress(found[b"IDAT"])) == height * (1 + (width * depth + 7) // 8)
    return width, height


async def test_base64_and_tokens_of_gpt() -> None:
    def work(client: openai.OpenAI) -> openai.types.ImagesResponse:
        return client.images.generate(
            model=GPT, prompt="A river.", n=2, size="1536x1024", quality="low"
        )

    answer, simulator = await with_sdk(work)
    [record] = simulator.truth.records()
    assert answer.data is not None
    pictures = [base64.b64decode(image.b64_json or "") for image in answer.data]
    assert [size_of(picture) for picture in pictures] == [(1_536, 1_024)] * 2
    assert pictures[0] != pictures[1]
    assert (answer.quality, answer.size, answer.output_format) == ("low", "1536x1024", "png")
    assert answer.usage is not None
    assert answer.usage.output_tokens == 800
    assert record.consumed == {
        "input_tokens": answer.usage.input_tokens,
        "output_tokens": 800,
        "output_image_tokens": 800,
        "images": 2,
    }


async def test_links_of_dall_e_lead_to_pictures() -> None:
    async with open_simulator(SimulatorSettings()) as simulator:
        body = {"model": DALLE, "prompt": "A river.", "size": "1792x1024"}
        async with httpx.AsyncClient(base_url=simulator.base_url) as client:
            answer = (await client.post(GENERATIONS, json=body)).json()
            [image] = answer["data"]
            picture = await client.get(image["url"])
        [record] = simulator.truth.records()
    assert "usage" not in answer
    assert "A river." in image["revised_prompt"]
    assert picture.headers["content-type"] == "image/png"
    assert size_of(picture.content) == (1_792, 1_024)
    assert record.consumed == {"images": 1}


async def test_previews_then_the_image() -> None:
    def work(client: openai.OpenAI) -> list[Any]:
        stream = client.images.generate(model=GPT, prompt="A river.", stream=True, partial_images=2)
        return list(stream)

    events, simulator = await with_sdk(work)
    [record] = simulator.truth.records()
    names = [event.type.removeprefix("image_generation.") for event in events]
    assert names == ["partial_image", "partial_image", "completed"]
    assert [event.partial_image_index for event in events[:-1]] == [0, 1]
    assert all(size_of(base64.b64decode(event.b64_json)) == (1_024, 1_024) for event in events)
    assert events[-1].usage.output_tokens == 4_160 + 2 * 100
    assert record.consumed["images"] == 1


async def test_what_was_drawn_when_a_stream_is_cut() -> None:
    received, record = await asked(
        model=GPT, prompt="#sim cut_after=1\nA river.", stream=True, partial_images=2
    )
    assert received.body.count(b"event: image_generation.partial_image") == 1
    assert not received.terminated
    assert record.ended == "cut"
    assert record.consumed["output_tokens"] == 100
    assert "images" not in record.consumed


async def test_several_pictures_are_edited() -> None:
    def work(client: openai.OpenAI) -> openai.types.ImagesResponse:
        files: list[Any] = [("a.png", PNG), ("b.png", PNG)]
        return client.images.edit(model=GPT, prompt="A river.", image=files, mask=("m.png", PNG))

    answer, simulator = await with_sdk(work)
    [record] = simulator.truth.records()
    assert answer.usage is not None
    assert answer.usage.input_tokens_details.image_tokens == 3 * 323
    assert record.consumed["input_image_tokens"] == 3 * 323
    assert record.usage_reported == answer.usage.to_dict()


async def test_an_edit_in_json_is_streamed() -> None:
    images = [
        {"image_url": "https://example.com/a.png"},
        {"image_url": "https://example.com/b.png"},
    ]
    received, record = await asked(EDITS, model=GPT, images=images, stream=True)
    assert received.body.startswith(b"event: image_edit.completed\n")
    assert record.consumed["input_image_tokens"] == 2 * 323


async def test_variations() -> None:
    received, record = await sent(VARIATIONS, ("image", PNG), ("n", "2"), ("size", "256x256"))
    images = orjson.loads(received.body)["data"]
    assert ["url" in image for image in images] == [True, True]
    assert (record.api, record.consumed) == ("openai-image-variations", {"images": 2})


@pytest.mark.parametrize(
    ("media", "picture"),
    [
        ("media=half", lambda data: data[:8] == PNG[:8] and data[-8:] != PNG[-8:]),
        ("media=html", lambda data: data.startswith(b"<!DOCTYPE html>")),
        ("media=empty", lambda data: data == b""),
        ("answer_bytes=2000000", lambda data: len(data) == 2_000_000),
    ],
)
async def test_something_else_in_the_place_of_a_picture(media: str, picture: Any) -> None:
    received, _ = await asked(model=GPT, prompt=f"#sim {media}\nA river.")
    [image] = orjson.loads(received.body)["data"]
    assert picture(base64.b64decode(image["b64_json"]))
    async with (
        open_simulator(SimulatorSettings()) as simulator,
        httpx.AsyncClient(base_url=simulator.base_url) as client,
    ):
        body = {"prompt": f"#sim {media}\nA river.", "size": "256x256"}
        answer = (await client.post(GENERATIONS, json=body)).json()
        assert picture((await client.get(answer["data"][0]["url"])).content)


async def test_a_jpeg_has_its_size() -> None:
    received, _ = await asked(model=GPT, output_format="jpeg", size="1024x1536")
    answer = orjson.loads(received.body)
    picture = base64.b64decode(answer["data"][0]["b64_json"])
    assert picture == jpeg(1_024, 1_536, bytes.fromhex(picture[24:56].decode()))
    frame = picture.index(b"\xff\xc0")
    assert struct.unpack_from(">HH", picture, frame + 5) == (1_536, 1_024)
    assert picture.endswith(b"\0\xff\xd9")
    assert answer["output_format"] == "jpeg"


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"prompt": None}, "prompt", "missing_required_parameter"),
        ({"prompt": ""}, "prompt", "empty_string"),
        ({"prompt": "a" * 1_001}, "prompt", "string_above_max_length"),
        ({"model": GPT, "response_format": "url"}, "response_format", "unknown_parameter"),
        ({"model": GPT, "size": "256x256"}, "size", "invalid_value"),
        ({"model": GPT, "n": 11}, "n", "integer_above_max_value"),
        ({"model": GPT, "partial_images": 1}, "partial_images", None),
        ({"model": GPT, "output_format": "webp"}, "output_format", "unsupported_format"),
        ({"model": GPT, "input_fidelity": "high"}, "input_fidelity", "unknown_parameter"),
        ({"model": DALLE, "n": 2}, "n", "integer_above_max_value"),
        ({"model": OLD, "style": "vivid"}, "style", "unknown_parameter"),
        ({"model": 5}, "model", "invalid_type"),
        ({"model": GPT, "prompt": "#sim refuse=prompt\n"}, None, "moderation_blocked"),
    ],
)
async def test_refuses(body: dict[str, Any], param: str, code: str) -> None:
    received, record = await asked(**body)
    assert received.status == 400
    error = orjson.loads(received.body)["error"]
    assert (error["param"], error["code"]) == (param, code)
    assert record.consumed == {}


@pytest.mark.parametrize(
    ("path", "parts", "param"),
    [
        (EDITS, [("image", PNG)], "prompt"),
        (EDITS, [("prompt", "a")], "image"),
        (EDITS, [("prompt", "a"), ("image", b"GIF89a")], "image"),
        (EDITS, [("prompt", "a"), ("image", PNG), ("image", PNG)], "image"),
        (EDITS, [("prompt", "a"), ("image", PNG), ("mask", PNG), ("mask", PNG)], "mask"),
        (EDITS, [("prompt", "a"), ("image", PNG), ("model", DALLE)], "model"),
        (EDITS, [("prompt", "a"), ("image[]", PNG), ("model", GPT), ("n", "x")], "n"),
        (VARIATIONS, [("image", PNG), ("model", GPT)], "model"),
        (VARIATIONS, [("image", PNG), ("prompt", "a")], "prompt"),
        (VARIATIONS, [("image", "text")], "image"),
    ],
)
async def test_refuses_uploads(path: str, parts: list[tuple[str, str | bytes]], param: str) -> None:
    received, _ = await sent(path, *parts)
    assert received.status == 400
    assert orjson.loads(received.body)["error"]["param"] == param


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "images"),
        ({"images": {}}, "images"),
        ({"images": []}, "images"),
        ({"images": ["a"]}, "images[0]"),
        ({"images": [{}]}, "images[0].image_url"),
        ({"images": [{"file_id": "a"}], "mask": {}}, "mask.image_url"),
    ],
)
async def test_refuses_edits_in_json(body: dict[str, Any], param: str) -> None:
    received, _ = await asked(EDITS, model=GPT, **body)
    assert received.status == 400
    assert orjson.loads(received.body)["error"]["param"] == param
