"""Rounds of an agent whose provider fails in one of them."""

from __future__ import annotations

from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import orjson
import pytest

from engine import Exchange
from engine.errors import GatewayError
from engine.events import Call
from tests.engine.upstream.peer import Request
from tests.gateways import AGAIN, Setup
from tests.scripted import DONE, event, open_scripted, usage, usage_only, word
from tests.webserver import answer, open_webserver

CALL = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
ENDED = {"content": None, "tool_calls": [CALL]}


class Model:
    """Calls the tool when it is asked first, fails so often, and then answers."""

    def __init__(self, failures: int) -> None:
        self.asked: list[dict[str, Any]] = []
        self._failures = failures

    def __call__(self, request: Request) -> Awaitable[None]:
        self.asked.append(orjson.loads(request.body))
        if len(self.asked) == 1:
            return self._say(request, ENDED, "tool_calls")
        if len(self.asked) <= 1 + self._failures:
            return self._fail(request)
        return self._say(request, {"content": "It is here."}, "stop")

    async def _fail(self, request: Request) -> None:
        head = [(b":status", b"500"), (b"content-type", b"application/json")]
        request.connection.http2.send_headers(request.stream_id, head)
        await request.send_all(b'{"error":{"message":"oops"}}', ended=True)

    async def _say(self, request: Request, message: dict[str, Any], reason: str) -> None:
        request.answer()
        if not self.asked[-1].get("stream"):
            choice = {"index": 0, "message": {"role": "assistant", **message}}
            document = {
                "id": "c1",
                "object": "chat.completion",
                "model": "m",
                "choices": [choice | {"finish_reason": reason}],
                "usage": usage(50, 4),
            }
            await request.send_all(orjson.dumps(document), ended=True)
            return
        delta = dict(message)
        if "tool_calls" in message:
            delta["tool_calls"] = [CALL | {"index": 0}]
        chunk = {"id": "c1", "object": "chat.completion.chunk", "model": "m"}
        said = event(**chunk, choices=[{"index": 0, "delta": delta, "finish_reason": None}])
        end = word("").replace(b'"finish_reason":null', f'"finish_reason":"{reason}"'.encode())
        await request.send_all(said + end + usage_only(50, 4) + DONE, ended=True)


async def ask(setup: Setup, port: int, *, stream: bool) -> tuple[Exchange, str]:
    """The exchange of a call to an agent, and what its client gets or is refused with."""
    tool = {"type": "http", "name": "look_up", "url": f"http://127.0.0.1:{port}/"}
    document = {"name": "support", "model": "sim-openai", "tools": [tool]}
    await setup.gateway.agents.create(setup.account_id, document, lambda _: None)
    body = {
        "model": "agent:support",
        "stream": stream,
        "messages": [{"role": "user", "content": "Where is it?"}],
    }
    async with setup.gateway.open_exchange(
        Call(body=orjson.dumps(body), key=setup.key)
    ) as exchange:
        try:
            got = b"".join([piece async for piece in exchange])
        except GatewayError as error:
            got = error.message.encode()
    return exchange, got.decode()


@pytest.mark.parametrize("stream", [True, False])
async def test_a_round_that_fails_is_tried_again(tmp_path: Path, *, stream: bool) -> None:
    model = Model(failures=1)
    async with open_webserver({"/": answer(b"here", "text/plain")}) as shop:
        egress = f'[egress]\nhttp = true\nports = [{shop.port}]\nprivate = ["127.0.0.0/8"]'
        async with open_scripted(tmp_path, model, routing=AGAIN, models=egress) as setup:
            exchange, text = await ask(setup, shop.port, stream=stream)

    receipt = exchange.receipt
    assert "It is here." in text
    assert [each.role for each in receipt.attempts] == ["first", "round", "round"]
    assert [each.won for each in receipt.attempts] == [True, False, True]
    assert receipt.usage["output_tokens"] == 8
    assert receipt.price_nanodollars == 2 * (50 * 1_000 + 4 * 2_000)
    assert len(shop.heads) == 1  # a tool is run once, however often what follows is asked for
    assert model.asked[1]["messages"] == model.asked[2]["messages"]


@pytest.mark.parametrize("stream", [True, False])
async def test_where_a_round_fails_for_good_what_was_told_is_paid(
    tmp_path: Path, *, stream: bool
) -> None:
    async with open_webserver({"/": answer(b"here", "text/plain")}) as shop:
        egress = f'[egress]\nhttp = true\nports = [{shop.port}]\nprivate = ["127.0.0.0/8"]'
        async with open_scripted(tmp_path, Model(failures=9), models=egress) as setup:
            exchange, text = await ask(setup, shop.port, stream=stream)

    receipt = exchange.receipt
    assert "oops" in text
    assert receipt.outcome == "upstream_failed"
    assert receipt.price_nanodollars == (58_000 if stream else 0)
    assert sum(each.cost_nanodollars for each in receipt.attempts) == 58_000
