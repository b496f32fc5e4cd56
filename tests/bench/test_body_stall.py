"""The figures of large bodies come out, on both sides."""

from __future__ import annotations

import pytest

from bench.body_stall import main


def test_each_body_is_answered_on_both_sides(capsys: pytest.CaptureFixture[str]) -> None:
    main(tries=1, turns=300, values=100_000)

    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    sides = [next(word for word in row if word in ("here", "apart")) for row in rows]
    assert sides == ["here", "apart"] * 4
    statuses = [row[row.index(side) + 2] for row, side in zip(rows, sides, strict=True)]
    assert statuses == ["200"] * 6 + ["400"] * 2
