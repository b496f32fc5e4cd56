"""The measurement of retrieval runs, and says what it has measured."""

from __future__ import annotations

import pytest

from bench.retrieval import main


def test_a_short_run(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--files", "20", "--questions", "5", "--kib", "4"])
    printed = capsys.readouterr().out
    assert "20 files, " in printed
    assert "p50" in printed
