"""What each provider is sent that is to make a film."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from engine.capabilities import UNKNOWN
from engine.conversation import Conversation, Media, Text, Turn
from engine.demand import Demand
from engine.errors import UpstreamRejectedError
from engine.events import JobAccepted
from engine.job import JobOptions, JobReport, JobSource, JobSpec
from engine.media.forms import parse_form
from engine.protocols.codec import Encoded, InexpressibleError, UpstreamTarget
from engine.protocols.jobs.media_jobs import MUSIC, VIDEO
from engine.protocols.jobs.specs import OPENAI, VEO, XAI
from engine.protocols.quirks import Quirks

PIXEL = "iVBORw0KGgoAAAA="
PICTURE = Media("image", "image/png", PIXEL)
GENERIC = JobSpec(
    dialect="generic",
    submit="/make/{model}",
    fields={"prompt": "input.text", "seconds": "input.length", "lyrics": "input.lyrics"},
    constants={"input.mode": "song", "callback": False},
    as_text=frozenset({"seconds"}),
    id="ticket",
    poll="/tickets/{id}",
    state="state",
    states={"ready": "succeeded"},
)


def encoded(spec: JobSpec, model: str, options: JobOptions, *media: Media, **more: Any) -> Encoded:
    conversation = Conversation((Turn("user", (*media, Text("a cat"))),), job=options, **more)
    quirks = Quirks(jobs={options.kind: spec})
    codec = VIDEO if options.kind == "video" else MUSIC
    target = UpstreamTarget(model, UNKNOWN, stream=False, quirks=quirks)
    return codec.encode_request(conversation, target)


def body(spec: JobSpec, model: str, options: JobOptions, *media: Media, **more: Any) -> Any:
    return json.loads(encoded(spec, model, options, *media, **more).body)


def test_openai_takes_seconds_as_a_text_and_a_size() -> None:
    options = JobOptions("video", seconds=8, size="1280x720")
    assert body(OPENAI, "sora-2", options, PICTURE) == {
        "model": "sora-2",
        "prompt": "a cat",
        "seconds": "8",
        "size": "1280x720",
        "input_reference": {"image_url": f"data:image/png;base64,{PIXEL}"},
    }


SOURCE = JobSource(
    "job_1", "acct_1", "film", "films", "sora-2", "0" * 16, "video_9",
    units={"clips": 1, "milliseconds": 6_000}, most={"milliseconds": 8_000}, tier="1280x720",
)  # fmt: skip


def test_another_one_of_a_film_is_asked_for_by_a_prompt_alone() -> None:
    """And is as long and as large as that was."""
    options = JobOptions("video", dialect="openai", extra={"mood": "wry"}, source=SOURCE)
    found = encoded(OPENAI, "sora-2", options)
    assert json.loads(found.body) == {"prompt": "a cat", "mood": "wry"}
    assert found.demand == Demand(
        pieces={"clips": 1, "milliseconds": 8_000},
        flat={"clips": 1, "milliseconds": 6_000},
        tier="1280x720",
    )


def test_a_film_of_unknown_length_is_held_for_as_one_is_that_nobody_said() -> None:
    options = JobOptions("video", source=replace(SOURCE, units={"clips": 1}, most={}, tier=None))
    demand = encoded(OPENAI, "sora-2", options).demand
    assert demand == Demand(pieces={"clips": 1, "milliseconds": 60_000}, flat={"clips": 1})


def test_a_provider_without_it_makes_no_others_of_a_film() -> None:
    for spec in (VEO, XAI):
        with pytest.raises(InexpressibleError, match="makes no others"):
            encoded(spec, "m", JobOptions("video", source=SOURCE))


def test_veo_takes_an_instance_and_parameters() -> None:
    options = JobOptions(
        "video", seconds=6, aspect_ratio="9:16", resolution="1080p", negative_prompt="dogs"
    )
    assert body(VEO, "veo-3.1-generate-preview", options, PICTURE, seed=7, choices=2) == {
        "instances": [
            {
                "prompt": "a cat",
                "image": {"mimeType": "image/png", "bytesBase64Encoded": PIXEL},
            }
        ],
        "parameters": {
            "durationSeconds": 6,
            "aspectRatio": "9:16",
            "resolution": "1080p",
            "negativePrompt": "dogs",
            "sampleCount": 2,
            "seed": 7,
        },
    }


def test_xai_fetches_a_picture_itself() -> None:
    picture = Media("image", url="https://example.com/cat.png")
    options = JobOptions("video", seconds=10, aspect_ratio="1:1", resolution="720p")
    assert body(XAI, "grok-imagine-video", options, picture) == {
        "model": "grok-imagine-video",
        "prompt": "a cat",
        "image": {"url": "https://example.com/cat.png"},
        "duration": 10,
        "aspect_ratio": "1:1",
        "resolution": "720p",
    }


def test_a_provider_of_ones_own_takes_what_its_table_says() -> None:
    options = JobOptions("music", seconds=30, lyrics="la la")
    assert body(GENERIC, "composer", options) == {
        "input": {"mode": "song", "text": "a cat", "length": "30", "lyrics": "la la"},
        "callback": False,
    }


def test_a_form_has_the_picture_as_a_file() -> None:
    fields = {"prompt": "prompt", "seconds": "seconds", "image": "still"}
    spec = replace(GENERIC, fields=fields, image_as="form")
    found = encoded(spec, "x", JobOptions("music", seconds=4), PICTURE)
    form = parse_form(found.content_type, found.body)
    assert form.texts("prompt") == ["a cat"]
    assert form.texts("seconds") == ["4"]
    assert form.texts("callback") == ["false"]
    (file,) = form.files("still")
    assert bytes(file.data).startswith(b"\x89PNG")
    assert (file.filename, file.content_type) == ("image.png", "image/png")


def test_a_size_is_said_in_the_providers_words() -> None:
    wide = JobOptions("video", size="1280x720")
    parameters = {"aspectRatio": "16:9", "resolution": "720p"}
    assert body(VEO, "veo-3.1", wide)["parameters"] == parameters
    high = JobOptions("video", aspect_ratio="9:16", resolution="720p")
    assert body(OPENAI, "sora-2", high)["size"] == "720x1280"


def test_fields_of_a_clients_own_dialect_go_on_as_they_are() -> None:
    extra = {"parameters": {"personGeneration": "allow_all"}, "prompt": "not this"}
    options = JobOptions("video", seconds=8, dialect="gemini", extra=extra)
    sent = body(VEO, "veo-3", options)
    assert sent["parameters"] == {"personGeneration": "allow_all", "durationSeconds": 8}
    assert sent["instances"] == [{"prompt": "a cat"}]


@pytest.mark.parametrize(
    ("spec", "model", "options", "field"),
    [
        (OPENAI, "sora-2", JobOptions("video", seconds=5), "job.seconds"),
        (OPENAI, "sora-2", JobOptions("video", size="1024x1792"), "job.size"),
        (OPENAI, "sora-2", JobOptions("video", negative_prompt="dogs"), "job.negative_prompt"),
        (OPENAI, "sora-2", JobOptions("video", resolution="720p"), "job.resolution"),
        (VEO, "veo-3", JobOptions("video", size="1024x1024"), "job.aspect_ratio"),
        (VEO, "veo-3", JobOptions("video", resolution="4k"), "job.resolution"),
        (XAI, "grok-imagine-video", JobOptions("video", seconds=16), "job.seconds"),
        (XAI, "grok-imagine-video", JobOptions("video", lyrics="la"), "job.lyrics"),
    ],
)
def test_what_a_model_does_not_take_is_named(
    spec: JobSpec, model: str, options: JobOptions, field: str
) -> None:
    with pytest.raises(InexpressibleError) as refused:
        encoded(spec, model, options)
    assert refused.value.field == field
    assert field.removeprefix("job.") in refused.value.message


def test_several_at_a_time_are_refused_where_there_is_one() -> None:
    with pytest.raises(InexpressibleError, match="'n' must be 1 at most"):
        encoded(OPENAI, "sora-2", JobOptions("video"), choices=2)
    with pytest.raises(InexpressibleError, match="one at a time"):
        encoded(GENERIC, "composer", JobOptions("music"), choices=2)


def test_a_seed_matters_little() -> None:
    assert encoded(OPENAI, "sora-2", JobOptions("video"), seed=3).dropped == ("seed",)


def test_who_fetches_nothing_is_sent_no_url() -> None:
    with pytest.raises(InexpressibleError, match="send the picture itself"):
        encoded(VEO, "veo-3", JobOptions("video"), Media("image", url="https://example.com/a"))


def test_a_provider_without_a_spec_makes_nothing() -> None:
    conversation = Conversation((Turn("user", (Text("a cat"),)),), job=JobOptions("video"))
    with pytest.raises(InexpressibleError, match="'video'"):
        VIDEO.encode_request(conversation, UpstreamTarget("gpt-5", UNKNOWN, stream=False))


@pytest.mark.parametrize(
    ("spec", "model", "options", "choices", "pieces", "tier"),
    [
        (OPENAI, "sora-2", {}, 1, {"clips": 1, "milliseconds": 4_000}, "720x1280"),
        (OPENAI, "sora-2-pro", {"seconds": 12, "size": "1024x1792"}, 1,
         {"clips": 1, "milliseconds": 12_000}, "1024x1792"),
        (VEO, "veo-3.1", {"seconds": 4, "resolution": "4k"}, 3,
         {"clips": 3, "milliseconds": 12_000}, "4k"),
        (XAI, "grok-imagine-video", {}, 1, {"clips": 1, "milliseconds": 8_000}, "480p"),
        (XAI, "unheard-of", {}, 1, {"clips": 1, "milliseconds": 60_000}, None),
        (GENERIC, "unheard-of", {}, 1, {"clips": 1}, None),
    ],
)  # fmt: skip
def test_what_a_film_consumes_is_known_by_what_is_asked(
    spec: JobSpec, model: str, options: dict[str, Any], choices: int, pieces: Any, tier: str | None
) -> None:
    demand = encoded(spec, model, JobOptions("video", **options), choices=choices).demand
    assert demand is not None
    assert (demand.pieces, demand.tier) == (pieces, tier)


def test_what_nobody_says_is_held_for_and_not_charged() -> None:
    demand = encoded(XAI, "unheard-of", JobOptions("video")).demand
    assert demand is not None
    assert demand.flat == {"clips": 1}


def test_the_ticket_is_read_with_what_it_says() -> None:
    answer = b'{"id": "video_1", "status": "queued", "progress": 0, "seconds": "8"}'
    accepted, _ = VIDEO.decode_response(answer, Quirks(jobs={"video": OPENAI}))
    report = JobReport("submitted", 0, units={"milliseconds": 8_000})
    assert accepted == JobAccepted("video_1", report)


@pytest.mark.parametrize("answer", [b'{"status": "queued"}', b"{}", b"[1]", b'{"id": "a b"}'])
def test_an_answer_without_a_ticket_is_none(answer: bytes) -> None:
    with pytest.raises(ValueError, match=r"id of the job|not a JSON object"):
        VIDEO.decode_response(answer, Quirks(jobs={"video": OPENAI}))


def test_an_error_with_a_good_status_is_an_error() -> None:
    answer = b'{"error": {"message": "Overloaded.", "code": "busy"}}'
    with pytest.raises(UpstreamRejectedError, match=r"Overloaded\."):
        VIDEO.decode_response(answer, Quirks(jobs={"video": XAI}))
