"""A request is sent again where its provider never acted on it, and where it still can be."""

from __future__ import annotations

from pathlib import Path

from engine import Outcome
from engine.wire.http2 import ErrorCodes
from tests.engine.upstream.peer import Request
from tests.gateways import run
from tests.scripted import open_scripted, word


async def test_what_was_answered_is_not_sent_again_whatever_its_reset_says(tmp_path: Path) -> None:
    """Head, text and a reset that speaks of no answer come in one read."""
    seen = []

    def refuse_late(request: Request) -> None:
        seen.append(request)
        request.answer(word("hello"))
        request.reset(ErrorCodes.REFUSED_STREAM)

    async with open_scripted(tmp_path, refuse_late) as setup:
        body, receipt, _ = await run(setup, setup.call())
        assert len(seen) == len(receipt.attempts) == 1
        assert body.count(b"hello") == 1
        assert receipt.outcome is Outcome.UPSTREAM_FAILED
        assert receipt.usage["output_tokens"] == 1
