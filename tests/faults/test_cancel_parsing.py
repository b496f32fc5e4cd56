"""A large body, in a file and parsed by the helper: its exchange cancelled at each checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from engine import Call, Exchange, Gateway
from engine.uploads import Upload
from tests.gateways import drain, open_setup

from .test_cancel_exchange import FUNDS, PACE, SEED, TOKENS, cancelled_everywhere


async def spooled(gateway: Gateway, call: Call, seen: list[Exchange]) -> None:
    """As a frontend does with a large body."""
    file = gateway.spool.open()
    try:
        await file.append([call.body])
        held = replace(call, body=b"", upload=Upload(file, file.close))
        async with gateway.open_exchange(held) as exchange:
            seen.append(exchange)
            await drain(exchange)
    finally:
        file.close()


async def test_nothing_is_left_of_a_large_body(tmp_path: Path, say: Callable[[str], None]) -> None:
    async with open_setup(tmp_path, funds_nanodollars=FUNDS) as setup:
        points = await cancelled_everywhere(
            setup,
            spooled,
            lambda: setup.call(f"tokens={TOKENS} {PACE}"),
            stream=True,
            whose="own",
        )
        say(f"{points} cancel points, seed {SEED}")
        assert points > 8
        assert setup.gateway.spool.used_bytes == 0
        helper = setup.gateway.statistics()["parsing"]
        assert helper["starts"] == 1, "who leaves does not cost the others their helper"
