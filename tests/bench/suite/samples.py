"""Samples for tests, all fields filled."""

from __future__ import annotations

import dataclasses
from typing import Any

from bench.load.histogram import Histogram
from bench.suite.model import (
    Billing,
    Censored,
    ClosedLoop,
    Guards,
    Header,
    Machine,
    Memory,
    Sample,
)

QUIET = Guards(0.31, 0.4, 0.28, 5.1, 0.0, 0.02, 1.0, 41.5)

SAMPLE = Sample(
    scenario="paced",
    peer="parshall",
    repeat=2,
    step=0,
    order=1,
    seed=1,
    rate_max=0.0,
    offered=4_000.0,
    started_at="2026-05-01T12:00:00+00:00",
    elapsed_s=3.001,
    tokens=12_003,
    requests=0,
    streams=200,
    errors={},
    cpu_s=0.612,
    memory=Memory(rss_bytes=90 << 20, pss_bytes=80 << 20, processes=3),
    first_token_ms=Histogram([1.5, 2.5, 4.0]),
    latency_ms=Histogram(),
    lateness_ms=Histogram([0.0, 3.0, 5.0]),
    gap_ms=Histogram([49.0, 50.0, 51.0]),
    stalls=0,
    cancel_ms=Censored(Histogram([3.4]), never=1, limit_ms=5_000.0),
    tokens_after_leaving=2,
    closed=ClosedLoop(requests=900, elapsed_s=2.0, cpu_s=None),
    billed=Billing(60, 1, 4_800, 4_790, 12, 5),
    guards=QUIET,
)

HEADER = Header(
    machine=Machine("a CPU", 2, 8 << 30, "6.1", "Debian 12", "3.11.2"),
    started_at="2026-05-01T12:00:00+00:00",
    command=("bench", "run", "paced"),
    seed=1,
    versions={"parshall": "1.0", "nginx": "1.22.1"},
    revisions={"parshall": "abc123"},
    notes={"nginx": "bills nothing"},
    titles={"paced": "paced streams"},
    digests={"paced": "0123456789ab"},
)


def sample(**fields: Any) -> Sample:
    """`SAMPLE` with some fields changed."""
    return dataclasses.replace(SAMPLE, **fields)
