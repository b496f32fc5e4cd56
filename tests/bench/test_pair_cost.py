"""The comparison of pairs of protocols runs, and says what it has measured."""

from __future__ import annotations

import pytest

from bench.pair_cost import PAIRS, main


def test_a_short_run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.pair_cost._RELAYED_TOKENS", 200)
    monkeypatch.setattr("bench.pair_cost._REQUEST_BYTES", 100_000)
    main(["--repeats", "1", "--seconds", "0.05", "--streams", "4", "--rate", "100"])
    printed = capsys.readouterr().out
    for words in ("CPU of the relay alone", "to translate a request", "CPU of the gateway"):
        assert words in printed
    assert printed.count(" provider: ") == 3 * len(PAIRS)
    assert "the event loop stood still" in printed
