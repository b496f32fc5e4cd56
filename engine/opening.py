"""The receipt that an exchange begins with: what was asked for, and what is planned for it."""

from __future__ import annotations

from engine.admission.keys import Principal
from engine.clock import Clock
from engine.config import BillingConfig
from engine.events import Call
from engine.ledger.receipts import Receipt
from engine.ledger.route import AutoDecision, Route
from engine.measuring import Measuring
from engine.metering.pricing import Rates
from engine.routing.values import Candidate, Plan


def opening_receipt(
    call: Call,
    principal: Principal,
    settings: BillingConfig,
    clock: Clock,
    *,
    model: str,
    stream: bool,
    plan: Plan[Rates],
    first: Candidate[Rates],
    measuring: Measuring,
) -> Receipt:
    """Before the first attempt, which is of the candidate `first` and measured by `measuring`."""
    price_rates, cost_rates = measuring.rates()
    return Receipt(
        request_id=call.request_id,
        account_id=principal.account_id,
        key_id=principal.key_id,
        created_at_ms=clock(),
        operation=call.operation,
        protocol=call.protocol,
        stream=stream,
        model=model,
        client_request_id=call.client_request_id,
        model_used=first.deployment.upstream_model,
        provider=first.deployment.provider,
        route=_route_of(plan, first),
        credits_per_usd=settings.credits_per_usd,
        service_tier=measuring.bounds.service_tier,
        rates_picodollars=price_rates,
        cost_rates_picodollars=cost_rates,
    )


def _route_of(plan: Plan[Rates], first: Candidate[Rates]) -> Route:
    auto = None
    if (decision := plan.auto) is not None:
        reasons, reference = decision.reasons, decision.reference
        auto = AutoDecision(decision.score, decision.level, reasons, reference)
    return Route(
        served=first.model.name,
        strategy=first.model.strategy,
        candidates=tuple(candidate.deployment.path for candidate in plan.candidates),
        auto=auto,
    )
