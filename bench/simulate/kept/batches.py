"""OpenAI's batches: files of requests that are answered when somebody looks whether they are.

How one ends is told for its call, `batches.create`, as it is told for jobs; what a line gets, in
its own prompt. Output comes in another order than the requests did.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import orjson

from bench.simulate import openai_fields as fields
from bench.simulate.courses import Course
from bench.simulate.dialect import Dialect
from bench.simulate.errands import Told, Visit, json_told
from bench.simulate.errors import ApiError
from bench.simulate.files import FileShelf, KeptFile
from bench.simulate.job_calls import poll_course, poll_headers
from bench.simulate.kept.desk import At, KeptDesk, Way, check_metadata, page_told
from bench.simulate.kept.shelf import Kept, Shelf
from bench.simulate.openai_fields import one_of
from bench.simulate.operation import check_fields, read_json
from bench.simulate.planner import Planner

LINES_MAX: Final = 50_000
FILE_MAX_BYTES: Final = 200 * 1024 * 1024
WINDOW_S: Final = 86_400
_TIMES: Final = (
    "in_progress_at",
    "expires_at",
    "finalizing_at",
    "completed_at",
    "failed_at",
    "expired_at",
    "cancelling_at",
    "cancelled_at",
)
_UNDONE: Final = {
    "batch_expired": "This request could not be executed before the completion window expired.",
    "batch_cancelled": "This request was not executed because the batch was cancelled.",
}


class Line(NamedTuple):
    """One request."""

    custom_id: str
    body: bytes


@dataclass(slots=True)
class Work:
    """What is known of a batch beside what is shown.

    Attributes:
        errors: what is wrong with its file; it fails when it is no longer validated.
        answers: those of its lines that are done, by status, once it has ended.
    """

    course: Course
    lines: Sequence[Line]
    errors: list[dict[str, Any]]
    answers: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    cancelling: bool = False
    over: bool = False


class BatchDesk(KeptDesk):
    """The desk of batches; `dialects` answer the lines, by their endpoint."""

    def __init__(
        self, shelf: Shelf, files: FileShelf, planner: Planner, dialects: Mapping[str, Dialect]
    ) -> None:
        ways = (
            Way("POST", "/v1/batches", "batches.create", self._create, "openai-batches"),
            Way("GET", "/v1/batches", "batches.list", self._list),
            Way("GET", "/v1/batches/{batch_id}", "batches.get", self._get),
            Way("POST", "/v1/batches/{batch_id}/cancel", "batches.cancel", self._cancel),
        )
        super().__init__(shelf, dialects["/v1/chat/completions"], ways)
        self._files = files
        self._planner = planner
        self._dialects = dialects

    def _create(self, visit: Visit, _at: At) -> Told:
        values = read_json(visit.request.body)
        checks = {
            "completion_window": one_of("24h"),
            "endpoint": one_of(*self._dialects),
            "input_file_id": fields.STRING,
            "metadata": check_metadata,
            "output_expires_after": fields.OBJECT,
        }
        check_fields(values, checks, ("input_file_id", "endpoint", "completion_window"))
        file = self._files.find("openai", visit.key, values["input_file_id"])
        if file is None or file.purpose != "batch":
            wrong = "not found" if file is None else "not a file of the purpose 'batch'"
            raise ApiError(
                f"Invalid 'input_file_id': file '{values['input_file_id']}' is {wrong}.",
                param="input_file_id",
            )
        lines, errors = _read(file, values["endpoint"])
        batch_id = self._shelf.new_id("batch_")
        work = Work(Course(directives=visit.directives), lines, errors)
        value = _value(batch_id, values, work.course.created_at)
        self._shelf.add("batch", visit.key, value, more=work)
        assert visit.record is not None
        visit.record.completion_id, visit.record.files = batch_id, (file.to_json(),)
        return json_told(value)

    def _list(self, visit: Visit, _at: At) -> Told:
        batches = self._shelf.of("batch", visit.key)
        for kept in batches:
            self._look(kept)
        return page_told(batches, visit)

    def _get(self, visit: Visit, at: At) -> Told:
        kept = self._found(visit, at)
        poll_course(visit, kept.more.course)
        self._look(kept)
        self._found(visit, at)
        return json_told(kept.value, *poll_headers(kept.more.course))

    def _cancel(self, visit: Visit, at: At) -> Told:
        kept = self._found(visit, at)
        self._look(kept)
        work: Work = kept.more
        if work.over or work.course.directives.cancel == "refused":
            raise ApiError(f"Cannot cancel a batch with status '{kept.value['status']}'.")
        work.cancelling = True
        work.course.cancel()
        kept.value |= {"status": "cancelling", "cancelling_at": int(time.time())}
        return json_told(kept.value)

    def _found(self, visit: Visit, at: At) -> Kept:
        kept = self._shelf.find("batch", visit.key, at["batch_id"])
        if kept is None or kept.more.course.state() == "lost":
            raise ApiError(f"No batch found with id '{at['batch_id']}'.", status=404)
        return kept

    # -- what becomes of it -------------------------------------------------------------------

    def _look(self, kept: Kept) -> None:
        """Bring what is shown up to date."""
        work: Work = kept.more
        state = work.course.state()
        if work.over or state in ("waiting", "lost"):
            return
        if work.errors or state in ("failed", "blocked"):
            code = work.course.directives.job_code or "internal_error"
            failure = {"code": code, "line": None, "message": "The batch failed.", "param": None}
            listed = {"object": "list", "data": work.errors or [failure]}
            self._end(kept, "failed", errors=listed)
            return
        total = len(work.lines)
        done = total if state == "succeeded" else total * work.course.progress // 100
        counts = {"total": total, "completed": done, "failed": 0}
        kept.value["request_counts"] = counts
        if kept.value["in_progress_at"] is None:
            kept.value["in_progress_at"] = int(time.time())
        match state:
            case "running":
                if not work.cancelling:
                    kept.value["status"] = "in_progress"
            case "succeeded":
                kept.value["finalizing_at"] = int(time.time())
                self._answer(kept, done, "")
                self._end(kept, "completed")
            case "expired" | "cancelled":
                self._answer(kept, done, f"batch_{state}")
                self._end(kept, state)

    def _end(self, kept: Kept, status: str, **more: Any) -> None:
        kept.more.over = True
        kept.value |= {"status": status, f"{status}_at": int(time.time()), **more}

    def _answer(self, kept: Kept, done: int, undone: str) -> None:
        """Answer so many of the lines; the files of it are the key's from then on."""
        work: Work = kept.more
        dialect = self._dialects[kept.value["endpoint"]]
        headers = {b"authorization": f"Bearer {kept.key}".encode()}
        outputs: list[bytes] = []
        errors: list[bytes] = []
        for number, line in enumerate(work.lines):
            answer: dict[str, Any] = {
                "id": f"batch_req_{kept.object_id.removeprefix('batch_')}{number:08x}",
                "custom_id": line.custom_id,
                "response": None,
                "error": None,
            }
            if number >= done:
                answer["error"] = {"code": undone, "message": _UNDONE[undone]}
                errors.append(orjson.dumps(answer) + b"\n")
                continue
            status, own_id, body = self._planner.whole(
                dialect, kept.value["endpoint"], headers, line.body
            )
            shown = orjson.loads(body)
            answer["response"] = {"status_code": status, "request_id": own_id, "body": shown}
            work.answers.append((status, shown))
            (outputs if status == 200 else errors).append(orjson.dumps(answer) + b"\n")
        kept.value["output_file_id"] = self._file(kept, "output", reversed(outputs))
        kept.value["error_file_id"] = self._file(kept, "error", errors)
        failed = sum(status != 200 for status, _ in work.answers)
        counts = {"total": len(work.lines), "completed": done - failed, "failed": failed}
        used = _usage(body for status, body in work.answers if status == 200)
        kept.value |= {"request_counts": counts, "usage": used}

    def _file(self, kept: Kept, what: str, lines: Iterator[bytes] | Sequence[bytes]) -> str | None:
        data = b"".join(lines)
        if not data:
            return None
        return self._files.add(
            "openai",
            kept.key,
            data,
            filename=f"{kept.object_id}_{what}.jsonl",
            mime_type="application/jsonl",
            purpose="batch_output",
        ).file_id


