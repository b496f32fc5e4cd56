"""The object that a batch is: what it says of how the batch does, and how its client sees it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from engine.file_ids import shown_file_id
from engine.job import JobError, JobReport, JobResult, JobSpec, JobState
from engine.protocols.fields import dict_of, dicts, text_of
from engine.protocols.scrub import scrub

STATES: Final[Mapping[str, JobState]] = MappingProxyType(
    {
        "validating": "submitted",
        "in_progress": "running",
        "finalizing": "running",
        "cancelling": "running",
        "completed": "succeeded",
        "failed": "failed",
        "expired": "expired",
        "cancelled": "cancelled",
    }
)
"""What its `status` means; a word that is not there leaves the state as it was."""

OUTPUT: Final = "output"
ERRORS: Final = "errors"
_FILES: Final = ((OUTPUT, "output_file_id"), (ERRORS, "error_file_id"))
"""Variants of what a batch has made, and where its object names them."""
_TYPE: Final = "application/jsonl"
_ID: Final = re.compile(r"[\w-]{1,256}")
_ENDED: Final = frozenset({"completed", "expired", "cancelled"})
_TIMES: Final = ("completed_at", "expired_at", "cancelled_at", "failed_at")

_UNDER_WAY: Final[Mapping[str, JobState]] = {
    word: "submitted" if state == "submitted" else "running" for word, state in STATES.items()
}
"""An end says nothing before its files have been read."""

SPEC: Final = JobSpec(
    dialect="openai",
    submit="/batches",
    fields={},
    id="id",
    poll="/batches/{id}",
    state="status",
    states=_UNDER_WAY,
    cancel=("POST", "/batches/{id}/cancel"),
    recover="list",
    listed="/batches?limit=100",
    list_items="data",
    list_match={"input_file_id": "input_file_id", "created_at": "created_at"},
)
"""How a batch is found again whose submit was not answered: each has a file of its own. How it has
ended is said by `read_batch_report` alone."""


def batch_id(document: Mapping[str, Any]) -> str:
    """Raises ValueError: it has none."""
    found = document.get("id")
    if not isinstance(found, str) or _ID.fullmatch(found) is None:
        raise ValueError("no id of a batch")
    return found


def read_batch_report(document: Mapping[str, Any]) -> JobReport | None:
    """How a batch does; where it has ended, with the files that it has made. None: it does not
    say."""
    state = STATES.get(text_of(document.get("status")))
    if state is None:
        return None
    counts = dict_of(document.get("request_counts"))
    total, done = counts.get("total"), counts.get("completed")
    progress = None
    if type(total) is int and type(done) is int and total > 0:
        progress = 100 * done // total
    error = None
    if state == "failed":
        said = next(dicts(dict_of(document.get("errors")).get("data")), {})
        error = JobError("failed", scrub(text_of(said.get("message"))) or "The batch has failed.")
    results = tuple(
        JobResult(f"/files/{file_id}/content", _TYPE, needs_key=True, variant=variant)
        for variant, member in _FILES
        if _ID.fullmatch(file_id := text_of(document.get(member)))
    )
    return JobReport(state, progress, error, results)


def provider_file_id(result: JobResult) -> str:
    """What its provider calls the file that a result of `read_batch_report` is."""
    return result.url.split("/")[2]


def without_files(document: Mapping[str, Any]) -> dict[str, Any]:
    """A batch that names no files."""
    named = ("input_file_id", *(member for _, member in _FILES))
    return {**document, **{name: None for name in named if name in document}}


def with_files(
    document: Mapping[str, Any],
    params: Mapping[str, Any],
    made: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """A batch as its client sees it: `params` are the job's, `made` the bare ids of the account's
    files by variant; None: they are not there yet, and then it has not ended, for all that its
    client can see."""
    shown = dict(document)
    shown["input_file_id"] = params["input_file_id"]
    for variant, member in _FILES:
        if member in shown:
            file_id = None if made is None else made.get(variant)
            shown[member] = None if file_id is None else shown_file_id(file_id, "openai")
    if made is None and shown.get("status") in _ENDED:
        shown["status"] = "cancelling" if shown["status"] == "cancelled" else "finalizing"
        shown |= dict.fromkeys((name for name in _TIMES if name in shown), None)
    return shown
