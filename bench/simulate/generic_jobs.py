"""A provider of jobs that is like no other: its own names, words, and errors, for films and music.

    POST /jobs/v1/submit {"engine": "sim-music", "task": {"kind": "music", "text": "…",
        "len_s": 30, "takes": 2, "frame": "1280x720", "words": "…"}}
        → 201 {"ticket": {"no": "J-…"}, "phase": "QUEUED"}
    GET /jobs/v1/status/{no}
        → {"ticket": {"no": "J-…"}, "phase": "FINISHED", "done_percent": 100,
           "output": {"takes": [{"link": "http…", "len_ms": 30000, "mime": "audio/wav"}]},
           "bill": {"takes": 2, "seconds": 60}}
        phase: QUEUED, WORKING, FINISHED, BROKEN, TOO_LATE, REFUSED, STOPPED; those that are not
        well have {"trouble": {"reason": "…", "text": "…"}}
    POST /jobs/v1/cancel/{no} → {"ticket": …, "phase": "STOPPED"}, or 409

An error is {"trouble": {"reason": "…", "text": "…"}}. Links need no key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote

import orjson

from bench.simulate.errands import Errand, Told, Visit, json_told, not_allowed
from bench.simulate.errors import ApiError
from bench.simulate.job_calls import Desk, fetch, poll, poll_headers, size_of, take
from bench.simulate.jobs import Job, JobApi, JobState, Order
from bench.simulate.openai_dialect import OpenAIDialect
from bench.simulate.operation import read_json
from bench.simulate.replies import Request
from bench.simulate.shapes import (
    BOOLEAN,
    MAPPING,
    TEXT,
    Violation,
    integer,
    literal,
    number,
    record,
    text,
)
from engine.wire.http import Headers

DEFAULT_SECONDS: Final = {"music": 30, "video": 5}
FRAME: Final = (640, 360)
LINK_SHOWN: Final = 200
_PATH: Final = re.compile(r"/jobs/v1/(?:submit|(status|cancel)/([^/]+))")
_MEDIA: Final = re.compile(r"/_media/jobs/(xai|generic)/([^/]+)/(\d{1,4})")
_LINKED: Final[Mapping[str, JobApi]] = {"xai": "xai", "generic": "generic"}
_TASK: Final = record(
    {
        "kind": literal("music", "video"),
        "text": text(low=1, high=32_000),
        "len_s": number(1, 600),
        "takes": integer(1, 8),
        "frame": text(r"\d{1,4}x\d{1,4}"),
        "words": TEXT,
        "voiceless": BOOLEAN,
        "picture": TEXT,
        "dice": integer(0),
    },
    "kind",
    "text",
)
_REQUEST: Final = record({"engine": text(low=1), "task": _TASK, "note": MAPPING}, "engine", "task")
_PHASES: Final[Mapping[JobState, str]] = {
    "waiting": "QUEUED",
    "running": "WORKING",
    "succeeded": "FINISHED",
    "failed": "BROKEN",
    "expired": "TOO_LATE",
    "blocked": "REFUSED",
    "cancelled": "STOPPED",
    "lost": "BROKEN",
}
_TROUBLES: Final[Mapping[JobState, tuple[str, str]]] = {
    "failed": ("engine_fault", "The engine broke."),
    "expired": ("out_of_time", "The engine took too long."),
    "blocked": ("not_allowed", "The text is not allowed."),
}


class GenericDialect(OpenAIDialect):
    """Keys as OpenAI has them, and errors of its own."""

    def write_error(
        self, error: ApiError, request: Request, request_id: str
    ) -> tuple[Headers, bytes]:
        trouble = {"reason": error.code or f"status_{error.status}", "text": error.message}
        return (
            [(b"content-type", b"application/json"), *error.headers],
            orjson.dumps({"trouble": trouble}),
        )


class GenericJobs:
    """The desk of the generic provider, and of results that need no key."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._dialect = GenericDialect()

    def errand(self, request: Request) -> Errand | None:
        if (linked := _MEDIA.fullmatch(request.path)) is not None:
            api, place = _LINKED[linked[1]], int(linked[3])
            return Errand(
                self._dialect, lambda visit: self._fetch(visit, api, linked[2], place), keyless=True
            )
        found = _PATH.fullmatch(request.path)
        if found is None:
            return None
        job_id = unquote(found[2] or "")
        match request.method, found[1]:
            case "POST", None:
                return Errand(self._dialect, self._submit, "generic-jobs")
            case "GET", "status":
                return Errand(self._dialect, lambda visit: self._get(visit, job_id))
            case "POST", "cancel":
                return Errand(self._dialect, lambda visit: self._cancel(visit, job_id))
        raise not_allowed(request)

    def _submit(self, visit: Visit) -> Told:
        try:
            asked = _REQUEST((), read_json(visit.request.body))
        except Violation as violation:
            where = ".".join(map(str, violation.path))
            raise ApiError(
                f"{where}: {violation.problem}, expected {violation.expected}", code="bad_task"
            ) from None
        task = asked["task"]
        kind = task["kind"]
        film = kind == "video"
        width, height = (size_of(task.get("frame", "")) or FRAME) if film else (0, 0)
        linked = task.get("picture", "")[:LINK_SHOWN]
        order = Order(
            model=asked["engine"],
            prompt=task["text"],
            seconds=round(task.get("len_s", DEFAULT_SECONDS[kind])),
            width=width,
            height=height,
            clips=task.get("takes", 1),
            kind=kind,
            inputs=({"name": "picture", "url": linked},) if linked else (),
        )
        job = take(self._desk, visit, "generic", order, idempotent=True)
        shown = {"ticket": {"no": job.job_id}, "phase": "QUEUED"}
        return json_told(shown, status=201, indented=False)

    def _get(self, visit: Visit, job_id: str) -> Told:
        job = self._found(visit, job_id)
        shown = _shown(job, poll(visit, job), visit.origin)
        return json_told(shown, *poll_headers(job), indented=False)

    def _cancel(self, visit: Visit, job_id: str) -> Told:
        visit.begin_call("jobs.cancel")
        job = self._found(visit, job_id)
        ended = job.state() not in ("waiting", "running", "cancelled")
        if ended or job.directives.cancel == "refused":
            raise ApiError("It cannot be stopped any more.", status=409, code="too_late_to_stop")
        job.cancel()
        return json_told({"ticket": {"no": job_id}, "phase": "STOPPED"}, indented=False)

    def _fetch(self, visit: Visit, api: JobApi, job_id: str, place: int) -> Told:
        job = self._desk.book.any(api, job_id)
        if job is None:
            raise ApiError("There is nothing here.", status=404)
        return fetch(self._desk, visit, job, place)

    def _found(self, visit: Visit, job_id: str) -> Job:
        job = self._desk.book.find("generic", visit.key, job_id)
        if job is None:
            raise ApiError(f"No ticket has the number {job_id}.", status=404, code="no_ticket")
        return job


def _shown(job: Job, state: JobState, origin: str) -> dict[str, Any]:
    shown: dict[str, Any] = {"ticket": {"no": job.job_id}, "phase": _PHASES[state]}
    if state in ("running", "succeeded"):
        shown["done_percent"] = 100 if state == "succeeded" else job.progress
    if state in _TROUBLES:
        reason, words = _TROUBLES[state]
        shown["trouble"] = {"reason": job.directives.job_code or reason, "text": words}
    if state == "succeeded":
        clips = job.order.clips
        kind = "audio/wav" if job.order.kind == "music" else "video/mp4"
        shown["output"] = {
            "takes": [
                {
                    "link": f"{origin}/_media/jobs/{job.api}/{job.job_id}/{place}",
                    "len_ms": job.seconds * 1_000,
                    "mime": kind,
                }
                for place in range(clips)
            ]
        }
        shown["bill"] = {"takes": clips, "seconds": clips * job.seconds}
    return shown
