"""The paths that a provider is asked about a job by."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

from engine.job import JobSpec

_is_id = re.compile(r"[!-~]{1,512}").fullmatch
_NOT_NAMES: Final = frozenset({"", ".", ".."})


def checked_id(spec: JobSpec, value: object) -> str:
    """A provider's name of a job. Raises ValueError: it is none that could stand in a path."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not _is_id(text):
        raise ValueError("the provider's id of the job is none")
    parts = text.split("/") if spec.keeps_slashes else [text]
    if not _NOT_NAMES.isdisjoint(parts):
        raise ValueError("the provider's id of the job is no path")
    return text


def submit_path(spec: JobSpec, model: str) -> str:
    """Of the `POST` that asks for a job, behind the provider's base URL."""
    return _filled(spec, spec.submit, model=model)


def poll_path(spec: JobSpec, model: str, provider_job_id: str) -> str:
    """Of the `GET` that says how it stands.

    >>> from engine.protocols.jobs.specs import VEO
    >>> poll_path(VEO, "veo-3.1", "models/veo-3.1/operations/a b")
    '/models/veo-3.1/operations/a%20b'
    """
    return _filled(spec, spec.poll, model=model, job=provider_job_id)


def cancel_path(spec: JobSpec, model: str, provider_job_id: str) -> tuple[str, str] | None:
    """Method and path that end it; None: this provider has none."""
    if spec.cancel is None:
        return None
    method, path = spec.cancel
    return method, _filled(spec, path, model=model, job=provider_job_id)


def remix_path(spec: JobSpec, model: str, provider_job_id: str) -> str | None:
    """Of the `POST` that makes another one of it; None: this provider has none."""
    if spec.remix is None:
        return None
    return _filled(spec, spec.remix, model=model, job=provider_job_id)


def content_path(spec: JobSpec, model: str, provider_job_id: str, variant: str) -> str | None:
    """Of the `GET` that gives what it has made; None: it names URLs instead."""
    if spec.content is None:
        return None
    return _filled(spec, spec.content, model=model, job=provider_job_id, variant=variant)


def _filled(spec: JobSpec, path: str, *, model: str, job: str = "", variant: str = "") -> str:
    kept = "/" if spec.keeps_slashes else ""
    filled = {
        "{model}": quote(model.removeprefix("models/"), safe=""),
        "{id}": quote(job, safe=kept),
        "{variant}": quote(variant, safe=""),
    }
    return re.sub(r"\{(?:model|id|variant)\}", lambda found: filled[found[0]], path)
