"""A request is sent again where its provider never acted on it, and where it still can be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trio.testing

from engine import Outcome
from engine.errors import UpstreamError
from engine.uploads import Upload
from engine.wire.http2 import ErrorCodes
from tests.engine.upstream.peer import Request
from tests.gateways import AGAIN, run
from tests.scripted import open_scripted, word


async def test_what_was_answered_is_not_sent_again_whatever_its_reset_says(tmp_path: Path) -> None:
    """Head, text and a reset that speaks of no answer come in one read."""
    seen = []

    def refuse_late(request: Request) -> None:
        seen.append(request)
        request.answer(word("hello"))
        request.reset(ErrorCodes.REFUSED_STREAM)

    async with open_scripted(tmp_path, refuse_late, routing=AGAIN) as setup:
        body, receipt, _ = await run(setup, setup.call())
        assert len(seen) == len(receipt.attempts) == 1
        assert body.count(b"hello") == 1
        assert receipt.outcome is Outcome.UPSTREAM_FAILED
        assert receipt.usage["output_tokens"] == 1


async def test_what_was_let_go_of_is_not_sent_again(tmp_path: Path) -> None:
    """The wait for the head is cancelled when nobody keeps the body any more, and taken up again
    when the provider has refused the request."""
    bodies, refused = [], trio.Event()

    async def refuse(request: Request) -> None:
        bodies.append(bytes(request.body))
        await refused.wait()
        request.reset(ErrorCodes.REFUSED_STREAM)

    server = "commit_after_s = 0.5\nparsed_here_max_bytes = 10_000_000"
    async with open_scripted(tmp_path, refuse, server=server, routing=AGAIN) as setup:
        words = {"role": "user", "content": "All work and no play. " * 3_500}
        whole = setup.call(messages=[words])
        waiting = trio.CancelScope()
        call = replace(whole, body=b"", upload=Upload(whole.body, waiting.cancel))
        async with setup.gateway.open_exchange(call) as exchange:
            with waiting:
                await exchange.head()
            assert waiting.cancelled_caught
            refused.set()
            await trio.testing.wait_all_tasks_blocked(0.05)
            with pytest.raises(UpstreamError):
                await exchange.head()
        assert len(bodies) == len(exchange.receipt.attempts) == 1
        assert exchange.receipt.price_nanodollars == 0
