"""What is kept of a stream's text until it is delivered, whatever its provider reports."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

from tests.engine.upstream.peer import Request
from tests.scripted import open_scripted, usage, word

METER = tracemalloc.Filter(inclusive=True, filename_pattern="*/engine/metering/*")


def meters_bytes() -> int:
    """What the metering holds."""
    snapshot = tracemalloc.take_snapshot().filter_traces([METER])
    return sum(statistic.size for statistic in snapshot.statistics("filename"))


async def test_delivered_text_is_let_go_of_where_the_figures_stand_still(tmp_path: Path) -> None:
    """Each chunk says that one token has been generated so far."""
    chunks = 4_000

    async def script(request: Request) -> None:
        request.answer()
        await request.send_all(word(" word", usage=usage(10, 1)) * chunks)

    async with (
        open_scripted(tmp_path, script, storage="progress_interval_s = 1000") as setup,
        setup.gateway.open_exchange(setup.call()) as exchange,
    ):
        received = 0
        tracemalloc.start()
        try:
            async for chunk in exchange:
                if not received:
                    entry = exchange.progress()
                    assert entry is not None
                    assert entry.received_output_tokens == 1
                received += chunk.count(b" word")
                if received == chunks:
                    break
            assert exchange.progress() is None
            kept_bytes = meters_bytes()
        finally:
            tracemalloc.stop()
        assert kept_bytes < chunks * 50
