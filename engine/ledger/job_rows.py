"""Jobs as they are stored: what a job is, what its provider has taken, how it has moved on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from engine.job import ENDED, JobError, JobKind, JobResult, JobState
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
    """What a success comes to, as pinned when it was sent: picodollars a unit.

    Attributes:
        units: what is charged where the provider reports nothing of a unit; by rates, only with
            what it reports.
        most: what of a report is believed: so much was held for; of a unit that is not named, as
            much as `units` says.
        price, cost: all rates, as `engine.metering.rates_json` writes them: what a report of a
            `Usage` is charged by; None: of one that is charged by its units.
    """

    units: Mapping[MoreUnit, int]
    price_picodollars: Mapping[str, int]
    cost_picodollars: Mapping[str, int]
    service_tier: str | None = None
    most: Mapping[MoreUnit, int] = field(default_factory=dict)
    price: Mapping[str, Any] | None = field(default=None, repr=False)
    cost: Mapping[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class JobSubmit:
    """What an attempt sends for a job: durable with the attempt, before it is sent.

    Attributes:
        number: of the attempt.
        credential: see `JobAcceptance`.
        terms: what a success will come to, where the provider takes it.
        content_type, body: to be sent again, with the same key of idempotency, where nobody knows
            what came of it; no body: it cannot be.
        remix_of: the provider's id of what it is to be made of: the body goes to the path of that
            one, and to no other.
    """

    job_id: str
    number: int
    credential: str
    terms: JobTerms
    content_type: str = "application/json"
    body: bytes | None = field(default=None, repr=False)
    remix_of: str | None = None


SUBMIT_MAX_BYTES = 256 * 1024
"""A larger body is not kept: what came of it is not found out by sending it again."""


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
        closed: its hold ends with this, in the same transaction; what follows only adds files.
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
    """A job as far as it is known now: each record says all that was known then.

    Attributes:
        progress: in percent, as the provider said last; not durable.
        closed: its hold has ended. What has expired may still succeed before that.
        price_nanodollars: what was charged for it.
        store_error: why what it has made did not become files, where that was wanted.
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
    store_error: JobError | None = None

    @property
    def ended(self) -> bool:
        """A client asks no more."""
        return self.state in ENDED


@dataclass(frozen=True, slots=True)
class JobQuery:
    """Which jobs of an account are wanted.

    Attributes:
        kind: None: of all kinds.
        after: an id of a job, in anybody's spelling: those behind it.
    """

    kind: JobKind | None = None
    after: str | None = None
    limit: int = 20
    order: Literal["asc", "desc"] = "desc"


@dataclass(frozen=True, slots=True)
class JobPage:
    """Jobs in the order of their requests; `more` follow behind the last one."""

    jobs: tuple[JobView, ...]
    more: bool
