"""The measurement of files runs beside nginx, and says what it has measured."""

from __future__ import annotations

import pytest

from bench.files_cost import main
from bench.peers.nginx import installed

pytestmark = pytest.mark.skipif(installed() is None, reason="nginx is not installed")


def test_a_short_run(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--megabytes", "3", "--repeats", "1"])
    printed = capsys.readouterr().out
    for words in ("upload, gateway, 3 MB", "download, nginx, 3 MB", "download, gateway to nginx"):
        assert words in printed
