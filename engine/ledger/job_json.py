"""Rows of jobs as the database has them, and back."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any, Final

import orjson

from engine.job import JobError, JobResult
from engine.ledger.job_rows import (
    JobAcceptance,
    JobRecord,
    JobRow,
    JobSubmit,
    JobTerms,
    JobView,
)
from engine.ledger.receipts import Receipt

JOB_COLUMNS: Final = (
    "seq", "job_id", "request_id", "account_id", "key_id", "kind", "protocol", "model",
    "created_at_ms", "expires_at_ms", "params", "store_result", "webhook_url",
)  # fmt: skip
ACCEPTANCE_COLUMNS: Final = (
    "job_id", "number", "provider", "upstream_model", "credential", "provider_job_id", "terms",
    "at_ms", "receipt",
)  # fmt: skip
RECORD_COLUMNS: Final = (
    "seq", "job_id", "state", "at_ms", "error", "results", "units", "closed", "files",
)  # fmt: skip


def job_row(seq: int, row: JobRow) -> tuple[Any, ...]:
    """In the order of `JOB_COLUMNS`; its parameters as the text of their JSON."""
    return (
        seq, row.job_id, row.request_id, row.account_id, row.key_id, row.kind, row.protocol,
        row.model, row.created_at_ms, row.expires_at_ms, _text(dict(row.params)),
        int(row.store_result), row.webhook_url,
    )  # fmt: skip


def acceptance_row(acceptance: JobAcceptance, receipt: Receipt) -> tuple[Any, ...]:
    """In the order of `ACCEPTANCE_COLUMNS`."""
    return (
        acceptance.job_id, acceptance.number, acceptance.provider, acceptance.upstream_model,
        acceptance.credential, acceptance.provider_job_id, _text(_terms_json(acceptance.terms)),
        acceptance.at_ms, _text(receipt.to_json()),
    )  # fmt: skip


def record_row(seq: int, record: JobRecord) -> tuple[Any, ...]:
    """In the order of `RECORD_COLUMNS`."""
    error = record.error
    results = [
        (each.url, each.content_type, each.needs_key, each.variant) for each in record.results
    ]
    return (
        seq, record.job_id, record.state, record.at_ms,
        None if error is None else _text([error.code, error.message]),
        _text(results), _text(dict(record.units)), int(record.closed), _text(list(record.files)),
    )  # fmt: skip


def submit_row(submit: JobSubmit) -> tuple[Any, ...]:
    """A row of `open_jobs`."""
    body = submit.body
    said = {
        "credential": submit.credential,
        "terms": _terms_json(submit.terms),
        "content_type": submit.content_type,
        "body": None if body is None else b64encode(body).decode(),
        "remix_of": submit.remix_of,
    }
    return submit.job_id, submit.number, _text(said)


def read_job(row: Mapping[str, Any]) -> JobRow:
    """Of a row that has at least `JOB_COLUMNS`."""
    return JobRow(
        job_id=row["job_id"],
        request_id=row["request_id"],
        account_id=row["account_id"],
        key_id=row["key_id"],
        kind=row["kind"],
        protocol=row["protocol"],
        model=row["model"],
        created_at_ms=row["created_at_ms"],
        expires_at_ms=row["expires_at_ms"],
        params=orjson.loads(row["params"]),
        store_result=bool(row["store_result"]),
        webhook_url=row["webhook_url"],
    )


def read_submit(job_id: str, number: int, said: str | None) -> JobSubmit | None:
    """What the last attempt has sent."""
    if said is None:
        return None
    value = orjson.loads(said)
    return JobSubmit(
        job_id,
        number,
        value["credential"],
        _terms(value["terms"]),
        value["content_type"],
        None if value["body"] is None else b64decode(value["body"]),
        value.get("remix_of"),
    )


def read_acceptance(row: Mapping[str, Any]) -> JobAcceptance | None:
    """Of a row that has `ACCEPTANCE_COLUMNS` with `accepted_` before their names."""
    if row["accepted_number"] is None:
        return None
    return JobAcceptance(
        job_id=row["job_id"],
        number=row["accepted_number"],
        provider=row["accepted_provider"],
        upstream_model=row["accepted_upstream_model"],
        credential=row["accepted_credential"],
        provider_job_id=row["accepted_provider_job_id"],
        terms=_terms(orjson.loads(row["accepted_terms"])),
        at_ms=row["accepted_at_ms"],
    )


def read_view(row: Mapping[str, Any]) -> JobView:
    """Of a row that has `JOB_COLUMNS`, those of an acceptance, and of the last record with
    `last_` before their names, where there is one; `is_closed`, `posted`, `store_code` and
    `store_message`."""
    job, acceptance = read_job(row), read_acceptance(row)
    if row["last_state"] is None:
        changed_at_ms = job.created_at_ms if acceptance is None else acceptance.at_ms
        return JobView(job, acceptance, "submitted", changed_at_ms)
    error = None if row["last_error"] is None else JobError(*orjson.loads(row["last_error"]))
    return JobView(
        job,
        acceptance,
        row["last_state"],
        row["last_at_ms"],
        error=error,
        results=tuple(JobResult(*each) for each in orjson.loads(row["last_results"])),
        units=orjson.loads(row["last_units"]),
        closed=bool(row["is_closed"]),
        files=tuple(orjson.loads(row["last_files"])),
        price_nanodollars=row["posted"] or 0,
        store_error=_store_error(row),
    )


def _store_error(row: Mapping[str, Any]) -> JobError | None:
    code = row["store_code"]
    return None if code is None else JobError(code, row["store_message"])


def _terms_json(terms: JobTerms) -> dict[str, Any]:
    return {
        "units": dict(terms.units),
        "price": dict(terms.price_picodollars),
        "cost": dict(terms.cost_picodollars),
        "tier": terms.service_tier,
        "most": dict(terms.most),
        "price_rates": terms.price,
        "cost_rates": terms.cost,
    }


def _terms(value: Mapping[str, Any]) -> JobTerms:
    return JobTerms(
        value["units"],
        value["price"],
        value["cost"],
        value["tier"],
        value["most"],
        value.get("price_rates"),
        value.get("cost_rates"),
    )


def _text(value: Any) -> str:
    return orjson.dumps(value).decode()
