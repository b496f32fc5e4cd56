"""What is written down of a job beside its money: where it is, and what its account has by it."""

from __future__ import annotations

from collections.abc import Mapping

from engine.job import JobKind, JobReport
from engine.ledger.job_rows import JobAcceptance, JobRecord, JobRow, JobView
from engine.ledger.owned_rows import OwnedRow, row_of
from engine.owned import OwnedKind, Pin

_OWNED: Mapping[JobKind, OwnedKind] = {"batch": "batch", "fine_tune": "fine_tuning_job"}
"""What such a job is to its client, who asks its provider for it by its id there."""


def owned_by(row: JobRow, acceptance: JobAcceptance) -> tuple[OwnedRow, ...]:
    """What the account has at its provider from now on, by the provider's id."""
    kind = _OWNED.get(row.kind)
    if kind is None:
        return ()
    return (
        OwnedRow(
            acceptance.provider_job_id,
            kind,
            row.account_id,
            row.key_id,
            acceptance.provider,
            acceptance.credential,
            row.created_at_ms,
            model=row.model,
        ),
    )


def kept_by(view: JobView, report: JobReport) -> tuple[OwnedRow, ...]:
    """What its provider keeps of it for the account."""
    row, acceptance = view.row, view.acceptance
    if acceptance is None:
        return ()
    pin, at_ms = Pin(acceptance.provider, acceptance.credential), view.changed_at_ms
    return tuple(
        row_of(
            kept,
            pin,
            account_id=row.account_id,
            key_id=row.key_id,
            model=row.model,
            at_ms=at_ms,
        )
        for kept in report.kept
    )


def record_of(view: JobView) -> JobRecord:
    """That it is where it is now."""
    return JobRecord(
        view.row.job_id,
        view.state,
        view.changed_at_ms,
        error=view.error,
        results=view.results,
        units=view.units,
        closed=view.closed,
        files=view.files,
    )
