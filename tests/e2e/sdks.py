"""What the tests with the official SDKs ask for, and what they compare with."""

from __future__ import annotations

from pydantic import BaseModel

from bench.simulate import TruthRecord
from tests.served import Served

CALLS = "tools=get_weather,get_weather preamble=5"
"""Directives for an answer that calls tools."""
REASONING = "reasoning=16"
"""Directives for an answer that is thought about."""


class Weather(BaseModel):
    """A tool's arguments."""

    city: str
    days: int


def one_truth(served: Served) -> TruthRecord:
    """What the provider knows of the only request it got."""
    [truth] = served.setup.sim.truth.records()
    return truth
