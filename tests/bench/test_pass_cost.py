"""The measurement of what is passed through runs, and says what it has measured."""

from __future__ import annotations

import pytest

from bench.pass_cost import main


def test_a_short_run(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--requests", "1", "--repeats", "1"])
    rows = capsys.readouterr().out.splitlines()[1:]
    assert [row.split()[0] for row in rows] == ["show", "items", "make", "list", "stream"]
    assert all("added" in row and "time × " in row for row in rows)
