"""Metrics: what happens, counted, in the Prometheus exposition format.

Labels are bounded: models and providers of the catalogue, outcomes, error codes. Never an account,
a key or anything a client wrote.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from engine.ledger.receipts import Receipt
from engine.telemetry_routing import RoutingMetrics

_SERIES_KEPT_MAX = 4_096
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


def _labelled(metric: Any, *labels: str) -> Any:
    return metric.labels(*labels)


class Telemetry:
    """The metrics of one gateway, in a registry of its own."""

    def __init__(self) -> None:
        # Finding a series by its labels is a third of what it costs to count an exchange.
        self._of = lru_cache(_SERIES_KEPT_MAX)(_labelled)
        self.registry = CollectorRegistry()
        self.routing = RoutingMetrics(self.registry, self._of)
        """Of the attempts, and of what they are made for."""

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=self.registry)

        self._exchanges = counter(
            "parshall_exchanges", "Exchanges that ended.", "model", "provider", "outcome"
        )
        self._refused = counter(
            "parshall_refused", "Requests refused before they were admitted.", "code"
        )
        self._orders = counter(
            "parshall_orders",
            "Orders of operators, by command and how they went.",
            "command",
            "outcome",
        )
        self._passed = counter(
            "parshall_passed_total",
            "Requests that were passed through to a provider with state and cost nothing.",
            "family",
            "status",
        )
        self._shed = counter("parshall_shed", "Requests refused for the load.", "reason")
        self._tokens = counter("parshall_tokens", "Tokens billed or consumed.", "model", "unit")
        self._charged = counter(
            "parshall_charged_nanodollars", "What customers were charged.", "model"
        )
        self._overrun = counter(
            "parshall_overrun_nanodollars", "Consumption above a hold, on the house.", "model"
        )
        self._first_byte = Histogram(
            "parshall_first_byte_seconds",
            "From arrival to the provider's first byte.",
            ["model"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._duration = Histogram(
            "parshall_exchange_seconds",
            "From arrival to settlement.",
            ["model"],
            buckets=_SECONDS,
            registry=self.registry,
        )

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Expose a figure that is read when asked for."""
        Gauge(name, text, registry=self.registry).set_function(read)

    def exchange_ended(self, receipt: Receipt) -> None:
        """Count a settled exchange."""
        model, provider = receipt.model, receipt.provider or ""
        self._of(self._exchanges, model, provider, str(receipt.outcome)).inc()
        for unit, tokens in receipt.usage.items():
            if tokens:
                self._of(self._tokens, model, unit).inc(tokens)
        self._of(self._charged, model).inc(receipt.price_nanodollars)
        if receipt.overrun_nanodollars:
            self._of(self._overrun, model).inc(receipt.overrun_nanodollars)
        if (first_byte_ms := receipt.timings.first_byte_ms) is not None:
            self._of(self._first_byte, model).observe(first_byte_ms / 1_000)
        if (settled_ms := receipt.timings.settled_ms) is not None:
            self._of(self._duration, model).observe(settled_ms / 1_000)
        self.routing.exchange_ended(receipt)

    def ordered(self, command: str, outcome: str) -> None:
        """Count an order of an operator: "done", or the code that it was refused with."""
        self._orders.labels(command, outcome).inc()

    def refused(self, code: str) -> None:
        """Count a request that was refused before it was admitted."""
        self._refused.labels(code).inc()

    def passed(self, family: str, status: int) -> None:
        """Count a request that was passed through and costs nothing."""
        self._passed.labels(family, str(status)).inc()

    def shed(self, reason: str) -> None:
        """Count a request that was refused because there was too much of something."""
        self._shed.labels(reason).inc()

    def exposition(self) -> bytes:
        """All metrics, as Prometheus reads them."""
        return generate_latest(self.registry)
