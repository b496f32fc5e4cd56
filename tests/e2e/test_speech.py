"""Text to speech: OpenAI's SDK over real sockets, metered by the character or by what is said."""

from __future__ import annotations

import base64
import io
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import openai
import orjson
import pytest
import trio
from openai import AsyncOpenAI, OpenAI

from tests.e2e.sdks import one_truth
from tests.gateways import HTTP2, settled
from tests.served import RawStream, Served, open_served, raw_request

SPEECH = f"""
[providers.voices]
protocol = "openai"
base_url = "$SIM/v1"
http2 = "{HTTP2}"
[models.tts-1]
deployments = [{{ provider = "voices", model = "tts-1" }}]
price = {{ characters = 15 }}
[models.gpt-4o-mini-tts]
deployments = [{{ provider = "voices", model = "gpt-4o-mini-tts" }}]
price = {{ input = 0.6, output = 12 }}
[models.gemini-tts]
deployments = [{{ provider = "sim-gemini", model = "sim-gemini" }}]
price = {{ input = 0.5, output = 10 }}
[models.speaker]
deployments = [{{ provider = "voices", model = "tts-1", capabilities = {{ serves = ["speech"] }} }}]
price = {{ characters = 15 }}
[models.reader]
deployments = [{{ provider = "voices", model = "tts-1" }}]
price = {{ characters = 15 }}
fallbacks = ["tts-1-hd"]
[models.tts-1-hd]
deployments = [{{ provider = "voices", model = "tts-1-hd" }}]
price = {{ characters = 30 }}
"""
TEXT = "Rivers are long."
CHARACTER_NANODOLLARS = 15_000


@asynccontextmanager
async def open_sdk(folder: Path, **options: Any) -> AsyncIterator[tuple[Served, AsyncOpenAI]]:
    async with (
        open_served(folder, models=SPEECH, **options) as served,
        AsyncOpenAI(base_url=served.url, api_key=served.setup.key, max_retries=0) as client,
    ):
        yield served, client


async def test_sound_is_paid_by_the_character(tmp_path: Path) -> None:
    async with open_sdk(tmp_path) as (served, client):
        answer = await client.audio.speech.with_raw_response.create(
            model="tts-1", input=TEXT, voice="alloy", response_format="wav"
        )
        assert answer.headers["content-type"] == "audio/wav"
        assert answer.headers["x-model-used"] == "tts-1"
        with wave.open(io.BytesIO(answer.content)) as sound:
            assert sound.getnframes() == 24_000 * 0.96
        receipt = await served.receipt(answer.headers["x-request-id"])
        truth = one_truth(served)
        assert (receipt["operation"], receipt["outcome"]) == ("speech", "completed")
        assert receipt["usage"]["characters"] == truth.consumed["characters"] == len(TEXT)
        assert receipt["usage_provenance"]["characters"] == receipt["provenance"] == "flat"
        assert receipt["price"]["nanodollars"] == len(TEXT) * CHARACTER_NANODOLLARS


def _speak(url: str, key: str, **options: Any) -> tuple[str, bytes]:
    with (
        OpenAI(base_url=url, api_key=key, max_retries=0) as client,
        client.audio.speech.with_streaming_response.create(
            model="tts-1", input=TEXT, voice="alloy", **options
        ) as answer,
    ):
        return answer.headers["content-type"], b"".join(answer.iter_bytes(64))


@pytest.mark.parametrize(
    ("kind", "called"), [("mp3", "audio/mpeg"), ("wav", "audio/wav"), ("pcm", "audio/pcm")]
)
async def test_it_streams_to_the_sync_client(tmp_path: Path, kind: str, called: str) -> None:
    async with open_sdk(tmp_path) as (served, _):

        def speak() -> tuple[str, bytes]:
            return _speak(served.url, served.setup.key, response_format=kind)

        content_type, data = await trio.to_thread.run_sync(speak)
        assert content_type == called
        assert len(data) > 1_000


