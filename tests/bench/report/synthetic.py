"""A run that never was: seeded samples as a real one leaves them, and rows of known middles."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.load.histogram import Histogram
from bench.suite.figures import FIGURES, Figure
from bench.suite.model import (
    Billing,
    Censored,
    ClosedLoop,
    Guards,
    Header,
    Interval,
    Machine,
    Memory,
    Report,
    Row,
    Sample,
)

SEED = 20260501
REPEATS = 4
HOSTILE = "<script>alert('x')</script>&|\"\x07"
BUSY = "the machine is busy: 0.42 cores of other programs"


@dataclass(frozen=True)
class Truth:
    """What a peer is made to show; `load` is what it is thinned to, `cancel_ms` None never."""

    cpu_us: float
    added_ms: float
    base_mib: float
    stream_kib: float
    cancel_ms: float | None
    load: float = 0.0


TRUTHS = {
    "nginx": Truth(14.8, 0.14, 11, 9.6, 0.7),
    "parshall": Truth(50.3, 0.62, 84, 47, 3.4),
    "parshall@HEAD~5": Truth(61.0, 0.71, 83, 49, 3.6),
    "smg": Truth(26.9, 0.35, 66, 31, 11),
    "portkey": Truth(108, 2.1, 74, 128, None, 4_000.0),
    "litellm": Truth(1_104, 14.5, 393, 610, 48, 400.0),
    HOSTILE: Truth(222, 4.0, 120, 300, 9),
    "direct": Truth(28, 0.0, 60, 0, 0.6),
}
SCENARIOS: dict[str, tuple[str, tuple[Figure, ...]]] = {
    "unary": (
        "whole answers",
        ("cpu_us_per_request", "requests_per_s", "added_latency_p50_ms", "added_latency_p99_ms"),
    ),
    "paced": (
        "paced streams",
        (
            "cpu_us_per_token",
            "added_first_token_p50_ms",
            "added_first_token_p99_ms",
            "lateness_p99_ms",
            "gap_p99_ms",
            "stalls_per_1000_tokens",
            "errors_share",
        ),
    ),
    "open-streams": ("open streams", ("memory_kib_per_stream", "memory_mib")),
    "cancel-storm": (
        "cancel storm",
        ("cancel_p50_ms", "cancel_p99_ms", "cancel_never_share", "tokens_after_leaving"),
    ),
    "mixed": ("mixed production", ("cpu_us_per_token", "billing_error_share", "errors_share")),
    "of-my-own": ("what I <b>care</b> about", ("tokens_per_s",)),
}
STEPS = (50, 100, 200, 400)
SIDES = ("nginx", "parshall", "direct")
"""Measured at the loads of the weaker ones too, so that there is something to compare with."""

HEADER = Header(
    machine=Machine("Intel(R) Xeon(R) CPU @ 2.60GHz", 2, 8 << 30, "6.1.0", "Debian 12", "3.11.2"),
    started_at="2026-05-01T09:30:00+00:00",
    command=("bench", "run", "--peer", "nginx", "--out", "a folder"),
    seed=SEED,
    versions={
        "nginx": "1.22.1",
        "parshall": "0.1.0",
        "parshall@HEAD~5": "0.1.0",
        "smg": "1.13.0",
        "portkey": "1.15.2",
        "litellm": "1.106.2",
        "direct": "",
        HOSTILE: "0 & 1",
    },
    revisions={"parshall": "f998027", "parshall@HEAD~5": "1a2b3c4"},
    notes={
        "portkey": "with the versions that its own package.json names least",
        "smg": "retries by default; policy round_robin",
        HOSTILE: "<img src=x onerror=alert(1)>",
    },
    titles={name: title for name, (title, _) in SCENARIOS.items()},
    digests={name: f"{place:012x}" for place, name in enumerate(SCENARIOS, start=1)},
    figures={name: figures for name, (_, figures) in SCENARIOS.items()},
)


def run() -> tuple[Report, list[Sample]]:
    """The same at each call."""
    samples = list(_samples(random.Random(SEED)))
    rows = tuple(_rows(random.Random(SEED + 1)))
    return Report(HEADER, rows, Path("a folder/raw.jsonl")), samples


def loads_of(scenario: str, peer: str) -> tuple[float, ...]:
    """The loads a peer is measured at; none where it cannot take part."""
    if scenario == "mixed" and peer == "portkey":
        return ()
    if scenario in ("open-streams", "cancel-storm", "of-my-own"):
        return (0.0,)
    if peer in SIDES:
        return (0.0, *sorted({truth.load for truth in TRUTHS.values()} - {0.0}))
    return (TRUTHS[peer].load,)


# -- samples ------------------------------------------------------------------------------------


def _samples(rng: random.Random) -> Iterator[Sample]:
    for scenario in SCENARIOS:
        for repeat in range(REPEATS):
            for order, peer in enumerate(TRUTHS):
                for load in loads_of(scenario, peer):
                    for step in STEPS if scenario == "open-streams" else (0,):
                        yield _sample(rng, scenario, peer, repeat, order, load, step)


def _sample(
    rng: random.Random,
    scenario: str,
    peer: str,
    repeat: int,
    order: int,
    load: float,
    step: int,
) -> Sample:
    truth = TRUTHS[peer]
    busy = (scenario == "mixed" and peer == "litellm") or (peer == "smg" and repeat == 2)
    tokens = int((load or 4_000.0) * 3)
    unary, streams = scenario == "unary", step or 200
    size = int((truth.base_mib * 1024 + truth.stream_kib * streams + rng.gauss(0, 60)) * 1024)
    paced = scenario in ("paced", "mixed")

    def late() -> float:
        return rng.lognormvariate(0, 0.7) * (0.6 + truth.added_ms)

    return Sample(
        scenario=scenario,
        peer=peer,
        repeat=repeat,
        step=step,
        order=order,
        seed=SEED,
        rate_max=load,
        offered=load or 4_000.0,
        started_at="2026-05-01T09:31:00+00:00",
        elapsed_s=3.0,
        tokens=tokens,
        requests=300 if unary else 0,
        streams=0 if unary else streams,
        errors={"status 500": 3, "<unanswered>": 1} if peer == HOSTILE else {},
        cpu_s=None if peer == "direct" else tokens * truth.cpu_us / 1e6,
        memory=Memory(size + (4 << 20), size, 1 + (peer == "parshall")),
        first_token_ms=_histogram(lambda: 0.4 + late()) if paced else Histogram(),
        latency_ms=_histogram(lambda: 0.9 + late()) if unary else Histogram(),
        lateness_ms=_histogram(late, 50) if paced else Histogram(),
        gap_ms=_histogram(lambda: abs(rng.gauss(50, 2 + truth.added_ms)), 50)
        if paced
        else Histogram(),
        stalls=0,
        cancel_ms=_cancels(rng, truth) if scenario == "cancel-storm" else _NO_CANCEL,
        tokens_after_leaving=7,
        closed=ClosedLoop(1_800, 2.0, 1.1) if unary else None,
        billed=Billing(60, 1, 4_800, 4_790, 12, 5) if peer.startswith("parshall") else None,
        guards=Guards(
            0.3 + rng.random() / 10, 0.8, 0.25, 5.1, 0.004, 0.42 if busy else 0.02, 0.999, 41.5
        ),
        refused=BUSY if busy else "",
    )


_NO_CANCEL = Censored(Histogram(), never=0, limit_ms=5_000.0)


def _histogram(draw: Callable[[], float], times: int = 1) -> Histogram:
    histogram = Histogram()
    for _ in range(50):
        histogram.record(draw(), times)
    return histogram


def _cancels(rng: random.Random, truth: Truth) -> Censored:
    if truth.cancel_ms is None:
        return Censored(Histogram(), never=40, limit_ms=5_000.0)
    draws = [truth.cancel_ms * rng.lognormvariate(0, 0.4) for _ in range(40)]
    return Censored(Histogram(draws), never=0, limit_ms=5_000.0)


# -- rows ---------------------------------------------------------------------------------------


def _rows(rng: random.Random) -> Iterator[Row]:
    for scenario, (_, figures) in SCENARIOS.items():
        for peer in TRUTHS:
            for load in loads_of(scenario, peer):
                for figure in figures:
                    yield _row(rng, scenario, peer, figure, load)


def _row(rng: random.Random, scenario: str, peer: str, figure: Figure, load: float) -> Row:
    middle = middle_of(peer, figure)
    if scenario == "mixed" and peer == "litellm":
        return Row(scenario, peer, figure, None, {}, load, f"4 of 4 refused: {BUSY}")
    if middle is None:
        return Row(scenario, peer, figure, None, {}, load, "not seen")
    compared = {}
    base = middle_of("nginx", figure)
    if peer != "nginx" and base and not FIGURES[figure].additive:
        compared["nginx"] = _around(rng, middle / base)
    return Row(scenario, peer, figure, _around(rng, middle), compared, load, "")


def _around(rng: random.Random, middle: float) -> Interval:
    if middle == math.inf:
        return Interval(middle, middle, middle, REPEATS)
    half = abs(middle) * rng.uniform(0.02, 0.09)
    return Interval(middle, middle - half, middle + half, REPEATS)


def middle_of(peer: str, figure: Figure) -> float | None:
    """What rows say of a peer; None where the figure cannot be seen."""
    truth = TRUTHS[peer]
    if peer == "direct" and (figure.startswith(("cpu", "memory"))):
        return None
    match figure:
        case "cpu_us_per_token":
            return truth.cpu_us
        case "cpu_us_per_request":
            return truth.cpu_us * 18
        case "requests_per_s":
            return 1e6 / (truth.cpu_us * 14)
        case "memory_kib_per_stream":
            return truth.stream_kib
        case "memory_mib":
            return truth.base_mib
        case "cancel_p50_ms" | "cancel_p99_ms":
            return float("inf") if truth.cancel_ms is None else truth.cancel_ms
        case "cancel_never_share":
            return float(truth.cancel_ms is None)
        case "billing_error_share":
            return 0.0025 if peer.startswith("parshall") else None
        case "gap_p99_ms":
            return 55.0 + truth.added_ms
        case "tokens_per_s":
            return 4_000.0
        case "stalls_per_1000_tokens" | "errors_share":
            return 0.0132 if peer == HOSTILE else 0.0
    return truth.added_ms
