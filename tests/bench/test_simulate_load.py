"""The load script runs, and the simulated provider holds what it is meant to hold."""

from __future__ import annotations

import pytest

from bench.simulate_load import Load, measure


def load_of(streams: int, protocol: str, seconds: float) -> Load:
    return Load(
        streams=streams,
        tokens_per_second=20.0,
        tokens_per_event=1,
        protocol=protocol,
        streams_per_connection=100,
        seconds=seconds,
    )


@pytest.mark.parametrize("protocol", ["h2", "http/1.1"])
async def test_a_few_streams(protocol: str) -> None:
    figures = await measure(load_of(20, protocol, 0.5))
    assert figures.tokens_per_second > 0
    assert "20 streams" in figures.line()


@pytest.mark.long
@pytest.mark.parametrize("protocol", ["h2", "http/1.1"])
async def test_two_thousand_paced_streams_on_one_core(protocol: str) -> None:
    """All tokens are on time on average: 2,000 streams of 20 tokens/s are 40,000 tokens/s."""
    figures = await measure(load_of(2_000, protocol, 10.0))
    assert figures.tokens_per_second == pytest.approx(40_000, rel=0.1)
    assert figures.cores < 1.0
