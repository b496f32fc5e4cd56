"""OpenAI's videos: create, remix, retrieve, list, content, delete, as its SDK has them."""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs, unquote

from bench.simulate import openai_fields as fields
from bench.simulate.dialect import Dialect
from bench.simulate.errands import Errand, Told, Visit, json_told, not_allowed
from bench.simulate.errors import ApiError
from bench.simulate.files import FileShelf
from bench.simulate.forms import Part, read_form
from bench.simulate.job_calls import Desk, fetch, input_of, poll, poll_headers, size_of, take
from bench.simulate.jobs import Job, JobState, Order
from bench.simulate.openai_fields import Check, missing, one_of
from bench.simulate.operation import check_fields, check_text, read_json
from bench.simulate.paths import number_of
from bench.simulate.pictures import MAGICS
from bench.simulate.replies import Request

DEFAULT_MODEL: Final = "sora-2"
PROMPT_MAX: Final = 32_000
PAGE: Final = 20
PAGE_MAX: Final = 100
KEPT_S: Final = 3_600
"""How long a result is said to be there."""
SECONDS: Final = ("4", "8", "12")
SIZES: Final = ("720x1280", "1280x720", "1024x1792", "1792x1024")
VARIANTS: Final = ("video", "thumbnail", "spritesheet")
_PATH: Final = re.compile(r"/v1/videos(?:/(video_[^/]*)(?:/(content|remix))?)?")
_FIELDS: Final[Mapping[str, Check]] = {
    "model": fields.STRING,
    "prompt": fields.STRING,
    "seconds": one_of(*SECONDS),
    "size": one_of(*SIZES),
}
_REFERENCE: Final = "input_reference"
_STATUSES: Final[Mapping[JobState, str]] = {
    "waiting": "queued",
    "running": "in_progress",
    "succeeded": "completed",
}
"""Every other is `failed`."""
_ERRORS: Final[Mapping[JobState, tuple[str, str]]] = {
    "blocked": ("moderation_blocked", "Your request was blocked by our moderation system."),
    "cancelled": ("cancelled", "The video was cancelled."),
    "expired": ("video_expired", "The video was not generated in time."),
    "failed": ("video_generation_failed", "Video generation failed. Please try again."),
}


class OpenAIVideos:
    """The desk of OpenAI's videos."""

    def __init__(self, desk: Desk, files: FileShelf, dialect: Dialect) -> None:
        self._desk = desk
        self._files = files
        self._dialect = dialect

    def errand(self, request: Request) -> Errand | None:
        found = _PATH.fullmatch(request.path)
        if found is None:
            return None
        video_id = unquote(found[1] or "")
        match request.method, bool(video_id), found[2]:
            case "POST", False, _:
                return Errand(self._dialect, self._create, "openai-videos")
            case "GET", False, _:
                return Errand(self._dialect, self._list)
            case "POST", True, "remix":
                return Errand(
                    self._dialect, lambda visit: self._remix(visit, video_id), "openai-videos"
                )
            case "GET", True, "content":
                return Errand(self._dialect, lambda visit: self._content(visit, video_id))
            case "GET", True, None:
                return Errand(self._dialect, lambda visit: self._get(visit, video_id))
            case "DELETE", True, None:
                return Errand(self._dialect, lambda visit: self._delete(visit, video_id))
        raise not_allowed(request)

    def _create(self, visit: Visit) -> Told:
        values, reference = _read(visit)
        check_fields(values, _FIELDS, ("prompt",))
        check_text("prompt", values["prompt"], PROMPT_MAX)
        size = size_of(values.get("size") or SIZES[0])
        assert size is not None
        order = Order(
            model=values.get("model") or DEFAULT_MODEL,
            prompt=values["prompt"],
            seconds=int(values.get("seconds") or SECONDS[0]),
            width=size[0],
            height=size[1],
            inputs=() if reference is None else (self._input(visit, reference),),
        )
        job = take(self._desk, visit, "openai", order, idempotent=True)
        return json_told(_shown(job, "waiting"))

    def _input(self, visit: Visit, reference: Part | Mapping[str, Any]) -> dict[str, Any]:
        """What the film is to begin with, as the truth log has it.

        Raises:
            ApiError: it is no picture, or not there.
        """
        if isinstance(reference, Part):
            data: bytes | memoryview = reference.data
        else:
            match reference:
                case {"file_id": str(file_id)} if len(reference) == 1:
                    file = self._files.find("openai", visit.key, file_id)
                    if file is None:
                        raise ApiError(f"Files ['{file_id}'] were not found.", param=_REFERENCE)
                    data = file.data
                case {"image_url": str(url)} if len(reference) == 1:
                    if url.startswith("https://"):
                        return {"name": _REFERENCE, "url": url}
                    data = _of_data_url(url)
                case _:
                    raise missing(f"{_REFERENCE}.image_url")
        if not any(data[: len(magic)] == magic for magic in MAGICS):
            raise ApiError(
                "Invalid file. Supported formats are: 'image/jpeg', 'image/png', and 'image/webp'.",
                param=_REFERENCE,
                code="unsupported_file",
            )
        return input_of(_REFERENCE, data)

    def _remix(self, visit: Visit, video_id: str) -> Told:
        values = read_json(visit.request.body)
        check_fields(values, {"prompt": fields.STRING}, ("prompt",))
        check_text("prompt", values["prompt"], PROMPT_MAX)
        source = self._found(visit, video_id)
        if source.state() != "succeeded":
            raise ApiError(f"Video '{video_id}' is not completed.", param="video_id")
        before = source.order
        order = Order(
            before.model,
            values["prompt"],
            before.seconds,
            before.width,
            before.height,
            remix_of=video_id,
        )
        job = take(self._desk, visit, "openai", order, idempotent=True)
        return json_told(_shown(job, "waiting"))

    def _list(self, visit: Visit) -> Told:
        visit.begin_call("jobs.list")
        query = parse_qs(visit.request.query)
        limit = number_of(query, "limit", PAGE)
        if limit > PAGE_MAX:
            raise ApiError(f"Invalid 'limit': at most {PAGE_MAX}.", param="limit")
        jobs = self._desk.book.of("openai", visit.key)
        if query.get("order", ["desc"]) == ["desc"]:
            jobs.reverse()
        if after := query.get("after"):
            places = [place for place, job in enumerate(jobs) if job.job_id == after[0]]
            if not places:
                raise _unknown(after[0])
            jobs = jobs[places[0] + 1 :]
        page = jobs[:limit]
        return json_told(
            {
                "object": "list",
                "data": [_shown(job, job.state()) for job in page],
                "first_id": page[0].job_id if page else None,
                "last_id": page[-1].job_id if page else None,
                "has_more": len(jobs) > limit,
            }
        )

    def _get(self, visit: Visit, video_id: str) -> Told:
        job = self._found(visit, video_id)
        state = poll(visit, job)
        if state == "lost":
            raise _unknown(video_id)
        return json_told(_shown(job, state), *poll_headers(job))

    def _content(self, visit: Visit, video_id: str) -> Told:
        job = self._found(visit, video_id)
        variant = parse_qs(visit.request.query).get("variant", ["video"])[0]
        if variant not in VARIANTS:
            raise ApiError(
                f"Invalid value: '{variant}'. Supported values are: {', '.join(VARIANTS)}.",
                param="variant",
                code="invalid_value",
            )
        if job.state() != "succeeded":
            raise ApiError(
                "Video is not ready yet, use GET /v1/videos/{video_id} to check status.",
                status=404,
            )
        return fetch(self._desk, visit, job, 0, variant)

    def _delete(self, visit: Visit, video_id: str) -> Told:
        visit.begin_call("jobs.delete")
        self._desk.book.drop(self._found(visit, video_id))
        return json_told({"id": video_id, "object": "video.deleted", "deleted": True})

    def _found(self, visit: Visit, video_id: str) -> Job:
        job = self._desk.book.find("openai", visit.key, video_id)
        if job is None:
            raise _unknown(video_id)
        return job


