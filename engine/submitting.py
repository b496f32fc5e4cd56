"""The submit of one exchange that asks for a job: what is written down of it, and when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from engine.egress import parse_target
from engine.events import JobAccepted, Outcome
from engine.job import MADE_KINDS, JobKind, JobSpec, job_id_of
from engine.ledger.job_rows import (
    SUBMIT_MAX_BYTES,
    JobAcceptance,
    JobRow,
    JobSubmit,
    JobTerms,
)
from engine.ledger.receipts import Attempt, Receipt
from engine.ledger.records import Ticket
from engine.leg import Leg
from engine.metering.rates_json import rates_json
from engine.protocols.batches.objects import SPEC as BATCH
from engine.protocols.codec import ClientRequest
from engine.protocols.fine_tuning.objects import SPEC as FINE_TUNING
from engine.tally import Tally
from engine.usage import MoreUnit

_SPECS: Final[Mapping[JobKind, JobSpec]] = {"batch": BATCH, "fine_tune": FINE_TUNING}
"""By which a submit is found again, of whoever does the kind at all."""


class Submitting:
    """Of one exchange; of one that asks for no job it says nothing.

    Attributes:
        row: what is asked for; None until funds are held for it.
        ticket: of the last attempt.
    """

    __slots__ = ("_ask", "_model", "_protocol", "_source", "_timeout_s", "row", "ticket")

    def __init__(self, request: ClientRequest, timeout_s: float) -> None:
        self._ask = ask = request.job
        of = None if ask is None else ask.source
        self._source = None if of is None else of.provider_job_id
        self._model, self._protocol = request.model, request.protocol
        self._timeout_s = timeout_s
        self.row: JobRow | None = None
        self.ticket = Ticket(0)

    def asked(self, opening: Receipt) -> JobRow | None:
        """The job that an exchange asks for which begins so; its client waits so long for it."""
        ask = self._ask
        if ask is not None:
            timeout_s = self._timeout_s if ask.timeout_s is None else ask.timeout_s
            self.row = JobRow(
                job_id=job_id_of(opening.request_id),
                request_id=opening.request_id,
                account_id=opening.account_id,
                key_id=opening.key_id,
                kind=ask.kind,
                protocol=self._protocol,
                model=self._model,
                created_at_ms=opening.created_at_ms,
                expires_at_ms=opening.created_at_ms + int(timeout_s * 1_000),
                params=ask.params,
                store_result=ask.store_result,
                webhook_url=None if ask.webhook_url is None else parse_target(ask.webhook_url).url,
            )
        return self.row

    def submit(self, leg: Leg) -> JobSubmit | None:
        """What a leg sends, with what is to be known where its answer is lost."""
        row = self.row
        if row is None:
            return None
        spec, body = leg.provider.quirks.jobs.get(row.kind) or _SPECS.get(row.kind), leg.body
        found_again = spec is not None and spec.recover is not None
        kept = found_again and isinstance(body, bytes) and 0 < len(body) <= SUBMIT_MAX_BYTES
        return JobSubmit(
            row.job_id,
            leg.number,
            leg.provider.credential_ids[leg.candidate.key],
            _terms(leg),
            leg.prepared.content_type,
            body if kept and isinstance(body, bytes) else None,
            self._source,
        )

    def acceptance(self, leg: Leg, accepted: JobAccepted, at_ms: int) -> JobAcceptance:
        """That this leg's provider has taken it."""
        assert self.row is not None, "it is asked for"
        deployment = leg.candidate.deployment
        return JobAcceptance(
            self.row.job_id,
            leg.number,
            deployment.provider,
            deployment.upstream_model,
            leg.provider.credential_ids[leg.candidate.key],
            accepted.provider_job_id,
            _terms(leg),
            at_ms,
        )

    def settling(self, receipt: Receipt, tally: Tally, leg: Leg) -> Receipt:
        """The receipt of an exchange whose part is done: all of its attempts have ended but this
        one, which the job goes on with and which has come to nothing yet."""
        tally.end(Outcome.COMPLETED, str(Outcome.COMPLETED), drained=False)
        attempts = tuple(
            _running(each) if each.number == leg.number else each for each in tally.log.receipts
        )
        return receipt.replace(
            state="settling",
            attempts=attempts,
            timings=tally.log.timings,
            cost_nanodollars=sum(each.cost_nanodollars for each in attempts),
        )


def _running(attempt: Attempt) -> Attempt:
    return replace(
        attempt,
        outcome=str(Outcome.RUNNING),
        ended_ms=None,
        won=False,
        usage={},
        usage_provenance={},
        price_nanodollars=0,
        cost_nanodollars=0,
    )


def _terms(leg: Leg) -> JobTerms:
    """By what its model costs now: picodollars of units that are no tokens, and how many of them it
    asks for; or all rates, of what is charged by the usage that is reported."""
    bounds, ask = leg.prepared.bounds, leg.prepared.request.job
    if ask is not None and ask.kind not in MADE_KINDS:
        price, cost = leg.candidate.model.price, leg.candidate.deployment.cost
        return JobTerms(
            leg.measuring.flat,
            {},
            {},
            bounds.service_tier,
            price=rates_json(price),
            cost=rates_json(cost),
        )
    rates, cost_rates = leg.measuring.rates()
    asked: dict[MoreUnit, int] = {} if bounds.demand is None else dict(bounds.demand.flat)
    units: dict[MoreUnit, int] = {"requests": 1, **asked}
    priced = {unit for each in (rates, cost_rates) for unit, rate in each.items() if rate}
    return JobTerms(
        {unit: count for unit, count in units.items() if unit in priced or unit in asked},
        {unit: rate for unit, rate in rates.items() if unit in units or unit in bounds.pieces},
        {unit: rate for unit, rate in cost_rates.items() if unit in units or unit in bounds.pieces},
        bounds.service_tier,
        {unit: count for unit, count in bounds.pieces.items() if unit in priced},
    )
