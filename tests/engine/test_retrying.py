"""Who is asked after a failure, who beside an attempt that is late, and what a client is told."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from engine.capabilities import Capabilities
from engine.errors import (
    DeadlineError,
    UpstreamError,
    UpstreamRejectedError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from engine.leg import Leg
from engine.metering.pricing import Rates
from engine.retrying import Again, Retrying
from engine.routing.health import HealthBook
from engine.routing.values import Candidate, Plan, RoutingRules
from tests.engine.legs import Desk, open_desk

NOW, LATER = 100.0, math.inf
RULES = RoutingRules()


class Asking:
    """A plan of the deployments `a` at one provider, `b` and `c` at another, and who asks them."""

    def __init__(self, desk: Desk, rules: RoutingRules = RULES, *windows: int | None) -> None:
        self.desk = desk
        self.book = HealthBook(rules, lambda: 0.5)
        planned = desk.choose.plan.candidates
        model = replace(planned[0].model, hedge=True)
        deployments = [
            planned[0].deployment,
            replace(planned[0].deployment, upstream_model="c", cost=planned[1].deployment.cost),
            planned[1].deployment,
        ]
        self.candidates = tuple(
            Candidate(
                model,
                replace(deployment, capabilities=Capabilities(context_window_tokens=window)),
                0,
                "planned",
            )
            for deployment, window in zip(deployments, windows or (None, None, None), strict=True)
        )
        self.retrying = Retrying(Plan(self.candidates), 0, rules, self.book)

    async def begun(self, candidate: Candidate[Rates], role: str = "first") -> Leg:
        """An attempt that is under way."""
        leg = await self.desk.leg(0)
        leg.candidate, leg.role = candidate, role  # type: ignore[assignment]
        leg.visit = self.book.begin(candidate, NOW, role=leg.role)
        assert leg.visit is not None
        self.retrying.begun(leg)
        return leg

    def after(self, leg: Leg, error: UpstreamError, status: int | None = None) -> Again | None:
        """What follows its failure."""
        leg.attempt.error, leg.attempt.status = error, status
        failure, verdict = self.retrying.failed(leg, NOW)
        return self.retrying.next(leg, failure, verdict, NOW, LATER)


def rejected(status: int, code: str | None = None, after_s: float | None = None) -> UpstreamError:
    return UpstreamRejectedError("No.", status=status, code=code, retry_after_s=after_s)


async def test_the_same_once_more_and_then_the_next(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        asking = Asking(desk)
        first = await asking.begun(asking.candidates[0])
        again = asking.after(first, rejected(500), 500)
        assert again == Again(asking.candidates[0], "retry", 0.05)
        retry = await asking.begun(asking.candidates[0], "retry")
        following = asking.after(retry, rejected(500), 500)
        assert following == Again(asking.candidates[1], "fallback")
        desk.billing.abandon(None)


async def test_never_more_than_there_may_be(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        asking = Asking(desk, replace(RULES, attempts_max=1))
        leg = await asking.begun(asking.candidates[0])
        assert not asking.retrying.has_others
        assert asking.after(leg, UpstreamUnreachableError("No.")) is None
        desk.billing.abandon(None)


@pytest.mark.parametrize(
    ("windows", "asked"),
    [((8_000, 8_000, 32_000), "b"), ((8_000, None, 4_000), None), ((None, None, 32_000), None)],
)
async def test_a_prompt_that_is_too_long_goes_to_a_larger_window(
    tmp_path: Path, windows: tuple[int | None, ...], asked: str | None
) -> None:
    """What is not known to be larger is not asked."""
    async with open_desk(tmp_path) as desk:
        asking = Asking(desk, RULES, *windows)
        leg = await asking.begun(asking.candidates[0])
        again = asking.after(leg, rejected(400, "context_length_exceeded"), 400)
        found = None if again is None else again.candidate.deployment.upstream_model
        assert found == asked
        desk.billing.abandon(None)


@pytest.mark.parametrize(
    ("earlier", "last", "told"),
    [
        ([rejected(429, None, 7.0)], UpstreamError("Broken."), 429),
        ([rejected(429, None, 7.0), rejected(503, None, 2.0)], UpstreamError("Broken."), 503),
        ([rejected(503, None, 9.0)], rejected(429, None, 3.0), 429),
        ([rejected(429, None, 7.0)], rejected(400), 400),
        ([rejected(500)], UpstreamTimeoutError("Late."), 504),
        ([rejected(429, None, 7.0)], DeadlineError("Too late."), 504),
    ],
)
async def test_a_client_is_told_of_who_says_when_to_come_again(
    tmp_path: Path, earlier: list[UpstreamError], last: UpstreamError, told: int
) -> None:
    """But not where its request is at fault, or its time is over."""
    async with open_desk(tmp_path) as desk:
        retrying = Asking(desk).retrying
        retrying.errors = [*earlier, last]
        assert retrying.told(last).status == told
        desk.billing.abandon(None)


async def test_a_hedge_goes_to_another_provider_once_it_is_known_what_is_late(
    tmp_path: Path,
) -> None:
    async with open_desk(tmp_path) as desk:
        asking = Asking(desk)
        leg = await asking.begun(asking.candidates[0])
        assert asking.retrying.hedge_at(leg, NOW) == math.inf
        for _ in range(20):
            asking.book.model(leg.candidate.model).first_tokens.note(0.5)
        assert 0.5 <= asking.retrying.hedge_at(leg, NOW) - NOW <= 0.56
        hedge = asking.retrying.hedge(leg, NOW)
        assert hedge == Again(asking.candidates[2], "hedge")
        assert asking.retrying.hedge(leg, NOW) is None, "of its share there is one to begin with"
        desk.billing.abandon(None)


async def test_no_hedge_while_a_breaker_is_not_closed(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        asking = Asking(desk)
        leg = await asking.begun(asking.candidates[0])
        asking.book.of(asking.candidates[2].deployment).breaker.trip(NOW)
        assert asking.retrying.hedge(leg, NOW) is None
        desk.billing.abandon(None)
