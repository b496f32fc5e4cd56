"""The stated bias of each family is what recorded answers show."""

from __future__ import annotations

import pytest

from bench import meter_cost, token_bias
from engine.metering.tokens import FAMILIES
from tests.recordings import RECORDINGS


def test_the_stated_bias_is_the_measured_one() -> None:
    measured = token_bias.measure(RECORDINGS)
    if not measured:
        pytest.skip(f"no recordings at {RECORDINGS}")
    stated = {family.name: family.bias for family in FAMILIES if family.bias is not None}
    assert {name: bias for name, (_, bias) in measured.items() if name != "others"} == stated


def test_what_metering_costs_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    meter_cost.main(["--tokens", "500", "--repeats", "1"])
    assert "500 tokens" in capsys.readouterr().out


def test_a_meter_counts_what_it_is_given() -> None:
    pieces = meter_cost.pieces_of(None, 300)
    meter = meter_cost.add(pieces, fits=True, progress_every=20)
    assert meter.received_tokens() == meter.delivered_tokens() > 0
