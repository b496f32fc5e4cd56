"""A silent stream: its head goes out early, comments keep it alive, and neither is billed."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from engine import Call
from engine.errors import UpstreamRejectedError
from engine.events import Protocol, new_request_id
from tests.gateways import drain, open_setup

SOON = "commit_after_s = 0.02\nheartbeat_s = 0.02"
BEAT = b": keep-alive\n\n"
ATTEMPTS = 5
"""A machine that sleeps through the silence of a provider is asked again."""


def again(call: Call) -> Call:
    """The same request as another one."""
    return replace(call, request_id=new_request_id())


def events_of(body: bytes) -> list[bytes]:
    """Without the comments: a machine that slept has some in any stream."""
    return [block for block in body.split(b"\n\n") if block != BEAT.strip()]


@pytest.mark.parametrize("client", ["openai_chat", "anthropic"])
@pytest.mark.parametrize("provider", ["openai_chat", "anthropic", "gemini"])
async def test_comments_go_between_events(tmp_path: Path, client: Protocol, provider: str) -> None:
    async with open_setup(tmp_path, server=SOON) as setup:
        call = setup.call_of(client, provider, "tokens=3 first_token_ms=300")
        for _ in range(ATTEMPTS):
            async with setup.gateway.open_exchange(again(call)) as exchange:
                body = await drain(exchange)
            if body.count(BEAT) >= 2:
                break
        silent = setup.call_of(client, provider, "tokens=3")
        async with setup.gateway.open_exchange(silent) as other:
            without = await drain(other)
        assert body.count(BEAT) >= 2
        assert len(events_of(body)) == len(events_of(without)), "every other event is whole"
        receipt = exchange.receipt
        assert receipt.delivered_output_tokens == receipt.received_output_tokens == 3
        assert receipt.usage["output_tokens"] == other.receipt.usage["output_tokens"] == 3


@pytest.mark.parametrize("provider", ["openai_chat", "gemini"])
async def test_a_gemini_client_gets_none_and_waits_for_its_head(
    tmp_path: Path, provider: str
) -> None:
    async with open_setup(tmp_path, server=SOON) as setup:
        call = setup.call_of("gemini", provider, "tokens=3 first_token_ms=200")
        async with setup.gateway.open_exchange(call) as exchange:
            await exchange.head()
            assert setup.truth(exchange).tokens_generated > 0
            assert b"keep-alive" not in await drain(exchange)


async def test_the_head_goes_out_before_the_provider_has_answered(tmp_path: Path) -> None:
    async with open_setup(tmp_path, server=SOON) as setup:
        silent = setup.call_of("openai_chat", "openai_chat", "head_ms=60000")
        async with setup.gateway.open_exchange(silent) as exchange:
            head = await exchange.head()
            assert dict(head.headers) == {b"content-type": b"text/event-stream"}
            assert (await anext(exchange)).startswith(BEAT)
        call = setup.call_of("openai_chat", "openai_chat", "tokens=3 head_ms=300")
        async with setup.gateway.open_exchange(call) as exchange:
            body = await drain(exchange)
        assert body.endswith(b"data: [DONE]\n\n")
        assert exchange.receipt.outcome == "completed"


async def test_a_refusal_after_the_head_is_an_error_in_the_stream(tmp_path: Path) -> None:
    async with open_setup(tmp_path, server=SOON) as setup:
        call = setup.call_of("anthropic", "anthropic", "status=529 head_ms=300")
        body = b""
        for _ in range(ATTEMPTS):
            with suppress(UpstreamRejectedError):
                async with setup.gateway.open_exchange(again(call)) as exchange:
                    body = await drain(exchange)
                break
        assert body.rpartition(BEAT)[2].startswith(b"event: error\ndata: ")
        assert b"overloaded_error" in body
        assert (exchange.receipt.outcome, exchange.receipt.price_nanodollars) == (
            "upstream_failed",
            0,
        )


async def test_events_of_a_refusal_raise_it(tmp_path: Path) -> None:
    async with open_setup(tmp_path, server=SOON) as setup:
        call = setup.call_of("openai_chat", "openai_chat", "status=529 head_ms=300")
        async with setup.gateway.open_exchange(call) as exchange:
            with pytest.raises(UpstreamRejectedError):
                _ = [event async for event in exchange.events()]
