"""The total timeout of an attempt: it ends what first-byte and idle timeouts let live."""

from __future__ import annotations

from pathlib import Path

import trio

from engine import Outcome
from engine.errors import UpstreamTimeoutError
from tests.engine.upstream.proxy import open_server
from tests.gateways import events, open_setup, run


async def test_the_total_timeout_of_an_attempt(tmp_path: Path) -> None:
    """However lively the provider is; what it has generated is billed."""
    async with open_setup(tmp_path, provider="total_timeout_s = 0.5") as setup:
        call = setup.call("tokens=100000 tokens_per_second=100")
        body, receipt, _ = await run(setup, call)
        assert receipt.outcome is Outcome.UPSTREAM_FAILED
        assert events(body)[-1]["error"]["code"] == "upstream_timeout"
        assert 0 < receipt.usage["output_tokens"] == receipt.received_output_tokens < 100_000
        assert receipt.price_nanodollars > 0


async def test_the_total_timeout_before_an_answer(tmp_path: Path) -> None:
    async with open_setup(tmp_path, provider="total_timeout_s = 0.5") as setup:
        for directives in ("head_ms=60000", "first_token_ms=60000"):
            _, receipt, error = await run(setup, setup.call(directives))
            assert isinstance(error, UpstreamTimeoutError)
            assert receipt.outcome is Outcome.UPSTREAM_FAILED
            assert receipt.price_nanodollars == 0
        _, receipt, error = await run(setup, setup.call("tokens=5"))
        assert (receipt.outcome, error) == (Outcome.COMPLETED, None)


async def test_the_total_timeout_covers_the_wait_for_a_connection(tmp_path: Path) -> None:
    async def say_nothing(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with (
        open_server(say_nothing) as port,
        open_setup(
            tmp_path, base_url=f"http://127.0.0.1:{port}", provider="total_timeout_s = 0.1"
        ) as setup,
    ):
        _, receipt, error = await run(setup, setup.call())
        assert isinstance(error, UpstreamTimeoutError)
        assert receipt.price_nanodollars == 0
        [origin] = setup.gateway.statistics()["upstream"]["origins"]
        assert origin["waiting"] == 0