def _value(batch_id: str, values: Mapping[str, Any], created_at: int) -> dict[str, Any]:
    times: dict[str, int | None] = dict.fromkeys(_TIMES)
    return {
        "id": batch_id,
        "object": "batch",
        "endpoint": values["endpoint"],
        "errors": None,
        "input_file_id": values["input_file_id"],
        "completion_window": values["completion_window"],
        "status": "validating",
        "output_file_id": None,
        "error_file_id": None,
        "created_at": created_at,
        **times,
        "expires_at": created_at + WINDOW_S,
        "request_counts": {"total": 0, "completed": 0, "failed": 0},
        "metadata": values.get("metadata"),
    }


def _read(file: KeptFile, endpoint: str) -> tuple[list[Line], list[dict[str, Any]]]:
    """The lines of a file, and what is wrong with them."""
    lines: list[Line] = []
    errors: list[dict[str, Any]] = []
    seen: set[str] = set()
    model: Any = None

    def wrong(number: int | None, code: str, message: str, param: str | None = None) -> None:
        errors.append({"code": code, "line": number, "message": message, "param": param})

    if len(file.data) > FILE_MAX_BYTES:
        wrong(None, "file_too_large", "The input file is too large.")
        return [], errors
    for number, text in enumerate(file.data.splitlines(), 1):
        if not text.strip():
            continue
        if len(lines) >= LINES_MAX:
            wrong(number, "too_many_requests", f"The batch has more than {LINES_MAX} requests.")
            break
        try:
            line = orjson.loads(text)
        except orjson.JSONDecodeError:
            line = None
        match line:
            case {"custom_id": str(own), "method": "POST", "url": str(url), "body": dict(body)}:
                pass
            case _:
                wrong(number, "invalid_json_line", "This line is not parseable as valid JSON.")
                continue
        model = body.get("model") if model is None else model
        if own in seen:
            wrong(number, "duplicate_custom_id", f"The custom_id '{own}' is a duplicate.")
        elif url != endpoint:
            wrong(number, "mismatched_endpoint", f"'{url}' is not the batch's endpoint.", "url")
        elif body.get("model") != model:
            wrong(number, "mismatched_model", "The model is not that of the batch.", "body.model")
        seen.add(own)
        lines.append(Line(own, orjson.dumps(body)))
    if not lines and not errors:
        wrong(None, "empty_file", "The input file is empty.")
    return lines, errors


def _usage(bodies: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """What the answers report, together."""
    taken = made = cached = thought = 0
    for body in bodies:
        used = body.get("usage") or {}
        taken += used.get("input_tokens", used.get("prompt_tokens", 0))
        made += used.get("output_tokens", used.get("completion_tokens", 0))
        into = used.get("input_tokens_details") or used.get("prompt_tokens_details") or {}
        out = used.get("output_tokens_details") or used.get("completion_tokens_details") or {}
        cached += into.get("cached_tokens", 0)
        thought += out.get("reasoning_tokens", 0)
    return {
        "input_tokens": taken,
        "input_tokens_details": {"cached_tokens": cached},
        "output_tokens": made,
        "output_tokens_details": {"reasoning_tokens": thought},
        "total_tokens": taken + made,
    }
