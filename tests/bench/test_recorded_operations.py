"""What real providers were recorded to answer, the simulated one answers in the same shape."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from bench.simulate import SimulatorSettings, open_simulator
from tests.bench.raw import Received, converse, post
from tests.bench.recordings import needs_recordings, read_recording
from tests.bench.uploads import form, sound, upload

OTEL = "openai-embeddings/opentelemetry-python-contrib--"
GOOGLE = "gemini-batchEmbedContents/llm-gemini--gemini-test-embedding-"
RERANK = (
    "cohere-rerank/openinference--haystack-tests-openinference-haystack-cassettes-test-"
    "instrumentor-test-cohere-reranke-3aba92.json"
)
SPEECH = "openai-audio-speech/ruby-openai--speech-tts-1-test.json"
MODERATION = "openai-moderations/ruby-openai--moderations-have-a-great-day.json"
PIPELINE = (
    "openai-audio-transcriptions/logfire--otel-integrations-cassettes-test-openai-agents-test-"
    "voice-pipeline.json"
)
UNKNOWN_FIELD = (
    "openai-images-generations/ai--openai-src-image-fixtures-gpt-image-response-format-error.json"
)


def shape(document: Any) -> Any:
    """Names and types; of a list, those of its first element."""
    match document:
        case dict():
            return {name: shape(value) for name, value in document.items()}
        case [first, *_]:
            return [shape(first)]
        case _:
            return type(document).__name__


async def answered(data: bytes, directives: str = "") -> Received:
    async with open_simulator(SimulatorSettings(any_model=True)) as simulator:
        simulator.behave(None, directives)
        return await converse(simulator.port, data)


@needs_recordings
@pytest.mark.parametrize(
    ("name", "told", "more"),
    [
        (f"{OTEL}embeddings-with-dimensions.json", "", {}),
        (f"{OTEL}async-embeddings-with-encoding-format.json", "", {}),
        (f"{GOOGLE}gemini-embedding-001-768.json", "", {}),
        (f"{GOOGLE}batch.json", "usage=always", {}),
        (RERANK, "", {}),
        (MODERATION, "", {"model": "text-moderation-latest"}),
    ],
)
async def test_the_shape_of_an_answer(name: str, told: str, more: dict[str, Any]) -> None:
    recorded = read_recording(name)
    asked = recorded["request"]
    data = post(asked["body"] | more, path=asked["path"], more="connection: close\r\n")
    received = await answered(data, told)
    assert received.status == recorded["response"]["status"] == 200
    theirs = orjson.loads(recorded["response"]["body"])
    assert shape(orjson.loads(received.body)) == shape(theirs)


@needs_recordings
@pytest.mark.parametrize(
    "name",
    [
        f"{OTEL}embeddings-model-not-found.json",
        "gemini-batchEmbedContents/pydantic-ai--embeddings-testgoogle.test-embed-error.json",
    ],
)
async def test_the_words_of_a_model_that_is_not_there(name: str) -> None:
    recorded = read_recording(name)
    async with open_simulator() as simulator:
        asked = recorded["request"]
        data = post(asked["body"], path=asked["path"], more="connection: close\r\n")
        received = await converse(simulator.port, data)
    assert received.status == recorded["response"]["status"] == 404
    assert orjson.loads(received.body) == orjson.loads(recorded["response"]["body"])


@needs_recordings
async def test_the_words_for_an_unknown_field() -> None:
    body: dict[str, object] = {
        "model": "gpt-image-1",
        "prompt": "A river.",
        "response_format": "url",
    }
    data = post(body, path="/v1/images/generations", more="connection: close\r\n")
    theirs = read_recording(UNKNOWN_FIELD)["response"]
    assert orjson.loads((await answered(data)).body) == orjson.loads(theirs["body"])


@needs_recordings
async def test_the_shape_of_a_transcript() -> None:
    sent = form([("model", "gpt-4o-transcribe"), ("file", sound(1))])
    received = await answered(upload("/v1/audio/transcriptions", sent))
    theirs = orjson.loads(read_recording(PIPELINE)["response"]["body"])
    assert shape(orjson.loads(received.body)) == shape(theirs)
    assert list(orjson.loads(received.body)) == list(theirs)


@needs_recordings
async def test_sound_comes_as_it_was_recorded() -> None:
    recorded = read_recording(SPEECH)
    asked = recorded["request"]
    received = await answered(post(asked["body"], path=asked["path"], more="connection: close\r\n"))
    assert b"content-type: audio/mpeg" in received.head
    assert b"transfer-encoding: chunked" in received.head
    assert recorded["response"]["headers"]["content-type"] == "audio/mpeg"
