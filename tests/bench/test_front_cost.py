"""The measurements of the front run beside nginx, and say what they have measured."""

from __future__ import annotations

import pytest

from bench.front_cost import main
from bench.peers.nginx import installed

pytestmark = pytest.mark.skipif(installed() is None, reason="nginx is not installed")


_PACES = "--repeats 1 --seconds 0.2 --streams 8 --rate 100 --busy-streams 8"


def test_a_short_run(capsys: pytest.CaptureFixture[str]) -> None:
    main(f"--only tokens,leave {_PACES} --leavings 3".split())
    printed = capsys.readouterr().out
    for words in ("http1, 8 × 100/s", "http2, 8 × 100/s", "leaving to RST, 8 streams open, p99"):
        assert words in printed


@pytest.mark.long
def test_requests_memory_and_first_tokens(capsys: pytest.CaptureFixture[str]) -> None:
    counts = "--unary-clients 4 --slow-streams 20 --probes 3"
    main(f"--only unary,memory,first {_PACES} {counts}".split())
    printed = capsys.readouterr().out
    for words in ("requests/s", "an open stream, 20 of 20", "first token, 8 streams open, p99"):
        assert words in printed
