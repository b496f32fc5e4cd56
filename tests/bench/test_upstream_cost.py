"""The measurements of the upstream pool run, and say what they have measured."""

from __future__ import annotations

import pytest

from bench.upstream_cost import main


def test_a_short_run(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--repeats", "1", "--seconds", "0.2", "--only", "request,frame,first-byte"])
    printed = capsys.readouterr().out
    for words in ("cores, load before", "our pool, HTTP/1.1", "CPU a DATA frame", "the pool adds"):
        assert words in printed


@pytest.mark.long
def test_cancels_and_memory(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--repeats", "1", "--only", "cancel,memory"])
    printed = capsys.readouterr().out
    for words in ("p99, our pool", "memory an open stream"):
        assert words in printed
