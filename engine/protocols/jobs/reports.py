"""What a provider says of a job, by its spec."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

from engine.job import JobError, JobReport, JobResult, JobSpec, JobState
from engine.protocols.fields import load_object
from engine.protocols.jobs.paths import checked_id, content_path
from engine.protocols.jobs.places import value_at, values_at
from engine.protocols.scrub import scrub
from engine.usage import MoreUnit

_MESSAGE_MAX_CHARS: Final = 500
_CODE_MAX_CHARS: Final = 64
_WORD_MAX_CHARS: Final = 64
_URL_MAX_CHARS: Final = 8_192
_RESULTS_MAX: Final = 16
_COUNT_MAX: Final = 10**9
_NO_WORDS: Final = "The provider has failed to make it, and does not say why."
_NOTHING_MADE: Final = JobError("no_result", "The provider has made nothing.")


def read_report(
    spec: JobSpec,
    status: int,
    body: bytes,
    provider_job_id: str,
    *,
    model: str = "",
    before: JobState = "submitted",
) -> JobReport | None:
    """How a job stands by the answer to a poll; None: the answer says nothing of it (yet): another
    status than a success, no JSON, nothing that the spec knows.

    Args:
        before: its state until now, which a word that `spec.states` lacks leaves as it was.
    """
    if status == spec.pending_status:
        return _pending(spec, body, before)
    if not 200 <= status < 300:
        return None
    try:
        document = load_object(body)
    except ValueError:
        return None
    return report_of(spec, document, provider_job_id, model=model, before=before)


def report_of(
    spec: JobSpec,
    document: dict[str, Any],
    provider_job_id: str,
    *,
    model: str = "",
    before: JobState = "submitted",
) -> JobReport:
    """How a job stands by what a provider says of it: on a poll, at the submit, in a list."""
    state = spec.states.get(_word(value_at(document, spec.state)), before)
    progress = _progress(value_at(document, spec.progress))
    if state == "failed" or (spec.failed_if and value_at(document, spec.failed_if)):
        return JobReport("failed", progress, _error(spec, document), units=_units(spec, document))
    if state != "succeeded":
        return JobReport(state, progress, units=_units(spec, document))
    results = tuple(_results(spec, document, provider_job_id, model))[:_RESULTS_MAX]
    if not results:
        said = _message(spec, document)
        error = _NOTHING_MADE if said is None else JobError(_NOTHING_MADE.code, said)
        return JobReport("failed", progress, error)
    return JobReport(state, progress, results=results, units=_units(spec, document))


def id_of(spec: JobSpec, document: dict[str, Any]) -> str:
    """The provider's id in the answer to a submit. Raises ValueError: there is none."""
    return checked_id(spec, value_at(document, spec.id))


def _pending(spec: JobSpec, body: bytes, before: JobState) -> JobReport:
    try:
        document = load_object(body)
    except ValueError:
        document = {}
    state = spec.states.get(_word(value_at(document, spec.state)), before)
    if state not in ("submitted", "running"):
        state = before
    return JobReport(state, _progress(value_at(document, spec.progress)))


def _word(value: Any) -> str:
    """A state, as `JobSpec.states` spells it: JSON's `true` is `true`."""
    match value:
        case bool():
            return "true" if value else "false"
        case str() | int():
            return str(value)[:_WORD_MAX_CHARS]
        case _:
            return ""


def _progress(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return min(100, max(0, int(value)))


def _error(spec: JobSpec, document: dict[str, Any]) -> JobError:
    code = value_at(document, spec.error_code)
    shown = str(code)[:_CODE_MAX_CHARS] if isinstance(code, str | int) and code != "" else "failed"
    return JobError(scrub(shown), _message(spec, document) or _NO_WORDS)


def _message(spec: JobSpec, document: dict[str, Any]) -> str | None:
    for place in spec.error_message:
        for value in values_at(document, place):
            if isinstance(value, str) and value.strip():
                return scrub(value.strip()[:_MESSAGE_MAX_CHARS])
    return None


def _results(
    spec: JobSpec, document: dict[str, Any], provider_job_id: str, model: str
) -> Iterator[JobResult]:
    variant = "audio" if spec.result_type.startswith("audio/") else "video"
    for place in spec.results:
        for url in values_at(document, place):
            if isinstance(url, str) and _is_address(url):
                yield JobResult(url, spec.result_type, spec.results_need_key, variant)
    variants = spec.variants or {variant: spec.result_type}
    for variant, content_type in variants.items():
        if (path := content_path(spec, model, provider_job_id, variant)) is not None:
            yield JobResult(path, content_type, needs_key=True, variant=variant)


def _is_address(url: str) -> bool:
    return (
        len(url) <= _URL_MAX_CHARS
        and url.isprintable()
        and url.lower().startswith(("https://", "http://", "/"))
        and not url.startswith("//")
    )


def _units(spec: JobSpec, document: dict[str, Any]) -> dict[MoreUnit, int]:
    """What was consumed, in whole units, rounded down."""
    found: dict[MoreUnit, int] = {}
    for unit, (place, times) in spec.units.items():
        value = value_at(document, place)
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if math.isfinite(value) and 0 <= value * times <= _COUNT_MAX:
            found[unit] = int(value * times)
    return found
