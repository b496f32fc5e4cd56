"""The measurement of admission runs, and says what it has measured."""

from __future__ import annotations

import pytest

from bench.admission_cost import STEPS, main


def test_a_short_run(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--keys", "200", "--models", "40", "--requests", "20", "--repeats", "1"])
    printed = capsys.readouterr().out
    for words in (*STEPS, "together", "status", "200 keys", "400 keys and accounts", "40 models"):
        assert words in printed
    assert printed.count("the loop late by") == 2
