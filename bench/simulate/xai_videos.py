"""xAI's videos: 202 until there is a film, whose URL needs no key.

`GET /v1/videos/{id}` is OpenAI's path too: whose it is, the id says, for OpenAI's begin with
`video_`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote

import orjson

from bench.simulate import openai_fields as fields
from bench.simulate.errands import Errand, Told, Visit, json_told, not_allowed
from bench.simulate.errors import ApiError
from bench.simulate.job_calls import Desk, poll, poll_headers, take
from bench.simulate.jobs import JobState, Order
from bench.simulate.openai_dialect import OpenAIDialect
from bench.simulate.openai_fields import Check, integer, one_of
from bench.simulate.operation import check_fields, check_text, read_json
from bench.simulate.replies import Request
from engine.wire.http import Headers

PROMPT_MAX: Final = 32_000
DEFAULT_SECONDS: Final = 6
_SUBMIT: Final = "/v1/videos/generations"
_GET: Final = re.compile(r"/v1/videos/((?!video_)[^/]+)")
_RATIOS: Final = {
    "16:9": (16, 9),
    "4:3": (4, 3),
    "1:1": (1, 1),
    "9:16": (9, 16),
    "3:4": (3, 4),
    "3:2": (3, 2),
    "2:3": (2, 3),
}
_SHORT_SIDES: Final = {"480p": 480, "720p": 720}
_FIELDS: Final[Mapping[str, Check]] = {
    "aspect_ratio": one_of(*_RATIOS),
    "duration": integer(1, 15),
    "image": fields.OBJECT,
    "model": fields.STRING,
    "prompt": fields.STRING,
    "resolution": one_of(*_SHORT_SIDES),
    "user": fields.STRING,
}
_ERRORS: Final[Mapping[JobState, tuple[str, str]]] = {
    "failed": ("internal_error", "Video generation failed."),
    "cancelled": ("cancelled", "Video generation was cancelled."),
}


class XaiDialect(OpenAIDialect):
    """Keys as OpenAI has them, and errors of two strings."""

    def write_error(
        self, error: ApiError, request: Request, request_id: str
    ) -> tuple[Headers, bytes]:
        body = orjson.dumps({"code": error.code or "invalid-argument", "error": error.message})
        return [(b"content-type", b"application/json"), *error.headers], body


class XaiVideos:
    """The desk of xAI's videos."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._dialect = XaiDialect()

    def errand(self, request: Request) -> Errand | None:
        if request.path == _SUBMIT:
            if request.method != "POST":
                raise not_allowed(request)
            return Errand(self._dialect, self._submit, "xai-videos")
        found = _GET.fullmatch(request.path)
        if found is None:
            return None
        if request.method != "GET":
            raise not_allowed(request)
        request_id = unquote(found[1])
        return Errand(self._dialect, lambda visit: self._get(visit, request_id))

    def _submit(self, visit: Visit) -> Told:
        values = read_json(visit.request.body)
        check_fields(values, _FIELDS, ("model", "prompt"))
        check_text("prompt", values["prompt"], PROMPT_MAX)
        image = values.get("image")
        if image is not None and not isinstance(image.get("url"), str):
            raise ApiError("Field 'image.url' is required.")
        across, down = _RATIOS[values.get("aspect_ratio") or "16:9"]
        short = _SHORT_SIDES[values.get("resolution") or "480p"]
        scale = short // min(across, down)
        order = Order(
            model=values["model"],
            prompt=values["prompt"],
            seconds=values.get("duration") or DEFAULT_SECONDS,
            width=across * scale,
            height=down * scale,
            inputs=() if image is None else ({"name": "image", "url": image["url"][:200]},),
        )
        job = take(self._desk, visit, "xai", order)
        return json_told({"request_id": job.job_id}, indented=False)

    def _get(self, visit: Visit, request_id: str) -> Told:
        job = self._desk.book.find("xai", visit.key, request_id)
        if job is None:
            raise ApiError(f"Request {request_id} not found.", status=404, code="not-found")
        state, headers = poll(visit, job), poll_headers(job)
        shown: dict[str, Any]
        match state:
            case "waiting" | "running":
                shown = {"status": "pending", "progress": job.progress}
                return json_told(shown, *headers, status=202, indented=False)
            case "succeeded" | "blocked":
                allowed = state == "succeeded"
                film: dict[str, Any] = {"duration": job.seconds, "respect_moderation": allowed}
                if allowed:
                    film["url"] = f"{visit.origin}/_media/jobs/xai/{job.job_id}/0"
                shown = {"status": "done", "video": film, "model": job.order.model}
            case "expired":
                shown = {"status": "expired"}
            case _:
                code, message = _ERRORS.get(state, _ERRORS["failed"])
                code = job.directives.job_code or code
                shown = {"status": "failed", "error": {"code": code, "message": message}}
        return json_told(shown, *headers, indented=False)
