"""Gemini's Veo: an operation that runs long, and films that its key is needed for."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote

import orjson

from bench.simulate.dialect import Dialect
from bench.simulate.errands import Errand, Told, Visit, json_told, not_allowed
from bench.simulate.errors import ApiError
from bench.simulate.gemini_request import refusal_of
from bench.simulate.job_calls import Desk, fetch, input_of, poll, poll_headers, take
from bench.simulate.jobs import Job, JobState, Order
from bench.simulate.replies import Request
from bench.simulate.shapes import (
    BOOLEAN,
    MAPPING,
    TEXT,
    Violation,
    array,
    integer,
    literal,
    record,
    text,
)

DEFAULT_SECONDS: Final = 8
_VERSION: Final = "/v1(?:beta|alpha)?"
_SUBMIT: Final = re.compile(rf"{_VERSION}/models/([^/:]+):predictLongRunning")
_OPERATION: Final = re.compile(rf"{_VERSION}/models/([^/:]+)/operations/([^/:]+)")
_RESULT: Final = re.compile(rf"{_VERSION}/files/([0-9a-f]+)v(\d):download")
_SIZES: Final[Mapping[tuple[str, str], tuple[int, int]]] = {
    ("16:9", "720p"): (1_280, 720),
    ("16:9", "1080p"): (1_920, 1_080),
    ("16:9", "4k"): (3_840, 2_160),
    ("9:16", "720p"): (720, 1_280),
    ("9:16", "1080p"): (1_080, 1_920),
    ("9:16", "4k"): (2_160, 3_840),
}
_IMAGE: Final = record(
    {"bytesBase64Encoded": text(low=1), "gcsUri": TEXT, "mimeType": TEXT, "uri": TEXT}
)
_INSTANCE: Final = record(
    {
        "prompt": text(low=1),
        "image": _IMAGE,
        "lastFrame": _IMAGE,
        "referenceImages": array(MAPPING),
        "video": MAPPING,
    },
    "prompt",
)
_PARAMETERS: Final = record(
    {
        "aspectRatio": literal("16:9", "9:16"),
        "durationSeconds": integer(4, 8),
        "enhancePrompt": BOOLEAN,
        "generateAudio": BOOLEAN,
        "negativePrompt": TEXT,
        "numberOfVideos": integer(1, 4),
        "personGeneration": TEXT,
        "resolution": literal("720p", "1080p", "4k"),
        "sampleCount": integer(1, 4),
        "seed": integer(0, 2**32 - 1),
    }
)
_REQUEST: Final = record(
    {"instances": array(_INSTANCE, low=1, high=1), "parameters": _PARAMETERS}, "instances"
)
_TYPE: Final = "type.googleapis.com/google.ai.generativelanguage.v1beta.{}"
_FILTERED: Final = (
    "We encountered an issue with the input provided, which violates our usage guidelines."
)
_ERRORS: Final[Mapping[JobState, tuple[int, str]]] = {
    "failed": (13, "Video generation failed due to an internal server issue. Please try again."),
    "expired": (4, "Video generation did not finish in time."),
    "cancelled": (1, "The operation was cancelled."),
}
"""By codes of gRPC."""


class GeminiVideos:
    """The desk of Veo."""

    def __init__(self, desk: Desk, dialect: Dialect) -> None:
        self._desk = desk
        self._dialect = dialect

    def errand(self, request: Request) -> Errand | None:
        path = request.path
        if found := _SUBMIT.fullmatch(path):
            model = unquote(found[1])
            return self._allowed(
                request,
                "POST",
                Errand(self._dialect, lambda v: self._submit(v, model), "gemini-videos"),
            )
        if found := _OPERATION.fullmatch(path):
            model, job_id = unquote(found[1]), found[2]
            return self._allowed(
                request, "GET", Errand(self._dialect, lambda v: self._get(v, model, job_id))
            )
        found = _RESULT.fullmatch(path)
        if found is None or self._desk.book.any("gemini", found[1]) is None:
            return None
        job_id, place = found[1], int(found[2])
        return self._allowed(
            request, "GET", Errand(self._dialect, lambda v: self._download(v, job_id, place))
        )

    def _allowed(self, request: Request, method: str, errand: Errand) -> Errand:
        if request.method != method:
            raise not_allowed(request)
        return errand

    def _submit(self, visit: Visit, model: str) -> Told:
        try:
            asked = _REQUEST((), orjson.loads(visit.request.body))
        except orjson.JSONDecodeError as error:
            raise ApiError(f"Invalid JSON payload received. {error.msg}") from None
        except Violation as violation:
            raise refusal_of(violation, "PredictLongRunningRequest") from None
        [instance], parameters = asked["instances"], asked.get("parameters", {})
        ratio = parameters.get("aspectRatio", "16:9")
        width, height = _SIZES[ratio, parameters.get("resolution", "720p")]
        order = Order(
            model=model,
            prompt=instance["prompt"],
            seconds=parameters.get("durationSeconds", DEFAULT_SECONDS),
            width=width,
            height=height,
            clips=parameters.get("sampleCount", parameters.get("numberOfVideos", 1)),
            inputs=tuple(_inputs(instance)),
        )
        return json_told({"name": _name(take(self._desk, visit, "gemini", order))})

    def _get(self, visit: Visit, model: str, job_id: str) -> Told:
        job = self._desk.book.find("gemini", visit.key, job_id)
        if job is None or job.order.model != model:
            raise ApiError(f"Operation {job_id} not found.", status=404)
        return json_told(_shown(job, poll(visit, job), visit), *poll_headers(job))

    def _download(self, visit: Visit, job_id: str, place: int) -> Told:
        job = self._desk.book.find("gemini", visit.key, job_id)
        if job is None:
            raise ApiError(
                f"You do not have permission to access the File {job_id}v{place} or it may not "
                "exist.",
                status=403,
            )
        return fetch(self._desk, visit, job, place)


def _name(job: Job) -> str:
    return f"models/{job.order.model}/operations/{job.job_id}"


def _inputs(instance: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = []
    for name in ("image", "lastFrame"):
        data = instance.get(name, {}).get("bytesBase64Encoded")
        if data is None:
            continue
        try:
            found.append(input_of(name, b64decode(data, validate=True)))
        except ValueError:
            raise ApiError(f"Invalid value at 'instances[0].{name}' (TYPE_BYTES)") from None
    return found


def _shown(job: Job, state: JobState, visit: Visit) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": _name(job)}
    if state in _ERRORS:
        code, message = _ERRORS[state]
        return shown | {"done": True, "error": {"code": code, "message": message}}
    if state not in ("succeeded", "blocked"):
        return shown
    made: dict[str, Any] = {"raiMediaFilteredCount": 1, "raiMediaFilteredReasons": [_FILTERED]}
    if state == "succeeded":
        version = visit.request.path.split("/")[1]
        base = f"{visit.origin}/{version}/files/{job.job_id}"
        places = range(job.order.clips)
        uris = [f"{base}v{place}:download?alt=media" for place in places]
        made = {"generatedSamples": [{"video": {"uri": uri}} for uri in uris]}
    answer = {"@type": _TYPE.format("PredictLongRunningResponse"), "generateVideoResponse": made}
    return shown | {"done": True, "response": answer}
