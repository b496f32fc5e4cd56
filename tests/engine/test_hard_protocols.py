"""Money across protocols at its worst: what goes out, what is held, and what is hidden."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from engine import Call, Outcome
from engine.errors import UpstreamRejectedError
from engine.events import Protocol
from engine.metering.tokens import counter_for
from engine.protocols.codec import Identity, InexpressibleError
from engine.protocols.registry import codec_of
from engine.relay import RelaySettings, open_relay
from tests.engine.upstream.peer import Request
from tests.gateways import MODELS, PROTOCOLS, Setup, charge, run
from tests.scripted import answering, event, open_scripted, usage, word

LONG = "word " * 40_000


def whole_answer(protocol: Protocol) -> bytes:
    """A long answer in one piece."""
    match protocol:
        case "openai_chat":
            choice = {"message": {"content": LONG}, "finish_reason": "stop"}
            return orjson.dumps({"choices": [choice], "usage": usage(10, 40_000)})
        case "openai_responses":
            part = {"type": "output_text", "text": LONG, "annotations": []}
            item = {"type": "message", "id": "msg_1", "role": "assistant", "content": [part]}
            figures = {"input_tokens": 10, "output_tokens": 40_000}
            document = {"status": "completed", "output": [item], "usage": figures}
            return orjson.dumps(document)
        case "anthropic":
            block = {"type": "text", "text": LONG}
            figures = {"input_tokens": 10, "output_tokens": 40_000}
            return orjson.dumps({"content": [block], "stop_reason": "end_turn", "usage": figures})
        case _:
            return orjson.dumps(gemini_chunk(LONG, 40_000, finishReason="STOP"))


def gemini_chunk(text: str, output_tokens: int, **candidate: Any) -> dict[str, Any]:
    return {
        "candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, **candidate}],
        "usageMetadata": {"promptTokenCount": 10, "thoughtsTokenCount": output_tokens},
    }


@pytest.mark.parametrize("provider", PROTOCOLS)
@pytest.mark.parametrize("client", PROTOCOLS)
async def test_who_has_an_answer_in_one_piece_has_paid_for_it(
    tmp_path: Path, client: Protocol, provider: Protocol
) -> None:
    """All but the last byte of a long answer is as good as all of it."""
    async with open_scripted(tmp_path, answering(whole_answer(provider))) as setup:
        call = setup.call_of(client, provider, stream=False)
        got = 0
        async with setup.gateway.open_exchange(call) as exchange:
            async for chunk in exchange:
                got = len(chunk)
                break
        assert got > len(LONG)
        assert exchange.receipt.price_nanodollars == charge(10, 40_000)


class Sent:
    """A provider that keeps what it was asked, and answers with one word."""

    def __init__(self) -> None:
        self.document: dict[str, Any] = {}

    def __call__(self, request: Request) -> None:
        self.document = orjson.loads(bytes(request.body))
        block = {"type": "text", "text": "word"}
        figures = {"input_tokens": 10, "output_tokens": 1}
        answer = {"content": [block], "stop_reason": "end_turn", "usage": figures}
        request.answer(orjson.dumps(answer), ended=True)


def thinking_call(setup: Setup) -> Call:
    document = {
        "model": "sim-anthropic",
        "max_tokens": 100,
        "reasoning_effort": "high",
        "messages": [{"role": "user", "content": "hello"}],
    }
    return Call(body=orjson.dumps(document), key=setup.key)


@pytest.mark.parametrize(("covered", "limit"), [(2_000, 2_000), (100_000, 24_676)])
async def test_room_for_thinking_is_held_too(tmp_path: Path, covered: int, limit: int) -> None:
    """Anthropic's limit is of thinking as well, so it is raised by the budget of an effort."""
    sent = Sent()
    funds = charge(200, covered)
    async with open_scripted(tmp_path, sent, funds_nanodollars=funds) as setup:
        call = thinking_call(setup)
        await run(setup, call)
        assert sent.document["max_tokens"] <= limit + 200
        assert charge(len(call.body), sent.document["max_tokens"]) <= funds
        assert sent.document["thinking"]["budget_tokens"] < sent.document["max_tokens"]


@pytest.mark.parametrize("client", PROTOCOLS)
async def test_hidden_thoughts_end_the_funds_as_soon_as_they_are_reported(
    tmp_path: Path, client: Protocol
) -> None:
    chunks = [gemini_chunk("word ", 5_000 * n) for n in range(1, 101)]
    body = b"".join(b"data: " + orjson.dumps(chunk) + b"\r\n\r\n" for chunk in chunks)
    funds = charge(1_000, 12_000)
    async with open_scripted(tmp_path, answering(body), funds_nanodollars=funds) as setup:
        call = setup.call_of(client, "gemini")
        call = replace(call, body=call.body.replace(b'"max_tokens":4096', b'"max_tokens":500000'))
        _, receipt, _ = await run(setup, call)
        assert receipt.outcome is Outcome.FUNDS_EXHAUSTED
        assert receipt.usage["output_tokens"] <= 20_000


@pytest.mark.parametrize("provider", ["openai_chat", "gemini"])
async def test_a_limit_of_nothing_is_not_taken_for_none(tmp_path: Path, provider: Protocol) -> None:
    document = {
        "model": MODELS[provider],
        "max_tokens": 0,
        "messages": [{"role": "user", "content": "hello"}],
    }
    async with open_scripted(tmp_path, answering(b"{}")) as setup:
        call = Call(body=orjson.dumps(document), key=setup.key, protocol="anthropic")
        with pytest.raises(InexpressibleError, match="no answer") as caught:
            async with setup.gateway.open_exchange(call):
                pass
        assert caught.value.param == "max_tokens"


def test_arguments_beyond_every_bound_are_the_providers_fault() -> None:
    """A Gemini client gets calls whole, so their arguments wait; not without end."""
    gemini, chat = codec_of("gemini"), codec_of("openai_chat")
    prompt = orjson.dumps({"contents": [{"parts": [{"text": "x"}]}]})
    call = Call(body=prompt, key=None, protocol="gemini", model="m", stream=True)
    relay = open_relay(
        RelaySettings(
            client=gemini,
            provider=chat,
            request=gemini.parse_request(call),
            count=counter_for("o200k_base"),
            identity=Identity("req_1", "m", 0),
            end_marker=True,
            body_max_bytes=1_000_000,
        )
    )
    relay.feed(word("hello"))
    function = {"name": "f", "arguments": "word " * 200_000}
    piece = event(choices=[{"delta": {"tool_calls": [{"index": 0, "function": function}]}}])
    for _ in range(20):
        relay.feed(piece)
    assert relay.error is not None
    assert "longer than the bound" in relay.error.message
    assert relay.meter.has_output


@pytest.mark.parametrize("status", [b"200", b"400"])
async def test_any_bytes_may_be_a_providers_id(tmp_path: Path, status: bytes) -> None:
    def script(request: Request) -> None:
        head = [(b":status", status), (b"request-id", "caf\u00e9 \u2192".encode())]
        request.connection.http2.send_headers(request.stream_id, head)
        request.send(b'{"input_tokens":7}', ended=True)

    async with open_scripted(tmp_path, script) as setup:
        call = replace(setup.call_of("anthropic", "anthropic"), operation="count_tokens")
        try:
            head, _ = await setup.gateway.count_tokens(call)
            said = dict(head.headers)[b"x-provider-request-id"]
        except UpstreamRejectedError as error:
            said = (error.provider_request_id or "").encode("latin-1")
        assert said.decode() == "caf\u00e9 \u2192"
