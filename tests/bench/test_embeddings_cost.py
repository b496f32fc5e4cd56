"""The measurement of embeddings runs, and says what it has measured."""

from __future__ import annotations

import pytest

from bench.embeddings_cost import KINDS, main


@pytest.mark.long
def test_a_short_run(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--seconds", "0.3", "--repeats", "1", "--clients", "4"])
    printed = capsys.readouterr().out
    for title in KINDS:
        assert title in printed
