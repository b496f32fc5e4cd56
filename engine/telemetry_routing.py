"""Metrics of where requests went: attempts, what followed those that failed, and what it saved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any, Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from engine.events import Outcome
from engine.ledger.receipts import Attempt, Receipt

BreakerState = Literal["closed", "half-open", "open"]
_STATES: Final[dict[BreakerState, int]] = {"closed": 0, "half-open": 1, "open": 2}

_OUTCOMES: Final = frozenset(
    {
        *map(str, Outcome),
        "deadline_exceeded",
        "ended_by_operator",
        "hedge_lost",
        "shutdown",
        "upstream_account_exhausted",
        "upstream_credentials_refused",
        "upstream_error",
        "upstream_timeout",
        "upstream_unreachable",
    }
)
"""What an attempt may have ended as that no provider has named."""
_REJECTED: Final = "upstream_rejected"


class RoutingMetrics:
    """Of one gateway."""

    def __init__(self, registry: CollectorRegistry, of: Callable[..., Any]) -> None:
        """`of(metric, *labels)` finds a series."""
        self._registry = registry
        self._of = of

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=registry)

        self._attempts = counter("parshall_attempts", "Attempts that ended.", "provider", "outcome")
        self._cost = counter(
            "parshall_cost_nanodollars", "What providers charge the operator.", "provider"
        )
        self._retries = counter(
            "parshall_retries", "Attempts at a deployment that has failed before.", "provider"
        )
        self._fallbacks = counter(
            "parshall_fallbacks", "Attempts at another deployment after a failure.", "from", "to"
        )
        self._hedges = counter(
            "parshall_hedges", "Attempts beside one that was slow.", "model", "result"
        )
        self._continuations = counter(
            "parshall_continuations", "Attempts to write on.", "model", "result"
        )
        self._auto = counter("parshall_auto", "Requests by how hard they looked.", "level")
        self._savings = Gauge(
            "parshall_savings_nanodollars",
            "What the reference model would have cost more, since the start.",
            registry=registry,
        )

    def exchange_ended(self, receipt: Receipt) -> None:
        """Count the attempts of a settled exchange, and its route."""
        for attempt in receipt.attempts:
            self._of(self._attempts, attempt.provider, _bounded(attempt.outcome)).inc()
            if attempt.cost_nanodollars:
                self._of(self._cost, attempt.provider).inc(attempt.cost_nanodollars)
        if len(receipt.attempts) > 1:
            for before, attempt in pairwise(receipt.attempts):
                self._followed(receipt.model, before, attempt)
        if receipt.route is not None and receipt.route.auto is not None:
            self._of(self._auto, receipt.route.auto.level).inc()
        if receipt.savings_nanodollars:
            self._savings.inc(receipt.savings_nanodollars)

    def _followed(self, model: str, before: Attempt, attempt: Attempt) -> None:
        match attempt.role:
            case "retry":
                self._of(self._retries, attempt.provider).inc()
            case "fallback":
                self._of(self._fallbacks, before.provider, attempt.provider).inc()
            case "hedge":
                result = "won" if attempt.won else "lost"
                self._of(self._hedges, model, result).inc()
            case "continuation":
                self._of(self._continuations, model, _bounded(attempt.outcome)).inc()
            case _:
                pass

    def breakers(self, read: Callable[[], Iterable[tuple[str, BreakerState, int]]]) -> None:
        """Expose the breakers: of each deployment its path, its state and how often it has opened,
        read when asked for."""
        self._registry.register(_Breakers(read))


class _Breakers(Collector):
    def __init__(self, read: Callable[[], Iterable[tuple[str, BreakerState, int]]]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """The families that are exposed."""
        states = GaugeMetricFamily(
            "parshall_breaker", "0: closed, 1: half open, 2: open.", labels=["deployment"]
        )
        opened = CounterMetricFamily(
            "parshall_breaker_opened", "How often it has opened.", labels=["deployment"]
        )
        for path, state, count in self._read():
            states.add_metric([path], _STATES[state])
            opened.add_metric([path], count)
        yield states
        yield opened


def _bounded(outcome: str) -> str:
    """Providers name their refusals themselves: as labels they would be without number.

    >>> _bounded("completed"), _bounded("billing_hard_limit_reached")
    ('completed', 'upstream_rejected')
    """
    return outcome if outcome in _OUTCOMES else _REJECTED
