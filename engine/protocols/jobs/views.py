"""How a job is shown, in each of its clients' protocols."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

import orjson

from engine.job import ENDED, JobError, JobKind, JobResult, JobState, bare_job_id
from engine.ledger.job_rows import JobView
from engine.ledger.receipts import money_json

GENERATIONS: Final = {"video": "video_generations", "music": "music_generations"}
MAIN_VARIANT: Final[Mapping[JobKind, str]] = {"video": "video", "music": "audio"}
"""The thing itself."""
OPENAI_VIDEOS: Final = "openai_videos"
GEMINI_VIDEOS: Final = "gemini_videos"

_SHOWN: Final[Mapping[JobState, str]] = {
    "submitted": "queued",
    "running": "in_progress",
    "succeeded": "completed",
    "failed": "failed",
    "expired": "failed",
    "cancelled": "failed",
}
"""As OpenAI says it, which knows no other ends."""
_ENDINGS: Final[Mapping[JobState, JobError]] = {
    "failed": JobError("failed", "The video could not be made."),
    "expired": JobError("expired", "The video was not made in time."),
    "cancelled": JobError("cancelled", "The job was cancelled."),
}
_RPC_CODES: Final[Mapping[JobState, int]] = {"failed": 13, "expired": 4, "cancelled": 1}
"""Of google.rpc.Code: INTERNAL, DEADLINE_EXCEEDED, CANCELLED."""


def job_object(view: JobView, protocol: str | None = None, origin: str = "") -> dict[str, Any]:
    """A job in a protocol of its clients, that of its request if none is named. `origin` is what
    stands before the paths of its results (`https://host`)."""
    return _RENDERERS[protocol or view.row.protocol](view, origin)


def job_json(view: JobView, protocol: str | None = None, origin: str = "") -> bytes:
    """The same, as bytes."""
    return orjson.dumps(job_object(view, protocol, origin))


def openai_id(view: JobView) -> str:
    """What OpenAI's clients know it by."""
    return video_id(view.row.job_id)


def video_id(job_id: str) -> str:
    """The same, of an id of ours.

    >>> video_id("job_0123abc")
    'video_0123abc'
    """
    return f"video_{bare_job_id(job_id)}"


def operation_name(view: JobView) -> str:
    """What Gemini's clients know it by."""
    return f"models/{view.row.model}/operations/{bare_job_id(view.row.job_id)}"


def content_path(view: JobView, number: int, variant: str) -> str:
    """Where the gateway gives the thing itself, to who has a key of the account."""
    place = "videos" if view.row.kind == "video" else "music/generations"
    path = f"/v1/{place}/{view.row.job_id}/content"
    query = [f"variant={variant}"] if variant != MAIN_VARIANT[view.row.kind] else []
    query += [f"index={number}"] if number else []
    return path + ("?" + "&".join(query) if query else "")


def _generation(view: JobView, origin: str) -> dict[str, Any]:
    row = view.row
    shown: dict[str, Any] = {
        "job_id": row.job_id,
        "object": f"{row.kind}.generation",
        "status": view.state,
        "model": row.model,
        "created_at": row.created_at_ms // 1_000,
        "expires_at": row.expires_at_ms // 1_000,
        "updated_at": view.changed_at_ms // 1_000,
        "progress": _progress(view),
        "request_id": row.request_id,
        **{name: value for name, value in row.params.items() if name not in ("prompt", "lyrics")},
    }
    if row.store_result:
        shown["store_result"] = True
    if (unstored := view.store_error) is not None:
        shown["store_error"] = {"code": unstored.code, "message": unstored.message}
    if view.state == "succeeded":
        shown["results"] = list(_results(view, origin))
        shown["usage"] = _usage(view)
    if (error := _error(view)) is not None:
        shown["error"] = {"code": error.code, "message": error.message}
    if view.closed:
        shown["cost"] = money_json(view.price_nanodollars)
    return shown


