"""The measurement of open jobs runs, and says what there is to say."""

from __future__ import annotations

import pytest

from bench.jobs_load import main


def test_a_few_jobs(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--jobs", "20", "--poll-max-s", "0.2", "--poll-min-s", "0.1", "--spread-s", "0.3"]
    assert main(arguments) == 0
    figures = capsys.readouterr().out.splitlines()[-1].split()
    assert float(figures[0]) == 0.2
    assert int(figures[1]) >= 20
