"""The measurement of starts runs, and says what it has measured."""

from __future__ import annotations

import pytest

from bench.start_cost import PHASES, main


def test_a_short_run(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--models", "3", "40", "--repeats", "1"])
    heading, *rows = capsys.readouterr().out.splitlines()
    assert all(phase in heading for phase in PHASES)
    for count, row in zip((3, 40), rows, strict=True):
        models, *figures = (int(cell) for cell in row.split())
        assert (models, len(figures)) == (count, len(PHASES))
        assert abs(figures[-1] - sum(figures[:-1])) <= len(PHASES)