def _results(view: JobView, origin: str) -> Iterator[dict[str, Any]]:
    """What can be fetched from elsewhere as it is, by its URL; what cannot, from here."""
    for number, result in _numbered(view):
        direct = not result.needs_key and not result.url.startswith("/")
        url = result.url if direct else origin + content_path(view, number, result.variant)
        stored = result.variant == view.results[0].variant and number < len(view.files)
        file_id = view.files[number] if stored else None
        yield {
            "url": url,
            **({"file_id": f"file-{file_id}"} if file_id is not None else {}),
            "content_type": result.content_type,
            "variant": result.variant,
        }


def _numbered(view: JobView) -> Iterator[tuple[int, JobResult]]:
    """Each with its number among those of its variant."""
    seen: dict[str, int] = {}
    for result in view.results:
        number = seen[result.variant] = seen.get(result.variant, -1) + 1
        yield number, result


def _openai_video(view: JobView, origin: str) -> dict[str, Any]:
    row = view.row
    params = row.params
    ended_s = view.changed_at_ms // 1_000 if view.state == "succeeded" else None
    error = _error(view)
    return {
        "id": openai_id(view),
        "object": "video",
        "model": row.model,
        "status": _SHOWN[view.state],
        "progress": _progress(view),
        "created_at": row.created_at_ms // 1_000,
        "completed_at": ended_s,
        "expires_at": None,
        "prompt": params.get("prompt"),
        "seconds": str(params.get("seconds") or _seconds(view) or ""),
        "size": params.get("size") or _tier(view) or "",
        "remixed_from_video_id": params.get("remixed_from_video_id"),
        "error": None if error is None else {"code": error.code, "message": error.message},
    }


def _operation(view: JobView, origin: str) -> dict[str, Any]:
    """A long-running operation: google.longrunning.Operation with Veo's response."""
    shown: dict[str, Any] = {"name": operation_name(view)}
    if view.state not in ENDED:
        return shown
    shown["done"] = True
    if view.state == "succeeded":
        samples = [
            {"video": {"uri": _gemini_uri(result, origin), "encoding": result["content_type"]}}
            for result in _results(view, origin)
            if result["variant"] == "video"
        ]
        shown["response"] = {
            "@type": "type.googleapis.com/google.ai.generativelanguage.v1beta"
            ".PredictLongRunningResponse",
            "generateVideoResponse": {"generatedSamples": samples},
        }
    else:
        error = _error(view)
        assert error is not None, "every other end says why"
        shown["error"] = {"code": _RPC_CODES[view.state], "message": error.message}
    return shown


def _gemini_uri(result: Mapping[str, Any], origin: str) -> str:
    """A file of the account, where it has become one: what Google's SDK downloads."""
    file_id = result.get("file_id")
    if file_id is None:
        return str(result["url"])
    return f"{origin}/v1beta/files/{file_id.removeprefix('file-')}:download?alt=media"


def _error(view: JobView) -> JobError | None:
    if view.state not in _ENDINGS:
        return None
    return view.error or _ENDINGS[view.state]


def _progress(view: JobView) -> int:
    return 100 if view.state == "succeeded" else view.progress or 0


def _usage(view: JobView) -> dict[str, Any]:
    """In the words of receipts; seconds for milliseconds."""
    units = _units(view)
    usage: dict[str, Any] = {unit: count for unit, count in units.items() if unit != "milliseconds"}
    if (milliseconds := units.get("milliseconds")) is not None:
        usage["seconds"] = milliseconds / 1_000
    return usage


def _units(view: JobView) -> dict[str, int]:
    asked = {} if view.acceptance is None else view.acceptance.terms.units
    return {str(unit): count for unit, count in {**asked, **view.units}.items()}


def _seconds(view: JobView) -> str | None:
    units = _units(view)
    if not (milliseconds := units.get("milliseconds")):
        return None
    seconds = Decimal(milliseconds) / 1_000 / max(1, units.get("clips", 1))
    return f"{seconds.normalize():f}"


def _tier(view: JobView) -> str | None:
    return None if view.acceptance is None else view.acceptance.terms.service_tier


_RENDERERS: Final[Mapping[str, Callable[[JobView, str], dict[str, Any]]]] = {
    GENERATIONS["video"]: _generation,
    GENERATIONS["music"]: _generation,
    OPENAI_VIDEOS: _openai_video,
    GEMINI_VIDEOS: _operation,
}
