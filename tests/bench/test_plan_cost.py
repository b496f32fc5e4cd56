"""The measurement of planning runs, and says what it has measured."""

from __future__ import annotations

from typing import get_args

import pytest

from bench.plan_cost import CASES, main, stands
from engine.routing.values import Strategy


def test_a_short_run(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--deployments", "40", "--plans", "20", "--repeats", "1"])
    printed = capsys.readouterr().out
    for name in (*get_args(Strategy), "sticky"):
        for case in CASES:
            assert f"{name}, {case}" in printed
    assert "an attempt" in printed


def test_each_case_is_what_it_says() -> None:
    found = dict(stands("weighted", 40, sticky=True))
    paths = {
        case: {candidate.deployment.path for candidate in stand.plan(0).candidates}
        for case, stand in found.items()
    }
    assert {case: len(each) for case, each in paths.items()} == {
        "one": 1,
        "many": 4,
        "switched": 4,
        "broken": 3,
    }
    assert paths["broken"] == {row.path for row in found["broken"].rows[-3:]}
