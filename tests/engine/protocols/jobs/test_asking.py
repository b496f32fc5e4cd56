"""What clients say when they ask for a job, in each of their protocols."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.conversation import Conversation, Media, Text
from engine.errors import InvalidRequestError
from engine.events import Call, JobAccepted, Operation, Protocol
from engine.job import JobAsk, JobOptions, JobReport
from engine.media.forms import Field, File, write_form
from engine.protocols.codec import HeldIdError, Identity, InexpressibleError
from engine.protocols.jobs.specs import VEO
from engine.protocols.registry import client_codec
from tests.engine.protocols.jobs.test_submits import GENERIC, encoded

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00"
DATA_URL = "data:image/png;base64,iVBORw0KGgo="
VEO_MODEL = "veo-3.1-generate-preview"


def call(protocol: Protocol, operation: Operation, document: Any, **more: Any) -> Call:
    body = json.dumps(document).encode()
    return Call(body, "key", protocol=protocol, operation=operation, **more)


def video(**document: Any) -> Call:
    return call("openai", "video", {"model": "film", "prompt": "a cat", **document})


def openai(**document: Any) -> Call:
    return call("openai_videos", "video", {"prompt": "a cat", **document})


def gemini(instance: Any, **parameters: Any) -> Call:
    body = {"instances": [instance], "parameters": parameters}
    return call("gemini", "video", body, model=VEO_MODEL)


def read(asked: Call) -> Conversation:
    codec = client_codec(asked.protocol, asked.operation)
    return codec.decode_request(codec.parse_request(asked))


def job(asked: Call) -> JobOptions:
    found = read(asked).job
    assert found is not None
    return found


def test_the_gateways_own_request_for_a_film() -> None:
    asked = video(
        duration="8", aspect_ratio="16:9", resolution="720p", negative_prompt="dogs", seed=7, n=2,
        image={"url": DATA_URL}, store_result=True, webhook_url="https://example.com/hook",
        camera="low",
    )  # fmt: skip
    conversation = read(asked)
    assert conversation.turns[0].parts == (
        Media("image", "image/png", "iVBORw0KGgo="),
        Text("a cat"),
    )
    assert (conversation.choices, conversation.seed) == (2, 7)
    assert conversation.job == JobOptions(
        "video",
        seconds=8,
        aspect_ratio="16:9",
        resolution="720p",
        negative_prompt="dogs",
        dialect="generations",
        extra={"camera": "low"},
    )
    request = client_codec("openai", "video").parse_request(asked)
    assert (request.model, request.stream, request.media) == ("film", False, {"image": 1})
    assert request.job == JobAsk(
        "video",
        {"prompt": "a cat", "seconds": 8, "aspect_ratio": "16:9", "resolution": "720p"},
        store_result=True,
        webhook_url="https://example.com/hook",
    )


def test_music_needs_words_or_lyrics() -> None:
    song = {"model": "band", "lyrics": "la la", "instrumental": False, "format": "mp3"}
    found = job(call("openai", "music", song))
    assert (found.lyrics, found.instrumental, found.format) == ("la la", False, "mp3")
    with pytest.raises(InvalidRequestError, match="'prompt'"):
        read(call("openai", "music", {"model": "band"}))


def test_openais_request_in_json() -> None:
    found = job(openai(seconds="12", size="1280x720"))
    assert (found.seconds, found.size, found.dialect) == (12, "1280x720", "openai")
    assert client_codec("openai_videos").parse_request(openai()).model == "sora-2"


def test_openais_request_as_a_form() -> None:
    parts: list[Field | File] = [
        Field("prompt", "a cat"),
        Field("model", "film"),
        Field("seconds", "4"),
        Field("store_result", "true"),
        File("input_reference", "cat.png", "image/png", memoryview(PNG)),
    ]
    content_type, pieces = write_form(parts)
    asked = Call(b"".join(pieces), "key", "openai_videos", "video", content_type=content_type)
    (picture, _), options = read(asked).turns[0].parts, job(asked)
    assert isinstance(picture, Media)
    assert picture.mime_type == "image/png"
    assert options.seconds == 4
    request = client_codec("openai_videos").parse_request(asked)
    assert request.job is not None
    assert request.job.store_result


def test_an_object_in_a_form_has_brackets_in_its_name() -> None:
    parts = [Field("prompt", "a cat"), Field("input_reference[image_url]", "https://a.example/x")]
    content_type, pieces = write_form(parts)
    asked = Call(b"".join(pieces), "key", "openai_videos", "video", content_type=content_type)
    assert read(asked).turns[0].parts[0] == Media("image", url="https://a.example/x")


def test_veos_request() -> None:
    instance = {
        "prompt": "a cat",
        "image": {"bytesBase64Encoded": "iVBORw0KGgo=", "mimeType": "image/png"},
        "lastFrame": {"bytesBase64Encoded": "iVBORw0KGgo="},
    }
    parameters = {
        "durationSeconds": 6, "aspect_ratio": "9:16", "sampleCount": 2, "seed": 3,
        "personGeneration": "allow_all",
    }  # fmt: skip
    conversation = read(gemini(instance, **parameters))
    assert (conversation.choices, conversation.seed) == (2, 3)
    options = conversation.job
    assert options is not None
    assert (options.seconds, options.aspect_ratio) == (6, "9:16")
    assert options.extra == {
        "instances": [{"lastFrame": {"bytesBase64Encoded": "iVBORw0KGgo="}}],
        "parameters": {"personGeneration": "allow_all"},
    }


WRONG: list[tuple[Call, str]] = [
    (video(prompt=""), "prompt"),
    (video(prompt=7), "prompt"),
    (video(prompt="x" * 40_000), "prompt"),
    (video(model=None), "model"),
    (video(seconds=0), "seconds"),
    (video(duration=1.5), "duration"),
    (video(seconds=4, duration=8), "duration"),
    (video(seconds=True), "seconds"),
    (video(n=0), "n"),
    (video(n=9), "n"),
    (video(size="large"), "size"),
    (video(aspect_ratio="wide"), "aspect_ratio"),
    (video(resolution="good"), "resolution"),
    (video(size="1280x720", resolution="720p"), "size"),
    (video(audio="yes"), "audio"),
    (video(image=7), "image"),
    (video(image="ftp://example.com/a"), "image"),
    (video(image="data:text/html;base64,PGI+"), "image"),
    (video(image="data:image/png,abc"), "image"),
    (video(store_result="yes"), "store_result"),
    (video(webhook_url="javascript:alert(1)"), "webhook_url"),
    (video(webhook_url="https://a.example/ b"), "webhook_url"),
    (openai(prompt=None), "prompt"),
    (openai(size="auto"), "size"),
    (openai(seconds="long"), "seconds"),
    (gemini({}), "prompt"),
    (gemini({"prompt": "a"}, durationSeconds="8s"), "parameters.durationSeconds"),
    (gemini({"prompt": "a"}, sampleCount=99), "parameters.sampleCount"),
    (gemini({"prompt": "a"}, sampleCount=1, numberOfVideos=2), "parameters.sampleCount"),
    (gemini({"prompt": "a"}, aspectRatio="16:9", aspect_ratio="9:16"), "parameters.aspectRatio"),
    (gemini({"prompt": "a", "image": {}}), "instances[0].image"),
]


@pytest.mark.parametrize(("asked", "param"), WRONG)
def test_a_wrong_field_is_named(asked: Call, param: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        read(asked)
    assert refused.value.param == param


def test_two_instances_would_be_two_films() -> None:
    body = {"instances": [{"prompt": "a"}, {"prompt": "b"}]}
    with pytest.raises(InvalidRequestError, match="an array of one object"):
        read(call("gemini", "video", body, model=VEO_MODEL))


@pytest.mark.parametrize(
    "asked",
    [
        video(image="https://generativelanguage.googleapis.com/v1beta/files/abc"),
        gemini({"prompt": "a", "image": {"gcsUri": "gs://bucket/a.png"}}),
    ],
)
def test_what_lives_at_a_provider_is_refused(asked: Call) -> None:
    with pytest.raises(HeldIdError):
        read(asked)


@pytest.mark.parametrize(
    "extra",
    [
        {"instances": [{"video": {"uri": "https://generativelanguage.googleapis.com/v1/files/a"}}]},
        {"parameters": {"storageUri": "gs://bucket"}},
        {"video": {"id": "video_1"}},
        {"previous_video_id": "video_1"},
    ],
)
def test_what_lives_at_a_provider_is_refused_in_fields_that_are_passed_on(extra: Any) -> None:
    options = JobOptions("video", dialect=VEO.dialect, extra=extra)
    with pytest.raises(HeldIdError):
        encoded(VEO, VEO_MODEL, options)


def test_what_is_metered_has_one_name() -> None:
    extra = {"input": {"length": "3600"}}
    with pytest.raises(InvalidRequestError, match=r"'input\.length' has another name"):
        encoded(GENERIC, "composer", JobOptions("music", dialect="generic", extra=extra))


def test_a_field_of_another_dialect_is_refused_where_it_could_matter() -> None:
    options = JobOptions("music", dialect="openai", extra={"camera": "low", "user": "u1"})
    with pytest.raises(InexpressibleError, match="'camera'"):
        encoded(GENERIC, "composer", options)
    options = JobOptions("music", dialect="openai", extra={"user": "u1"})
    assert encoded(GENERIC, "composer", options).dropped == ("user",)


IDENTITY = Identity("req_0123abc", "upstream", 1_700_000_000, 1_700_003_600)
ACCEPTED = JobAccepted("p1", JobReport("submitted", 0))


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (
            video(seconds=8),
            {
                "job_id": "job_0123abc",
                "object": "video.generation",
                "status": "submitted",
                "model": "film",
                "created_at": 1_700_000_000,
                "expires_at": 1_700_003_600,
                "updated_at": 1_700_000_000,
                "progress": 0,
                "request_id": "req_0123abc",
                "seconds": 8,
            },
        ),
        (
            openai(seconds="8", size="1280x720", model="film"),
            {
                "id": "video_0123abc",
                "object": "video",
                "model": "film",
                "status": "queued",
                "progress": 0,
                "created_at": 1_700_000_000,
                "completed_at": None,
                "expires_at": None,
                "prompt": "a cat",
                "seconds": "8",
                "size": "1280x720",
                "remixed_from_video_id": None,
                "error": None,
            },
        ),
        (gemini({"prompt": "a cat"}), {"name": f"models/{VEO_MODEL}/operations/0123abc"}),
    ],
)
def test_the_first_answer_is_the_job(asked: Call, answer: Any) -> None:
    codec = client_codec(asked.protocol, asked.operation)
    request = codec.answered(codec.parse_request(asked))
    assert json.loads(codec.encode_response([ACCEPTED], request, IDENTITY)) == answer
