"""The money side of one exchange, with legs whose providers say what a test hands them."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from engine import Call
from engine.admission.limits import Demand
from engine.admitting import Choice, admit
from engine.alarm import Alarm
from engine.billing import ExchangeBilling
from engine.errors import UpstreamError
from engine.leg import Leg, measuring_of, passage_of
from engine.parsing.jobs import Prepared
from engine.parts import Parts
from engine.reserving import TokenReserve
from engine.routing.values import Role
from engine.sink import PullSink
from engine.wire.http import Delivery
from tests.gateways import DOLLAR, Setup, open_setup

MODELS = """
[providers.other]
protocol = "openai"
base_url = "$SIM/v1"
[models.pair]
strategy = "cheapest"
price = { input = 1, output = 2 }
fallbacks = ["dear"]
deployments = [
    { provider = "sim", model = "a", cost = { input = 0.5, output = 1 } },
    { provider = "other", model = "b", cost = { input = 0.6, output = 1.2 } },
]
[models.dear]
price = { input = 10, output = 20 }
deployments = [{ provider = "other", model = "c", cost = { input = 5, output = 10 } }]
"""
"""Candidates of `pair`: 0 at `sim`, 1 at `other`, 2 at `other` too, ten times as dear."""

_READ_BYTES = 16_384


@dataclass(slots=True)
class Desk:
    """One exchange without its task: what its legs cost, and what is held for them."""

    setup: Setup
    parts: Parts
    call: Call
    choose: Choice
    prepared: Prepared
    billing: ExchangeBilling
    covered_tokens: int | None
    """By the first hold."""

    async def leg(self, candidate: int, role: Role = "first", *, sent_bytes: int = 0) -> Leg:
        """A leg to one of the plan's candidates, which has not been dispatched."""
        chosen = self.choose.plan.candidates[candidate]
        prepared = await self.parts.prepare(self.call, self.choose, only=chosen)
        leg = Leg(
            self.parts,
            passage_of(self.parts, self.call, chosen, prepared, self.billing.receipt.account_id),
            chosen,
            prepared,
            measuring_of(self.parts, chosen, prepared),
            role=role,
            deadline=math.inf,
            changed=Alarm(),
            metered=self.billing.metered,
            sent_bytes=sent_bytes,
        )
        leg.attempt.relay.output_limit = self.covered_tokens
        return leg

    async def dispatched(self, candidate: int, role: Role = "first") -> Leg:
        """A leg that has gone out."""
        leg = await self.leg(candidate, role)
        assert role == "first" or self.billing.covers(leg)
        self.billing.dispatched(leg)
        return leg

    @property
    def available(self) -> int:
        """Nanodollars that the account may still hold."""
        return self.parts.ledger.available_nanodollars(self.setup.account_id)


def answer(leg: Leg, data: bytes = b"", status: bytes = b"200") -> None:
    """What its provider says, the head before it."""
    if leg.attempt.status is None:
        leg.attempt.deliver(Delivery(1, [(b":status", status)]))
    for start in range(0, len(data), _READ_BYTES):
        piece = data[start : start + _READ_BYTES]
        leg.attempt.deliver(Delivery(1, None, piece, len(piece)))


def deliver(leg: Leg, client: PullSink) -> None:
    """The client gets what has come of this leg, and has taken it."""
    if leg.attempt.sink is not client:
        leg.attempt.attach(client)
    client.take()
    client.take()


def break_off(leg: Leg, code: str = "upstream_error") -> UpstreamError:
    """Its provider fails."""
    error = UpstreamError("The provider broke off its answer.")
    error.code = code
    leg.attempt.fail(error)
    leg.attempt.close()
    return error


@asynccontextmanager
async def open_desk(
    folder: Path,
    *,
    model: str = "pair",
    stream: bool = True,
    funds_nanodollars: int = DOLLAR,
    reference: str | None = None,
    provider: str = "",
) -> AsyncIterator[Desk]:
    """The money side of a call, with its first hold; on leaving, the invariants are checked."""
    async with open_setup(
        folder,
        funds_nanodollars=funds_nanodollars,
        models=MODELS,
        provider=provider,
        routing="attempts_max = 4",
    ) as setup:
        parts: Parts = setup.gateway._parts
        call = setup.call(model=model, stream=stream)
        admitted = await admit(parts, call.key, "inference")
        choose = Choice(parts, admitted)
        prepared = await parts.prepare(call, choose)
        candidate = choose.plan.candidates[prepared.target]
        billing = ExchangeBilling(
            parts.ledger,
            parts.config.billing,
            call=call,
            principal=admitted.entry.principal,
            prepared=prepared,
            plan=choose.plan,
            candidate=candidate,
            measuring=measuring_of(parts, candidate, prepared),
            model=model,
            reference=None if reference is None else parts.catalogue[reference].price,
            tokens=TokenReserve(parts.limiter, Demand()),
            barrier_timeout_s=60.0,
            job_timeout_s=3_600.0,
            progress_due=lambda: None,
        )
        first = billing.reserve()
        yield Desk(setup, parts, call, choose, prepared, billing, first.covered_tokens)
        await billing.wait_settlement_durable()
