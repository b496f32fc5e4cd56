"""What a finished job is to another one that is to be made of it. Pure."""

from __future__ import annotations

from typing import Any, Final

from engine.errors import JobNotEndedError, JobNotRemixableError
from engine.job import JobSource
from engine.jobs.settling import figures_of
from engine.ledger.job_rows import JobView

_SHOWN: Final = ("size", "aspect_ratio", "resolution")
_MS: Final = 1_000


def source_of(view: JobView) -> JobSource:
    """A job as another one's source: as long and as large as it was charged for.

    Raises:
        JobNotEndedError: it still runs.
        JobNotRemixableError: it has ended without a result.
    """
    acceptance, row = view.acceptance, view.row
    if not view.ended:
        raise JobNotEndedError("The job has not ended; wait until it has succeeded.")
    if view.state != "succeeded" or acceptance is None:
        raise JobNotRemixableError(f"The job has not succeeded: it is '{view.state}'.")
    terms = acceptance.terms
    came = figures_of(terms, view.units).units
    units = {unit: came[unit] for unit in (*terms.units, *terms.most) if unit in came}
    most = dict(terms.most)
    for counted in (units, most):
        counted.pop("requests", None)  # of which this is another one
    params: dict[str, Any] = {name: row.params[name] for name in _SHOWN if name in row.params}
    each_ms = units.get("milliseconds", 0) // max(1, units.get("clips", 1))
    seconds = row.params.get("seconds") or each_ms // _MS
    if seconds:
        params["seconds"] = seconds
    if not params.keys() & set(_SHOWN) and terms.service_tier is not None:
        params["size"] = terms.service_tier
    return JobSource(
        job_id=row.job_id,
        account_id=row.account_id,
        model=row.model,
        provider=acceptance.provider,
        upstream_model=acceptance.upstream_model,
        credential=acceptance.credential,
        provider_job_id=acceptance.provider_job_id,
        units=units,
        most=most,
        tier=terms.service_tier,
        params=params,
    )
