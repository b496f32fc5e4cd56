"""What follows an attempt that has failed before anything of it went out, and who is told why."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from engine.errors import DeadlineError, UpstreamError
from engine.leg import Leg
from engine.metering.pricing import Rates
from engine.routing.breaker import Breaker
from engine.routing.failures import Failure, Verdict, again_after_s, failure_of
from engine.routing.health import HealthBook
from engine.routing.values import Candidate, Plan, Role, RoutingRules

_RETRIES_MAX: Final = 1
"""Of one deployment, in one exchange."""
_HEDGED_AT: Final = 0.95
"""Of the model's first tokens so many come sooner than a second attempt is made."""
_HEDGE_DELAY_MIN_S: Final = 0.05
_HEDGE_DELAY_MAX_S: Final = 10.0
_PROVIDERS_FAULT: Final = 500
_SAY_WHEN: Final = frozenset({429, 503})


@dataclass(frozen=True, slots=True)
class Again:
    """Another attempt: of whom, as what, and how long to wait before."""

    candidate: Candidate[Rates]
    role: Role
    after_s: float = 0.0


class Retrying:
    """Of one exchange, from its plan on.

    Attributes:
        errors: of the attempts that have failed.
    """

    __slots__ = (
        "_anew", "_attempts", "_book", "_candidates", "_first", "_retries", "_rules", "_tried",
        "errors",
    )  # fmt: skip

    def __init__(
        self, plan: Plan[Rates], first: int, rules: RoutingRules, book: HealthBook
    ) -> None:
        """The candidate number `first` is the first one that can say what is asked."""
        self._candidates = plan.candidates
        self._first = first
        self._rules = rules
        self._book = book
        self._attempts = 0
        self._tried: tuple[str, ...] = (plan.candidates[first].deployment.path,)
        self._retries: dict[str, int] = {}
        self._anew = False
        self.errors: list[UpstreamError] = []

    @property
    def has_others(self) -> bool:
        """Whether another deployment may follow."""
        return self._attempts < self._rules.attempts_max and bool(self._others)

    @property
    def _others(self) -> list[Candidate[Rates]]:
        left, tried = self._candidates[self._first :], self._tried
        return [candidate for candidate in left if candidate.deployment.path not in tried]

    def begun(self, leg: Leg) -> None:
        """It goes out. A hedge is beside those that there may be."""
        self._note_tried(leg.path)
        if leg.role != "hedge":
            self._attempts += 1

    def answered(self) -> None:
        """One of several requests is: the next may be tried as often."""
        self._attempts = 0
        self._retries.clear()

    def passed(self, candidate: Candidate[Rates]) -> Again | None:
        """It cannot be asked after all; who is asked instead."""
        self._note_tried(candidate.deployment.path)
        if self._attempts >= self._rules.attempts_max:
            return None
        others = self._others
        if not others:
            return None
        return Again(others[0], "fallback" if self._attempts else "first")

    def _note_tried(self, path: str) -> None:
        if path not in self._tried:
            self._tried = (*self._tried, path)

    def failed(self, leg: Leg, now: float) -> tuple[Failure, Verdict]:
        """It has failed, and what that says of its deployment is noted."""
        attempt, error = leg.attempt, leg.attempt.error
        assert error is not None, "it has failed"
        failure = failure_of(
            error,
            status=attempt.status,
            unprocessed=attempt.unprocessed,
            generated=attempt.relay.meter.has_output,
        )
        assert leg.visit is not None, "it was dispatched"
        self.errors.append(error)
        return failure, leg.visit.failed(failure, now)

    def next(
        self, leg: Leg, failure: Failure, verdict: Verdict, now: float, deadline: float
    ) -> Again | None:
        """What follows, if anything does: the same deployment once more, else the next one."""
        if self._attempts >= self._rules.attempts_max or now >= deadline:
            return None
        return self._same(leg, failure, verdict, now, deadline) or self._next(leg, verdict)

    def anew(self, leg: Leg) -> Again | None:
        """The same deployment, where it did not have a file that it is sent anew; once."""
        if self._anew or self._attempts >= self._rules.attempts_max:
            return None
        self._anew = True
        return Again(leg.candidate, "retry")

    def _same(
        self, leg: Leg, failure: Failure, verdict: Verdict, now: float, deadline: float
    ) -> Again | None:
        book, candidate = self._book, leg.candidate
        tokens = leg.prepared.bounds.expected_input_tokens
        if verdict.other_key:
            by_other = book.other_key(candidate, now, tokens)
            if by_other is not None:
                return Again(by_other, "retry")
        retries = self._retries.get(leg.path, 0)
        if retries >= _RETRIES_MAX:
            return None
        after_s = again_after_s(
            failure, self._rules, retries, book.draw(), alone=not self.has_others
        )
        if after_s is None or now + after_s >= deadline:
            return None
        health = book.of(candidate.deployment)
        if not health.breaker.admits(now + after_s) or not health.retries.spend():
            return None
        self._retries[leg.path] = retries + 1
        return Again(candidate, "retry", after_s)

    def _next(self, leg: Leg, verdict: Verdict) -> Again | None:
        match verdict.next:
            case "no":
                return None
            case "any":
                return self._other()
            case "larger":
                return self._other(_window(leg.candidate))

    def _other(self, window_above: int = -1) -> Again | None:
        """The next deployment; with a bound, only one whose window is known to be larger."""
        for candidate in self._others:
            if window_above < 0 or _window(candidate) > window_above > 0:
                return Again(candidate, "fallback")
        return None

    def told(self, last: UpstreamError) -> UpstreamError:
        """What the client is told after several failures: the last, unless that is of no use, and
        another provider has said when to come again."""
        waits = [
            error
            for error in self.errors
            if error.status in _SAY_WHEN and error.retry_after_s is not None
        ]
        request_failed = last.status < _PROVIDERS_FAULT and last.status not in _SAY_WHEN
        if not waits or request_failed or isinstance(last, DeadlineError):
            return last
        return min(waits, key=lambda error: error.retry_after_s or 0.0)

    # ---- two at once --------------------------------------------------------------------------

    def hedge_at(self, leg: Leg, now: float) -> float:
        """When a second attempt is due beside this first one, which begins now; never, where there
        is nobody else, or it is not known how late is late."""
        model = leg.candidate.model
        if not model.hedge or not leg.prepared.request.stream or leg.role != "first":
            return math.inf
        late_s = self._book.model(model).first_tokens.quantile_s(_HEDGED_AT)
        if late_s is None or self._beside(leg) is None:
            return math.inf
        return now + min(max(late_s, _HEDGE_DELAY_MIN_S), _HEDGE_DELAY_MAX_S)

    def hedge(self, leg: Leg, now: float) -> Again | None:
        """The second attempt, if there may be one now."""
        candidate = self._beside(leg)
        if candidate is None:
            return None
        if not all(
            self._breaker(each).state(now) == "closed" for each in (leg.candidate, candidate)
        ):
            return None
        if not self._book.model(leg.candidate.model).hedges.spend():
            return None
        return Again(candidate, "hedge")

    def _beside(self, leg: Leg) -> Candidate[Rates] | None:
        """Another deployment of the same model, of another provider if there is one."""
        model = leg.candidate.model.name
        others = [each for each in self._others if each.model.name == model]
        provider = leg.candidate.deployment.provider
        elsewhere = (each for each in others if each.deployment.provider != provider)
        return next(elsewhere, others[0] if others else None)

    def _breaker(self, candidate: Candidate[Rates]) -> Breaker:
        return self._book.of(candidate.deployment).breaker


def _window(candidate: Candidate[Rates]) -> int:
    """In tokens; 0: not known."""
    return candidate.deployment.capabilities.context_window_tokens or 0
