"""The dialects of providers that are known, as rows.

Sources: OpenAI's SDK (`types/video.py`, `video_create_params.py`, `resources/videos.py`); for Veo
Google's SDK (`_GenerateVideosOperation_from_mldev`) and its page of Veo in the Gemini API; for xAI
its API reference of videos, and the client of Vercel's AI SDK (`packages/xai`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from engine.job import JobSpec

GENERATIONS_DIALECT: Final = "generations"
"""Of `/v1/videos/generations` and `/v1/music/generations`, ours as xAI's."""

OPENAI: Final = JobSpec(
    dialect="openai",
    submit="/videos",
    fields={
        "model": "model",
        "prompt": "prompt",
        "seconds": "seconds",
        "size": "size",
        "image": "input_reference.image_url",
    },
    as_text=frozenset({"seconds"}),
    id="id",
    poll="/videos/{id}",
    state="status",
    states={
        "queued": "submitted",
        "in_progress": "running",
        "completed": "succeeded",
        "failed": "failed",
    },
    error_code="error.code",
    error_message=("error.message",),
    progress="progress",
    content="/videos/{id}/content?variant={variant}",
    variants={"video": "video/mp4", "thumbnail": "image/webp", "spritesheet": "image/jpeg"},
    units={"milliseconds": ("seconds", 1_000)},
    # No cancel: DELETE is of a finished video.
    remix="/videos/{id}/remix",
    remixed_from="remixed_from_video_id",
    recover="list",
    listed="/videos?limit=100&order=desc",
    list_items="data",
    list_match={
        "model": "model",
        "prompt": "prompt",
        "seconds": "seconds",
        "size": "size",
        "created_at": "created_at",
    },
)

VEO: Final = JobSpec(
    dialect="gemini",
    submit="/models/{model}:predictLongRunning",
    fields={
        "prompt": "instances.0.prompt",
        "image": "instances.0.image",
        "negative_prompt": "parameters.negativePrompt",
        "aspect_ratio": "parameters.aspectRatio",
        "resolution": "parameters.resolution",
        "seconds": "parameters.durationSeconds",
        "seed": "parameters.seed",
        "n": "parameters.sampleCount",
    },
    image_as="object",
    id="name",
    poll="/{id}",
    keeps_slashes=True,
    state="done",
    states={"false": "running", "true": "succeeded"},
    failed_if="error",
    error_code="error.status",
    error_message=("error.message", "response.generateVideoResponse.raiMediaFilteredReasons.*"),
    results=("response.generateVideoResponse.generatedSamples.*.video.uri",),
    results_need_key=True,
)

XAI: Final = JobSpec(
    dialect=GENERATIONS_DIALECT,
    submit="/videos/generations",
    fields={
        "model": "model",
        "prompt": "prompt",
        "image": "image.url",
        "seconds": "duration",
        "aspect_ratio": "aspect_ratio",
        "resolution": "resolution",
    },
    id="request_id",
    poll="/videos/{id}",
    state="status",
    states={
        "pending": "running",
        "done": "succeeded",
        "failed": "failed",
        "expired": "failed",  # for good: nothing is made of it later
    },
    pending_status=202,
    error_code="error.code",
    error_message=("error.message", "error"),
    progress="progress",
    results=("video.url",),
    units={"milliseconds": ("video.duration", 1_000)},
)

KnownSpec = Literal["openai", "veo", "xai"]
KNOWN: Final[Mapping[KnownSpec, JobSpec]] = {"openai": OPENAI, "veo": VEO, "xai": XAI}
"""By the names that a configuration has for them."""
