"""Videos and music: jobs, as each of their faces shows them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from frontends.reference.chat import IDEMPOTENCY, MODEL
from frontends.reference.rows import (
    FORM,
    JSON,
    Answer,
    Example,
    Parameter,
    Row,
    Schema,
    always,
    answers_json,
    either,
    exactly,
    file_bytes,
    flag,
    listed,
    nullable,
    number,
    one_of,
    ref,
    text,
    thing,
    whole,
)

TAG: Final = "Videos and music"
_SECONDS: Final = either(number(0), text())
_MONEY: Final = always({"nanodollars": whole(), "usd": text()})
_SHARED: Final[Mapping[str, Schema]] = {
    "model": MODEL,
    "prompt": text(),
    "negative_prompt": text(),
    "seconds": _SECONDS,
    "seed": whole(),
    "n": whole(1),
    "store_result": flag("What is made becomes a file of the account."),
    "webhook_url": text("Told when the job has ended."),
}
_STATES: Final = ("submitted", "running", "succeeded", "failed", "expired", "cancelled")

SCHEMAS: Final[Mapping[str, Schema]] = {
    "VideoGenerationRequest": thing(
        {
            **_SHARED,
            "size": text("`1280x720`"),
            "aspect_ratio": text("`16:9`"),
            "resolution": text("`720p`"),
            "image": either(text("`https:` or `data:`"), thing({"url": text(), "file_id": text()})),
            "audio": flag(),
        },
        "model",
        "prompt",
    ),
    "MusicGenerationRequest": thing(
        {**_SHARED, "lyrics": text(), "instrumental": flag(), "format": text("`mp3`")}, "model"
    ),
    "Generation": thing(
        {
            "job_id": text(),
            "object": one_of("video.generation", "music.generation"),
            "status": one_of(*_STATES),
            "model": text(),
            "created_at": whole(),
            "expires_at": whole(),
            "updated_at": whole(),
            "progress": whole(0, 100),
            "request_id": text(),
            "results": listed(always({"url": text(), "content_type": text(), "variant": text()})),
            "usage": thing({}),
            "cost": _MONEY,
            "error": always({"code": text(), "message": text()}),
        },
        "job_id",
        "object",
        "status",
        "model",
        "created_at",
    ),
    "GenerationDeleted": always({"job_id": text(), "object": text(), "deleted": flag()}),
    "VideoRequest": thing(
        {
            "model": MODEL,
            "prompt": text(),
            "seconds": _SECONDS,
            "size": text("`1280x720`"),
            "input_reference": thing({"image_url": text(), "file_id": text()}),
            "store_result": _SHARED["store_result"],
            "webhook_url": _SHARED["webhook_url"],
        },
        "model",
        "prompt",
    ),
    "VideoForm": thing(
        {
            "model": MODEL,
            "prompt": text(),
            "seconds": text(),
            "size": text(),
            "input_reference": file_bytes("A picture to begin with."),
        },
        "model",
        "prompt",
    ),
    "RemixRequest": thing(
        {
            "prompt": text(),
            "store_result": _SHARED["store_result"],
            "webhook_url": _SHARED["webhook_url"],
        },
        "prompt",
    ),
    "Video": thing(
        {
            "id": text(),
            "object": exactly("video"),
            "model": text(),
            "status": one_of("queued", "in_progress", "completed", "failed"),
            "progress": whole(0, 100),
            "created_at": whole(),
            "seconds": text(),
            "size": text(),
            "error": nullable(always({"code": text(), "message": text()})),
        },
        "id",
        "object",
        "model",
        "status",
        "progress",
        "created_at",
        detail="As OpenAI's clients know it.",
    ),
    "VideoDeleted": always({"id": text(), "object": exactly("video.deleted"), "deleted": flag()}),
}

_PAGE: Final = (
    Parameter("after", text(), "The last one of the page before."),
    Parameter("limit", whole(1, 100), "20 unless said."),
    Parameter("order", one_of("asc", "desc")),
)
_WHICH: Final = (
    Parameter("variant", text(minLength=1, maxLength=32), "`video`, `thumbnail`, `spritesheet`"),
    Parameter("index", whole(0, 63), "Of several."),
)
_CONTENT: Final = {200: Answer("The thing itself.", {"*/*": file_bytes()})}
_PROMPT: Final = "A river at dawn"


def _listed(schema: Schema) -> Schema:
    return always(
        {
            "object": exactly("list"),
            "data": listed(schema),
            "has_more": flag(),
            "first_id": nullable(text()),
            "last_id": nullable(text()),
        }
    )


def _face(path: str, noun: str, one: str, of: str, gone: str, words: str) -> Iterator[Row]:
    """What every face of jobs has, but for how they are asked for. `one` is the schema of a job,
    `of` the kind of it, with which names of variables begin."""
    single = f"{path}/<job_id>"
    shown = f"{path}/{{{of}_id}}"

    def row(method: str, rule: str, name: str, says: str, answers: Mapping[int, Answer]) -> Row:
        listing = rule == path
        parameters = _PAGE if listing else _WHICH if rule.endswith("/content") else ()
        return Row(
            method,
            rule,
            name,
            TAG,
            says,
            answers,
            path=None if listing else rule.replace(single, shown),
            parameters=parameters,
            examples=(Example("one"),),
            refuses=() if listing else (404, 409, 502, 504),
        )

    job = answers_json(ref(one), "The job.")
    page = answers_json(_listed(ref(one)), "A page of them.")
    yield row("GET", path, f"list{noun}s", f"The account's {words}.", page)
    yield row("GET", single, f"get{noun}", "How it is doing.", job)
    yield row("GET", f"{single}/content", f"get{noun}Content", "What was made.", _CONTENT)
    yield row("POST", f"{single}/cancel", f"cancel{noun}", "End it early, for nothing.", job)
    forgotten = answers_json(ref(gone), "It is shown no more.")
    yield row("DELETE", single, f"delete{noun}", "Forget it; what runs is cancelled.", forgotten)


def _asking(
    path: str,
    name: str,
    says: str,
    answers: Mapping[int, Answer],
    asks: Mapping[str, Schema],
    *examples: Example,
    shown: str | None = None,
) -> Row:
    return Row(
        "POST",
        path,
        name,
        TAG,
        says,
        answers,
        path=shown,
        asks=asks,
        parameters=(IDEMPOTENCY,),
        examples=examples,
        relays=True,
    )


_VIDEO: Final = answers_json(ref("Video"), "The job.")
_GENERATION: Final = answers_json(ref("Generation"), "The job.")

ROWS: Final = (
    _asking(
        "/v1/videos/generations",
        "createVideoGeneration",
        "Have a video made.",
        _GENERATION,
        {JSON: ref("VideoGenerationRequest")},
        Example(
            "four seconds",
            {"model": "sim-video", "prompt": _PROMPT, "seconds": 4, "size": "1280x720"},
        ),
    ),
    *_face(
        "/v1/videos/generations",
        "VideoGeneration",
        "Generation",
        "generation",
        "GenerationDeleted",
        "videos, as jobs",
    ),
    _asking(
        "/v1/music/generations",
        "createMusicGeneration",
        "Have music made.",
        _GENERATION,
        {JSON: ref("MusicGenerationRequest")},
        Example("a song", {"model": "song", "prompt": "A flume in spring", "seconds": 4}),
    ),
    *_face(
        "/v1/music/generations",
        "MusicGeneration",
        "Generation",
        "music",
        "GenerationDeleted",
        "music",
    ),
    _asking(
        "/v1/videos",
        "createVideo",
        "Have a video made, as OpenAI's clients ask.",
        _VIDEO,
        {JSON: ref("VideoRequest"), FORM: ref("VideoForm")},
        Example(
            "four seconds",
            {"model": "sim-video", "prompt": _PROMPT, "seconds": "4", "size": "1280x720"},
        ),
        Example("a form", {"model": "sim-video", "prompt": _PROMPT}, media_type=FORM),
    ),
    *_face("/v1/videos", "Video", "Video", "video", "VideoDeleted", "videos"),
    _asking(
        "/v1/videos/<job_id>/remix",
        "remixVideo",
        "Have another one made of a video.",
        _VIDEO,
        {JSON: ref("RemixRequest")},
        Example("by night", {"prompt": "The same by night"}),
        shown="/v1/videos/{video_id}/remix",
    ),
)
