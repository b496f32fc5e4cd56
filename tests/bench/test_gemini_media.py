"""Speech and pictures of Gemini in the simulated provider: by Google's SDK, and what it refuses."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest
from google import genai
from google.genai import types

from bench.simulate import SimulatorSettings, TruthRecord, open_simulator
from tests.bench.raw import Received, converse, post
from tests.bench.test_images import size_of
from tests.bench.test_sdk_gemini import with_sdk
from tests.bench.uploads import sound

MODEL = "sim-gemini"
SPEAK: dict[str, Any] = {"responseModalities": ["AUDIO"]}


async def asked(
    text: str, config: dict[str, Any], *parts: dict[str, Any]
) -> tuple[Received, TruthRecord]:
    body: dict[str, object] = {
        "contents": [{"role": "user", "parts": [{"text": text}, *parts]}],
        "generationConfig": config,
    }
    async with open_simulator(SimulatorSettings()) as simulator:
        path = f"/v1beta/models/{MODEL}:generateContent"
        data = post(body, path=path, more="connection: close\r\n")
        received = await converse(simulator.port, data)
        assert simulator.statistics().crashes == 0
        [record] = simulator.truth.records()
        return received, record


def media_of(response: types.GenerateContentResponse) -> list[types.Blob]:
    return [part.inline_data for part in response.parts or () if part.inline_data is not None]


async def test_speech_whole_and_streamed_is_the_same() -> None:
    def work(client: genai.Client) -> list[list[types.GenerateContentResponse]]:
        voice = types.PrebuiltVoiceConfig(voice_name="Kore")
        config = types.GenerateContentConfig(
            response_modalities=["AUDIO"],
            speech_config=types.SpeechConfig(
                voice_config=types.VoiceConfig(prebuilt_voice_config=voice)
            ),
        )
        text = "Rivers are long."
        models = client.models
        return [
            [models.generate_content(model=MODEL, contents=text, config=config)],
            [*models.generate_content_stream(model=MODEL, contents=text, config=config)],
        ]

    (whole, streamed), simulator = await with_sdk(work)
    [blob] = media_of(whole[0])
    assert blob.mime_type == "audio/L16;codec=pcm;rate=24000"
    assert blob.data is not None
    assert len(blob.data) == 24_000 * 2 * 0.96  # 16 characters of 60 ms
    pieces = [one for response in streamed for one in media_of(response)]
    assert len(pieces) == 8
    for record in simulator.truth.records():
        assert record.consumed == {
            "input_tokens": record.input_tokens,
            "output_tokens": 24,
            "output_audio_tokens": 24,
            "milliseconds": 960,
        }
        usage = record.usage_reported
        assert usage is not None
        assert usage["candidatesTokenCount"] == 24
        assert usage["candidatesTokensDetails"] == [{"modality": "AUDIO", "tokenCount": 24}]


async def test_a_picture_after_some_text() -> None:
    def work(client: genai.Client) -> types.GenerateContentResponse:
        config = types.GenerateContentConfig(
            response_modalities=["TEXT", "IMAGE"],
            image_config=types.ImageConfig(aspect_ratio="16:9"),
        )
        text = "#sim tokens=5\nDraw a river."
        return client.models.generate_content(model=MODEL, contents=text, config=config)

    response, simulator = await with_sdk(work)
    [record] = simulator.truth.records()
    [blob] = media_of(response)
    assert (response.parts or [])[0].text == record.text
    assert blob.mime_type == "image/png"
    assert size_of(blob.data or b"") == (1_344, 768)
    assert record.consumed["images"] == 1
    assert record.consumed["output_tokens"] == 5 + 1_290
    usage = response.usage_metadata
    assert usage is not None
    assert usage.candidates_token_count == 5 + 1_290
    assert usage.candidates_tokens_details is not None
    assert usage.candidates_tokens_details[0].token_count == 1_290


async def test_media_it_gets_is_counted() -> None:
    heard = {"mimeType": "audio/wav", "data": base64.b64encode(sound(2.5)).decode()}
    seen = {"mimeType": "image/png", "data": "aaaa"}
    bare, before = await asked("Listen.", {})
    received, record = await asked("Listen.", {}, {"inlineData": heard}, {"inlineData": seen})
    assert record.input_tokens == before.input_tokens + 80 + 258
    assert record.consumed["milliseconds"] == 2_500
    details = orjson.loads(received.body)["usageMetadata"]["promptTokensDetails"]
    assert details == [
        {"modality": "TEXT", "tokenCount": before.input_tokens},
        {"modality": "IMAGE", "tokenCount": 258},
        {"modality": "AUDIO", "tokenCount": 80},
    ]
    assert orjson.loads(bare.body)["usageMetadata"]["promptTokensDetails"] == details[:1]


@pytest.mark.parametrize(
    ("media", "data"), [("html", b"<!DOCTYPE"), ("empty", b""), ("half", b"\x89PNG")]
)
async def test_something_else_in_the_place_of_a_picture(media: str, data: bytes) -> None:
    received, _ = await asked(f"#sim media={media}\nDraw.", {"responseModalities": ["IMAGE"]})
    [part] = orjson.loads(received.body)["candidates"][0]["content"]["parts"]
    found = base64.b64decode(part["inlineData"]["data"])
    assert found.startswith(data)
    assert b"IEND" not in found


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"responseModalities": ["TEXT", "AUDIO"]}, "(AUDIO, TEXT) is not supported"),
        ({"responseModalities": ["VIDEO"]}, "(VIDEO) is not supported"),
        (SPEAK | {"candidateCount": 2}, "Multiple candidates"),
        (
            {"responseModalities": ["IMAGE"], "imageConfig": {"aspectRatio": "7:5"}},
            "aspect_ratio",
        ),
    ],
)
async def test_refuses(config: dict[str, Any], says: str) -> None:
    received, record = await asked("Say it.", config)
    assert received.status == 400
    assert says in orjson.loads(received.body)["error"]["message"]
    assert record.consumed == {}
