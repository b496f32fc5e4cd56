"""Jobs as they are stored: what a job is, what its provider has taken, how it has moved on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.job import JobError, JobKind, JobResult, JobState
from engine.usage import MoreUnit


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job that is asked for: durable with its hold, before its provider is sent anything.

    Attributes:
        job_id: see `engine.job.job_id_of`.
        protocol: the codec that has read the request, by which it is shown.
        model: its public name.
        expires_at_ms: the client waits no longer.
        params: what its views are made with: the client's own fields, without media; bounded.
        store_result: what it makes becomes a file of the account.
        webhook_url: who is told how it ended.
    """

    job_id: str
    request_id: str
    account_id: str
    key_id: str | None
    kind: JobKind
    protocol: str
    model: str
    created_at_ms: int
    expires_at_ms: int
    params: Mapping[str, Any] = field(default_factory=dict, repr=False)
    store_result: bool = False
    webhook_url: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class JobTerms:
    """What a success comes to, as pinned when the provider took it: picodollars a unit."""

    units: Mapping[MoreUnit, int]
    price_picodollars: Mapping[str, int]
    cost_picodollars: Mapping[str, int]
    service_tier: str | None = None


@dataclass(frozen=True, slots=True)
class JobAcceptance:
    """The provider has taken it.

    Attributes:
        number: of the attempt.
        credential: 16 hexadecimal digits of the SHA-256 of the key that it was asked with: only
            that one may ask for it.
    """

    job_id: str
    number: int
    provider: str
    upstream_model: str
    credential: str
    provider_job_id: str
    terms: JobTerms
    at_ms: int


@dataclass(frozen=True, slots=True)
class JobRecord:
    """It has moved on to a state.

    Attributes:
        closed: nothing follows; where a hold was open, it ends with this.
        files: of the account, made of its results.
    """

    job_id: str
    state: JobState
    at_ms: int
    error: JobError | None = None
    results: tuple[JobResult, ...] = ()
    units: Mapping[MoreUnit, int] = field(default_factory=dict)
    closed: bool = False
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as far as it is known now.

    Attributes:
        progress: in percent, as the provider said last; not durable.
        price_nanodollars: what was charged for it.
        deleted: the client wants to see it no more.
    """

    row: JobRow
    acceptance: JobAcceptance | None
    state: JobState
    changed_at_ms: int
    progress: int | None = None
    error: JobError | None = None
    results: tuple[JobResult, ...] = ()
    units: Mapping[MoreUnit, int] = field(default_factory=dict)
    closed: bool = False
    files: tuple[str, ...] = ()
    price_nanodollars: int = 0
