"""What recovery is measured by: one provider that is checked and one that is not."""

from __future__ import annotations

import pytest

from bench.recovery import CHECK_S, MODELS, Plan, Recovery, config_text, run
from engine import parse_config


def test_one_provider_is_checked_and_the_other_is_not() -> None:
    text = config_text(["http://127.0.0.1:9", "http://127.0.0.1:10"])
    config = parse_config(text, "test", {})
    assert {name: row.health_check_s for name, row in config.providers.items()} == {
        "unchecked": None,
        "checked": CHECK_S,
    }
    assert tuple(config.models) == MODELS


def test_the_median_and_the_most() -> None:
    told = Recovery(first_s=[3.0, 1.0, 2.0], closed_s=[1.004], met=[5, 9]).to_json()
    assert told == {
        "first_s": {"median": 2.0, "most": 3.0},
        "closed_s": {"median": 1.0, "most": 1.0},
        "met": {"median": 7, "most": 9},
    }


@pytest.mark.long
def test_a_short_measurement() -> None:
    [(length, by_model)] = run(Plan((2.0,), 1, 20.0, calm_s=0.1)).items()
    assert length == "2 s"
    for figures in by_model.values():
        assert figures["first_s"]["most"] <= figures["closed_s"]["most"]
        assert figures["met"]["most"] >= 1
