"""The object that a fine-tuning job is: what it says of how the job does, and how its client sees
it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from engine.job import JobError, JobReport, JobSpec, JobState
from engine.protocols.fields import dict_of, text_of
from engine.protocols.scrub import scrub
from engine.usage import Usage

STATES: Final[Mapping[str, JobState]] = MappingProxyType(
    {
        "validating_files": "submitted",
        "queued": "submitted",
        "running": "running",
        "paused": "running",
        "succeeded": "succeeded",
        "failed": "failed",
        "cancelled": "cancelled",
    }
)
"""What its `status` means; a word that is not there leaves the state as it was."""

FILES: Final = ("training_file", "validation_file")
UNSAID: Final = "trained_tokens_missing"
"""Of a receipt: the job has succeeded, and its provider does not say how much it has trained."""
_ID: Final = re.compile(r"[\w-]{1,256}")
_TOKENS_MAX: Final = 2**40
"""No job trains more: a larger report is a fault."""
_ENDED: Final = frozenset[JobState]({"succeeded", "failed", "cancelled"})

_UNDER_WAY: Final[Mapping[str, JobState]] = {
    word: "submitted" if state == "submitted" else "running" for word, state in STATES.items()
}
"""An end is read by `read_tuning_report` alone."""

SPEC: Final = JobSpec(
    dialect="openai",
    submit="/fine_tuning/jobs",
    fields={},
    id="id",
    poll="/fine_tuning/jobs/{id}",
    state="status",
    states=_UNDER_WAY,
    cancel=("POST", "/fine_tuning/jobs/{id}/cancel"),
    recover="list",
    listed="/fine_tuning/jobs?limit=100",
    list_items="data",
    list_match={
        "training_file": "training_file",
        "user_provided_suffix": "suffix",
        "created_at": "created_at",
    },
)
"""How a job is found again whose submit was not answered: what is trained on is a copy of the
account's own."""


def tuning_id(document: Mapping[str, Any]) -> str:
    """Raises ValueError: it has none."""
    found = document.get("id")
    if not isinstance(found, str) or _ID.fullmatch(found) is None:
        raise ValueError("no id of a fine-tuning job")
    return found


def read_tuning_report(document: Mapping[str, Any]) -> JobReport | None:
    """How a job does, and once it has ended what it has trained; None: it does not say."""
    state = STATES.get(text_of(document.get("status")))
    if state is None or state not in _ENDED:
        return None if state is None else JobReport(state)
    error = None
    if state == "failed":
        said = scrub(text_of(dict_of(document.get("error")).get("message")))
        error = JobError("failed", said or "The provider could not train the model.")
    tokens = document.get("trained_tokens")
    if type(tokens) is int and 0 <= tokens <= _TOKENS_MAX:
        return JobReport(state, error=error, usage=Usage(more={"trained_tokens": tokens}))
    flags = (UNSAID,) if state == "succeeded" else ()
    return JobReport(state, error=error, flags=flags)


def shown_tuning(
    document: Mapping[str, Any], model: str, files: Mapping[str, Any]
) -> dict[str, Any]:
    """A job that has just been taken as its client sees it: with the names of its model and its
    files, and not whose account it is made with."""
    shown = {**document, "model": model, "organization_id": ""}
    return shown | {name: files.get(name) for name in FILES if name in document}