def _unknown(video_id: str) -> ApiError:
    return ApiError(f"Video with id '{video_id}' not found.", status=404)


def _read(visit: Visit) -> tuple[dict[str, Any], Part | Mapping[str, Any] | None]:
    """What was asked for, of JSON or a form, and what it is to begin with."""
    request = visit.request
    if not request.headers.get(b"content-type", b"").startswith(b"multipart/"):
        values = read_json(request.body)
        reference = values.pop(_REFERENCE, None)
        if reference is not None:
            fields.OBJECT(_REFERENCE, reference)
        return values, reference
    form = read_form(request)
    assert visit.record is not None
    visit.record.parts = form.described()
    files = [part for part in form.parts if part.filename is not None]
    if [part.name for part in files] not in ([], [_REFERENCE]):
        raise ApiError(f"Unexpected file: only one '{_REFERENCE}' is taken.", param=_REFERENCE)
    values = dict(form.values(_REFERENCE))
    linked = {
        name: values.pop(f"{_REFERENCE}[{name}]")
        for name in ("image_url", "file_id")
        if f"{_REFERENCE}[{name}]" in values
    }
    return values, files[0] if files else linked or None


def _of_data_url(url: str) -> bytes:
    head, _, data = url.partition(",")
    try:
        if not (head.startswith("data:image/") and head.endswith(";base64")):
            raise ValueError(head)
        return b64decode(data, validate=True)
    except (ValueError, Base64Error):
        raise ApiError(
            "Invalid 'input_reference.image_url'. Expected an HTTPS URL or a base64-encoded data "
            "URL of a picture.",
            param=f"{_REFERENCE}.image_url",
            code="invalid_value",
        ) from None


def _shown(job: Job, state: JobState) -> dict[str, Any]:
    done_at = None
    if state == "succeeded" and job.succeeded_s is not None:
        done_at = job.created_at + round(job.succeeded_s - job.created_s)
    error = None
    if state in _ERRORS:
        code, message = _ERRORS[state]
        error = {"code": job.directives.job_code or code, "message": message}
    progress = {"waiting": 0, "succeeded": 100}.get(state, job.progress)
    return {
        "id": job.job_id,
        "object": "video",
        "created_at": job.created_at,
        "status": _STATUSES.get(state, "failed"),
        "completed_at": done_at,
        "error": error,
        "expires_at": None if done_at is None else done_at + KEPT_S,
        "model": job.order.model,
        "progress": progress,
        "prompt": job.order.prompt,
        "remixed_from_video_id": job.order.remix_of,
        "seconds": str(job.seconds),
        "size": job.size,
    }