async def test_events_are_paid_by_what_the_provider_says(tmp_path: Path) -> None:
    async with open_sdk(tmp_path) as (served, client):
        async with client.audio.speech.with_streaming_response.create(
            model="gpt-4o-mini-tts", input=TEXT, voice="alloy", stream_format="sse"
        ) as answer:
            request_id = answer.headers["x-request-id"]
            assert answer.headers["content-type"].startswith("text/event-stream")
            events = [line async for line in answer.iter_lines()]
        assert '"speech.audio.done"' in events[-2]
        assert '"credits":' in events[-2], "it says what it has cost"
        receipt = await served.receipt(request_id)
        reported = one_truth(served).usage_reported
        assert reported is not None
        assert receipt["usage"]["input_tokens"] == reported["input_tokens"]
        assert receipt["usage"]["output_tokens"] == reported["output_tokens"]
        assert receipt["provenance"] == "reported"
        assert receipt["price"]["nanodollars"] == (
            600 * reported["input_tokens"] + 12_000 * reported["output_tokens"]
        )


@pytest.mark.parametrize(("model", "form"), [("tts-1", "audio"), ("gpt-4o-mini-tts", "sse")])
@pytest.mark.parametrize(
    "directives", ["media=html", "media=empty", "fault=error_ok", "status=500", "fault=html"]
)
async def test_what_is_no_sound_is_a_fault_that_costs_nothing(
    tmp_path: Path, directives: str, model: str, form: Any
) -> None:
    async with open_sdk(tmp_path) as (served, client):
        with pytest.raises(openai.InternalServerError) as failed:
            await client.audio.speech.create(
                model=model,
                input=f"#sim {directives}\n{TEXT}",
                voice="alloy",
                stream_format=form,
            )
        receipt = await served.receipt(failed.value.response.headers["x-request-id"])
        assert receipt["outcome"] == "upstream_failed"
        assert receipt["price"]["nanodollars"] == 0


async def _take_all(pieces: AsyncIterator[bytes]) -> None:
    async for _ in pieces:
        pass


async def test_half_a_sound_does_not_look_like_a_whole_one(tmp_path: Path) -> None:
    async with open_sdk(tmp_path) as (served, client):
        async with client.audio.speech.with_streaming_response.create(
            model="tts-1", input=f"#sim fault=cut cut_after=4\n{TEXT}", voice="alloy"
        ) as answer:
            pieces = answer.iter_bytes(64)
            assert await anext(pieces)
            with pytest.raises(httpx2.RemoteProtocolError):
                await _take_all(pieces)
        receipt = await served.receipt(answer.headers["x-request-id"])
        assert receipt["outcome"] == "upstream_failed"
        characters = receipt["usage"]["characters"]
        assert receipt["price"]["nanodollars"] == characters * CHARACTER_NANODOLLARS


async def test_who_leaves_pays_what_was_taken(tmp_path: Path) -> None:
    async with open_sdk(tmp_path) as (served, _):
        text = f"#sim media_ms=60000 tokens_per_second=20\n{TEXT}"
        body = orjson.dumps({"model": "tts-1", "input": text, "voice": "alloy"})
        async with await trio.open_tcp_stream("127.0.0.1", served.port) as connection:
            await connection.send_all(raw_request(served, "/v1/audio/speech", body))
            stream = RawStream(connection)
            await stream.read_head()
        receipt = await served.receipt(stream.headers["x-request-id"])
        assert receipt["outcome"] == "client_left"
        assert receipt["price"]["nanodollars"] == len(text) * CHARACTER_NANODOLLARS
        await settled(lambda: one_truth(served).ended == "reset")


async def test_another_one_speaks_where_the_first_fails(tmp_path: Path) -> None:
    async with open_sdk(tmp_path, routing="breaker = { failures = 0 }") as (served, client):
        served.setup.sim.behave("tts-1", "status=500")
        answer = await client.audio.speech.with_raw_response.create(
            model="reader", input=TEXT, voice="alloy"
        )
        assert answer.headers["x-model-used"] == "tts-1-hd"
        assert answer.headers["x-fallback-from"] == "voices/tts-1"
        receipt = await served.receipt(answer.headers["x-request-id"])
        assert [row["outcome"] for row in receipt["attempts"]] == [
            "upstream_rejected", "upstream_rejected", "completed",
        ]  # fmt: skip
        assert receipt["price"]["nanodollars"] == 2 * len(TEXT) * CHARACTER_NANODOLLARS


