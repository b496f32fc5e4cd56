"""The measurement of uploads runs beside nginx, and says what it has measured."""

from __future__ import annotations

import pytest

from bench.peers.nginx import installed
from bench.upload_cost import main

pytestmark = pytest.mark.skipif(installed() is None, reason="nginx is not installed")


def test_a_short_run(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--megabytes", "5", "--clients", "2", "--uploads", "2", "--repeats", "1", "--many", "2"])
    printed = capsys.readouterr().out
    for words in (
        "gateway, 2 clients",
        "nginx, 2 clients",
        "gateway to nginx",
        "2 uploads at once",
    ):
        assert words in printed
