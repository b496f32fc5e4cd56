"""Transcriptions: OpenAI's SDK over real sockets, paid by the second or by tokens."""

from __future__ import annotations

import base64
import io
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import orjson
import pytest
import trio
from openai import AsyncOpenAI, OpenAI

from bench.simulate import TruthRecord
from tests.gateways import HTTP2, settled
from tests.served import RawStream, Served, open_served
from tests.sounds import wav

TRANSCRIBING = f"""
[providers.ears]
protocol = "openai"
base_url = "$SIM/v1"
http2 = "{HTTP2}"
[models.whisper-1]
deployments = [{{ provider = "ears", model = "whisper-1" }}]
price = {{ seconds = 0.0001 }}
fallbacks = ["gpt-4o-transcribe"]
[models.gemini]
deployments = [{{ provider = "sim-gemini", model = "sim-gemini" }}]
price = {{ input = 1, output = 2 }}
[models.gpt-4o-transcribe]
deployments = [{{ provider = "ears", model = "gpt-4o-transcribe" }}]
price = {{ input = 2.5, output = 10 }}
[models.gpt-4o-transcribe-diarize]
deployments = [{{ provider = "ears", model = "gpt-4o-transcribe-diarize" }}]
price = {{ input = 2.5, output = 10 }}
"""
SECOND_NANODOLLARS = 100_000
SOUND = wav(2_340)
LARGE = wav(700_000)
"""5.6 MB: it waits in files."""


def upload(sound: bytes = SOUND) -> tuple[str, io.BytesIO]:
    return "speech.wav", io.BytesIO(sound)


@asynccontextmanager
async def open_sdk(folder: Path, **options: Any) -> AsyncIterator[tuple[Served, AsyncOpenAI]]:
    async with (
        open_served(folder, models=TRANSCRIBING, **options) as served,
        AsyncOpenAI(base_url=served.url, api_key=served.setup.key, max_retries=0) as client,
    ):
        yield served, client


async def checked(served: Served, request_id: str) -> tuple[dict[str, Any], TruthRecord]:
    """The receipt of a request that went well, and what the provider knows of it."""
    receipt = await served.receipt(request_id)
    truth = served.setup.sim.truth.record(request_id)
    assert receipt["outcome"] == "completed"
    assert truth is not None
    return receipt, truth


async def test_whole_answers_are_paid_by_what_the_provider_says(tmp_path: Path) -> None:
    async with open_sdk(tmp_path) as (served, client):
        create = client.audio.transcriptions.with_raw_response.create
        for sound in (SOUND, LARGE):
            answer = await create(model="whisper-1", file=upload(sound), language="en")
            receipt, truth = await checked(served, answer.headers["x-request-id"])
            assert truth.usage_reported is not None
            seconds = truth.usage_reported["seconds"]
            assert receipt["operation"] == "transcribe"
            assert receipt["usage"]["milliseconds"] == seconds * 1_000
            assert receipt["provenance"] == "reported"
            assert receipt["price"]["nanodollars"] == seconds * SECOND_NANODOLLARS
            assert float(answer.headers["x-credits-used"]) == pytest.approx(seconds * 0.1)
            assert orjson.loads(answer.content)["usage"]["credits"] == pytest.approx(seconds * 0.1)
        answer = await create(model="gpt-4o-transcribe", file=upload(), prompt="On flumes.")
        receipt, truth = await checked(served, answer.headers["x-request-id"])
        said = truth.usage_reported
        assert said is not None
        assert receipt["usage"]["input_tokens"] == said["input_tokens"]
        assert receipt["price"]["nanodollars"] == (
            2_500 * said["input_tokens"] + 10_000 * said["output_tokens"]
        )


async def test_every_format(tmp_path: Path) -> None:
    async with open_sdk(tmp_path) as (served, client):
        create = client.audio.transcriptions.create
        kinds: list[Any] = ["text", "srt", "vtt"]
        for kind in kinds:
            answer = await client.audio.transcriptions.with_raw_response.create(
                model="whisper-1", file=upload(), response_format=kind
            )
            assert answer.headers["content-type"].startswith("text/plain")
            assert answer.text
            receipt, truth = await checked(served, answer.headers["x-request-id"])
            assert receipt["usage"]["milliseconds"] == truth.consumed["milliseconds"] == 2_340
            assert receipt["provenance"] == "flat", "such an answer says nothing of it"
            assert receipt["price"]["nanodollars"] == 2_340 * SECOND_NANODOLLARS // 1_000
        spoken = await create(
            model="gpt-4o-transcribe-diarize", file=upload(), response_format="diarized_json"
        )
        assert spoken.segments[0].speaker
        timed = await create(
            model="whisper-1",
            file=upload(),
            response_format="verbose_json",
            timestamp_granularities=["word", "segment"],
        )
        assert timed.words
        assert timed.segments