async def test_who_cannot_pay_is_not_read_to(tmp_path: Path) -> None:
    funds = len(TEXT) * CHARACTER_NANODOLLARS - 1
    async with open_sdk(tmp_path, funds_nanodollars=funds) as (served, client):
        with pytest.raises(openai.APIStatusError) as refused:
            await client.audio.speech.create(model="tts-1", input=TEXT, voice="alloy")
        assert refused.value.status_code == 402
        assert not served.setup.sim.truth.records()


async def test_a_field_that_is_wrong_is_named(tmp_path: Path) -> None:
    async with open_sdk(tmp_path) as (served, client):
        with pytest.raises(openai.BadRequestError) as refused:
            await client.audio.speech.create(model="tts-1", input="a" * 4_097, voice="alloy")
        assert refused.value.param == "input"
        with pytest.raises(openai.BadRequestError) as refused:
            await client.audio.speech.create(model="sim-anthropic", input=TEXT, voice="alloy")
        assert refused.value.code == "not_supported_by_model"
        assert not served.setup.sim.truth.records()


async def test_gemini_reads_too(tmp_path: Path) -> None:
    async with open_sdk(tmp_path) as (served, client):
        create = client.audio.speech.with_raw_response.create
        answer = await create(model="gemini-tts", input=TEXT, voice="Kore", response_format="wav")
        assert answer.headers["content-type"] == "audio/wav"
        with wave.open(io.BytesIO(answer.content)) as sound:
            assert (sound.getframerate(), sound.getnchannels()) == (24_000, 1)
        receipt = await served.receipt(answer.headers["x-request-id"])
        reported = one_truth(served).usage_reported
        assert reported is not None
        assert receipt["usage"]["output_tokens"] == reported["candidatesTokenCount"]
        assert receipt["provenance"] == "reported"
        assert receipt["price"]["nanodollars"] == (
            500 * reported["promptTokenCount"] + 10_000 * reported["candidatesTokenCount"]
        )
        raw = await create(model="gemini-tts", input=TEXT, voice="Kore", response_format="pcm")
        assert raw.content == answer.content[44:]
        with pytest.raises(openai.BadRequestError, match="'wav' or 'pcm'") as refused:
            await client.audio.speech.create(model="gemini-tts", input=TEXT, voice="Kore")
        assert (refused.value.code, refused.value.param) == (
            "not_supported_by_model", "response_format",
        )  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
async def test_a_chat_of_geminis_is_read_aloud(tmp_path: Path, stream: bool) -> None:
    voice = {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "nova"}}}
    document = {
        "contents": [{"parts": [{"text": TEXT}]}],
        "generationConfig": {"responseModalities": ["AUDIO"], "speechConfig": voice},
    }
    verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
    async with open_sdk(tmp_path) as (served, _), served.http() as client:
        url = f"{served.origin}/v1beta/models/speaker:{verb}"
        answer = await client.post(url, json=document)
        assert answer.status_code == 200, answer.text
        lines = answer.text.replace("data: ", "").splitlines() if stream else [answer.text]
        chunks = [orjson.loads(line) for line in lines if line]
        parts = [p for chunk in chunks for p in chunk["candidates"][0]["content"]["parts"]]
        sound = [p["inlineData"] for p in parts if "inlineData" in p]
        assert sound[0]["mimeType"] == "audio/L16;codec=pcm;rate=24000"
        samples = b"".join(base64.b64decode(piece["data"]) for piece in sound)
        assert len(samples) == 24_000 * 2 * 0.96
        receipt = await served.receipt(answer.headers["x-request-id"])
        assert receipt["price"]["nanodollars"] == len(TEXT) * CHARACTER_NANODOLLARS
        assert one_truth(served).api == "openai-speech"


async def test_a_sound_that_is_cancelled_does_not_look_whole(tmp_path: Path) -> None:
    async with open_sdk(tmp_path) as (served, client), served.http() as http:
        text = f"#sim media_ms=60000 tokens_per_second=20\n{TEXT}"
        async with client.audio.speech.with_streaming_response.create(
            model="tts-1", input=text, voice="alloy"
        ) as answer:
            pieces = answer.iter_bytes(64)
            assert await anext(pieces)
            request_id = answer.headers["x-request-id"]
            cancelled = await http.post(f"/receipts/{request_id}/cancel")
            assert cancelled.json()["flags"] == ["cancelled"]
            with pytest.raises(httpx2.RemoteProtocolError):
                await _take_all(pieces)
