"""The figures that are reported: their names, what they mean, and which way is better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Figure = Literal[
    "cpu_us_per_token",
    "cpu_us_per_request",
    "requests_per_s",
    "tokens_per_s",
    "first_token_p50_ms",
    "first_token_p90_ms",
    "first_token_p99_ms",
    "added_first_token_p50_ms",
    "added_first_token_p90_ms",
    "added_first_token_p99_ms",
    "added_latency_p50_ms",
    "added_latency_p90_ms",
    "added_latency_p99_ms",
    "lateness_p50_ms",
    "lateness_p99_ms",
    "gap_p50_ms",
    "gap_p99_ms",
    "stalls_per_1000_tokens",
    "streams_sustained",
    "memory_kib_per_stream",
    "memory_mib",
    "cancel_p50_ms",
    "cancel_p99_ms",
    "cancel_never_share",
    "tokens_after_leaving",
    "billing_error_share",
    "errors_share",
]


@dataclass(frozen=True, slots=True)
class FigureRow:
    """What a figure is.

    Attributes:
        title, unit: for tables; the unit is empty for a share.
        lower_is_better: which way a change counts.
        additive: compared by difference where it can be zero or below, not as a ratio.
        timed: counts wall time, so that samples which came late say nothing about it.
        meaning: one sentence.
    """

    title: str
    unit: str
    meaning: str
    lower_is_better: bool = True
    additive: bool = False
    timed: bool = False


def _added(what: str, share: str) -> FigureRow:
    return FigureRow(
        f"added {what}, {share}",
        "ms",
        f"{share} of the peer minus {share} without a gateway in the same round and plan",
        additive=True,
        timed=True,
    )


def _first(share: str) -> FigureRow:
    return FigureRow(
        f"first token, {share}",
        "ms",
        "from when the request was due to its first token",
        timed=True,
    )


def _late(share: str) -> FigureRow:
    return FigureRow(
        f"lateness of a token, {share}", "ms", "arrival minus when the plan has it due", timed=True
    )


def _cancel(share: str) -> FigureRow:
    return FigureRow(
        f"cancel, {share}",
        "ms",
        "a client's leaving to the end of its request at the provider",
        timed=True,
    )


FIGURES: Final[Mapping[Figure, FigureRow]] = {
    "cpu_us_per_token": FigureRow(
        "CPU per token", "µs", "CPU time of the process tree by tokens received"
    ),
    "cpu_us_per_request": FigureRow(
        "CPU per request", "µs", "CPU time of the process tree by requests answered"
    ),
    "requests_per_s": FigureRow(
        "requests",
        "1/s",
        "answered with clients that ask again at once",
        lower_is_better=False,
        timed=True,
    ),
    "tokens_per_s": FigureRow(
        "tokens", "1/s", "received in the window", lower_is_better=False, timed=True
    ),
    "first_token_p50_ms": _first("p50"),
    "first_token_p90_ms": _first("p90"),
    "first_token_p99_ms": _first("p99"),
    "added_first_token_p50_ms": _added("time to first token", "p50"),
    "added_first_token_p90_ms": _added("time to first token", "p90"),
    "added_first_token_p99_ms": _added("time to first token", "p99"),
    "added_latency_p50_ms": _added("latency", "p50"),
    "added_latency_p90_ms": _added("latency", "p90"),
    "added_latency_p99_ms": _added("latency", "p99"),
    "lateness_p50_ms": _late("p50"),
    "lateness_p99_ms": _late("p99"),
    "gap_p50_ms": FigureRow("gap, p50", "ms", "between two tokens of a stream", timed=True),
    "gap_p99_ms": FigureRow("gap, p99", "ms", "between two tokens of a stream", timed=True),
    "stalls_per_1000_tokens": FigureRow(
        "stalls per 1,000 tokens", "", "gaps of more than 250 ms", additive=True, timed=True
    ),
    "streams_sustained": FigureRow(
        "streams sustained",
        "",
        "the most streams within the bound",
        lower_is_better=False,
        timed=True,
    ),
    "memory_kib_per_stream": FigureRow(
        "memory per open stream", "KiB", "slope of the tree's PSS over the number of streams"
    ),
    "memory_mib": FigureRow("memory", "MiB", "PSS of the process tree at the window's end"),
    "cancel_p50_ms": _cancel("p50"),
    "cancel_p99_ms": _cancel("p99"),
    "cancel_never_share": FigureRow(
        "never cancelled", "", "share of leavings the provider did not learn of", additive=True
    ),
    "tokens_after_leaving": FigureRow(
        "tokens after leaving", "", "generated for nobody, a leaving", additive=True, timed=True
    ),
    "billing_error_share": FigureRow(
        "billing error", "", "tokens billed wrongly to tokens written", additive=True
    ),
    "errors_share": FigureRow("errors", "", "requests that failed to all requests", additive=True),
}