# The SDK stops at `[DONE]` and leaves its own generators behind.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_stream(tmp_path: Path) -> None:
    async with open_sdk(tmp_path) as (served, client):
        raw = await client.audio.transcriptions.with_raw_response.create(
            model="gpt-4o-transcribe", file=upload(), stream=True
        )
        async with raw.parse() as stream:
            events = [event async for event in stream]
        text = "".join(e.delta for e in events if e.type == "transcript.text.delta")
        assert events[-1].type == "transcript.text.done"
        assert events[-1].text == text
        receipt, truth = await checked(served, raw.headers["x-request-id"])
        assert truth.usage_reported is not None
        assert receipt["usage"]["output_tokens"] == truth.usage_reported["output_tokens"]
        assert receipt["stream"] is True


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
async def test_the_sync_client_and_json(tmp_path: Path) -> None:
    async with open_sdk(tmp_path) as (served, _), served.http() as http:

        def transcribe() -> tuple[bytes, bytes]:
            with OpenAI(base_url=served.url, api_key=served.setup.key, max_retries=0) as client:
                raw = client.audio.translations.with_raw_response
                text = raw.create(model="whisper-1", file=upload()).content
                with client.audio.transcriptions.with_streaming_response.create(
                    model="whisper-1", file=upload(), response_format="srt"
                ) as answer:
                    return text, answer.read()

        text, subtitles = await trio.to_thread.run_sync(transcribe)
        assert orjson.loads(text)["text"]
        assert b" --> " in subtitles
        for sound in (SOUND, LARGE):
            file = f"data:audio/wav;base64,{base64.b64encode(sound).decode()}"
            document = {"model": "whisper-1", "file": file, "response_format": "verbose_json"}
            answer = await http.post("/audio/transcriptions", json=document)
            assert answer.status_code == 200, answer.text
            receipt, truth = await checked(served, answer.headers["x-request-id"])
            assert truth.consumed["milliseconds"] == len(sound[44:]) // 8
            assert receipt["usage"]["milliseconds"] >= truth.consumed["milliseconds"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_gemini_listens_too(tmp_path: Path) -> None:
    async with open_sdk(tmp_path) as (served, client):
        create = client.audio.transcriptions.with_raw_response.create
        for sound in (SOUND, LARGE):
            answer = await create(model="gemini", file=upload(sound), language="en")
            receipt, truth = await checked(served, answer.headers["x-request-id"])
            assert orjson.loads(answer.content)["text"] == truth.text.strip()
            assert truth.consumed["milliseconds"] == len(sound[44:]) // 8
            assert truth.usage_reported is not None
            tokens = truth.usage_reported["promptTokenCount"]
            assert receipt["usage"]["input_tokens"] == tokens
            assert receipt["provenance"] == "reported"
        plain = await create(model="gemini", file=upload(), response_format="text")
        assert plain.headers["content-type"].startswith("text/plain")
        async with (await create(model="gemini", file=upload(), stream=True)).parse() as stream:
            events = [event async for event in stream]
        assert events[-1].type == "transcript.text.done"
        with pytest.raises(openai.BadRequestError, match="'json' or 'text'"):
            await create(model="gemini", file=upload(), response_format="srt")


async def test_another_one_listens_where_the_first_fails(tmp_path: Path) -> None:
    async with open_sdk(tmp_path, routing="breaker = { failures = 0 }") as (served, client):
        served.setup.sim.behave("whisper-1", "status=500")
        for sound in (SOUND, LARGE):
            answer = await client.audio.transcriptions.with_raw_response.create(
                model="whisper-1", file=upload(sound)
            )
            assert answer.headers["x-model-used"] == "gpt-4o-transcribe"
            assert answer.headers["x-fallback-from"] == "ears/whisper-1"
            receipt = await served.receipt(answer.headers["x-request-id"])
            usage = receipt["usage"]
            assert receipt["price"]["nanodollars"] == (
                2_500 * usage["input_tokens"] + 10_000 * usage["output_tokens"]
            )
        await settled(lambda: served.setup.gateway.spool.used_bytes == 0)


async def test_what_is_no_transcript_costs_nothing(tmp_path: Path) -> None:
    faults = ["fault=html", "fault=error_ok", "status=500"]
    kinds: list[Any] = ["json", "text"]
    async with open_sdk(tmp_path) as (served, client):
        for fault, kind in itertools.product(faults, kinds):
            with pytest.raises(openai.APIStatusError) as failed:
                await client.audio.transcriptions.create(
                    model="gpt-4o-transcribe",
                    file=upload(),
                    prompt=f"#sim {fault}\nTell me.",
                    response_format=kind,
                )
            assert failed.value.status_code >= 500, (fault, kind)
            receipt = await served.receipt(failed.value.response.headers["x-request-id"])
            assert (receipt["outcome"], receipt["price"]["nanodollars"]) == ("upstream_failed", 0)


def form_request(served: Served, fields: dict[str, str], sound: bytes = SOUND) -> bytes:
    """A request over HTTP/1.1 with a form."""
    parts = b"".join(
        b'--cut\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
        % (name.encode(), value.encode())
        for name, value in fields.items()
    )
    head = b'--cut\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    body = parts + head + sound + b"\r\n--cut--\r\n"
    return (
        b"POST /v1/audio/transcriptions HTTP/1.1\r\nhost: localhost\r\n"
        b"authorization: Bearer %b\r\ncontent-type: multipart/form-data; boundary=cut\r\n"
        b"content-length: %d\r\n\r\n%b" % (served.setup.key.encode(), len(body), body)
    )


async def left(served: Served, fields: dict[str, str], *, after_head: bool) -> dict[str, Any]:
    """The receipt of a request whose client leaves while it is answered."""
    known = served.setup.sim.truth
    before = len(known.records())
    async with await trio.open_tcp_stream("127.0.0.1", served.port) as connection:
        await connection.send_all(form_request(served, fields))
        if after_head:
            await RawStream(connection, b"\r\n\r\n").read_head()
        else:
            await settled(lambda: len(known.records()) > before)
    truth = known.records()[-1]
    await settled(lambda: truth.ended == "reset")
    return await served.receipt(truth.request_id)


async def test_who_leaves(tmp_path: Path) -> None:
    async with open_sdk(tmp_path) as (served, _):
        fields = {"model": "gpt-4o-transcribe", "prompt": "#sim first_token_ms=60000\nHm."}
        receipt = await left(served, fields, after_head=False)
        assert receipt["outcome"] == "client_left"
        assert receipt["price"]["nanodollars"] == 0, "a whole answer that never came"

        fields["prompt"] = "#sim tokens=100000 tokens_per_second=50\nHm."
        receipt = await left(served, fields | {"stream": "true"}, after_head=True)
        assert (receipt["outcome"], receipt["provenance"]) == ("client_left", "counted")
        usage = receipt["usage"]
        assert 0 < usage["output_tokens"] < 1_000
        assert receipt["price"]["nanodollars"] == (
            2_500 * usage["input_tokens"] + 10_000 * usage["output_tokens"]
        )


async def test_who_leaves_while_it_uploads_leaves_nothing(tmp_path: Path) -> None:
    async with open_sdk(tmp_path) as (served, _):
        spool = served.setup.gateway.spool
        request = form_request(served, {"model": "whisper-1"}, LARGE)
        async with await trio.open_tcp_stream("127.0.0.1", served.port) as connection:
            await connection.send_all(request[:-100])
            await settled(lambda: spool.used_bytes > 0)
        await settled(lambda: spool.used_bytes == 0)
        assert not served.setup.sim.truth.records()


async def test_a_form_that_is_sent_again_has_another_boundary(tmp_path: Path) -> None:
    async with open_sdk(tmp_path) as (served, client):
        for key, sound, kind in (("a", SOUND, "text"), ("b", LARGE, "json")):
            first, second = [
                await client.audio.transcriptions.with_raw_response.create(
                    model="whisper-1",
                    file=upload(sound),
                    response_format=kind,  # type: ignore[call-overload]
                    extra_headers={"idempotency-key": key},
                )
                for _ in range(2)
            ]
            assert (
                first.http_request.headers["content-type"]
                != (second.http_request.headers["content-type"])
            )
            assert second.headers["idempotent-replayed"] == "true"
            assert second.headers["content-type"] == first.headers["content-type"]
            assert second.content == first.content
        assert len(served.setup.sim.truth.records()) == 2
        with pytest.raises(openai.ConflictError):
            await client.audio.transcriptions.create(
                model="whisper-1", file=upload(LARGE), extra_headers={"idempotency-key": "a"}
            )


async def test_what_is_not_sent(tmp_path: Path) -> None:
    async with open_sdk(tmp_path, funds_nanodollars=SECOND_NANODOLLARS) as (served, client):
        with pytest.raises(openai.APIStatusError) as refused:
            await client.audio.transcriptions.create(model="whisper-1", file=upload())
        assert refused.value.status_code == 402
        with pytest.raises(openai.BadRequestError) as unknown:
            await client.audio.transcriptions.create(model="sim-anthropic", file=upload())
        assert (unknown.value.code, unknown.value.param) == ("not_supported_by_model", "model")
        assert not served.setup.sim.truth.records()
