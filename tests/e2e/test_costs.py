"""What an answer tells its client that it cost: in each protocol, from each, and to the SDKs."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
import trio
from google import genai
from google.genai.types import HttpOptions

from engine import Exchange
from engine.events import Outcome, Protocol
from engine.ledger.receipts import Receipt
from tests.answers import sdk
from tests.costs import shown_in
from tests.engine.upstream.peer import Request
from tests.gateways import (
    PAIRS,
    PROTOCOLS,
    Setup,
    charge,
    content,
    drain,
    events,
    open_setup,
    run,
    settled,
)
from tests.scripted import DONE, event, open_scripted, usage, word
from tests.served import Served, open_served


def paid(receipt: Receipt | dict[str, Any]) -> tuple[Decimal, Decimal]:
    """Dollars and credits on a receipt."""
    said = receipt if isinstance(receipt, dict) else receipt.to_json()
    return Decimal(said["price"]["usd"]), Decimal(said["credits"])


def received_in(exchange: Exchange) -> int:
    """What would be billed now; 0 where that is as it was when it was asked last."""
    entry = exchange.progress()
    return 0 if entry is None else entry.received_output_tokens


async def test_every_answer_says_what_its_receipt_says(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        for client, provider in PAIRS:
            for stream in (True, False):
                call = setup.call_of(client, provider, "tokens=40 reasoning=3", stream=stream)
                body, receipt, _ = await run(setup, call)
                case = f"{client} from {provider}, stream {stream}"
                assert receipt.price_nanodollars > 0, case
                assert shown_in(body) == paid(receipt), case
                reading = sdk.read(client, body, stream=stream)
                assert not reading.failed, case
                assert reading.usage is not None, case
                assert reading.usage.units() == receipt.usage, case


@pytest.mark.parametrize("stream", [True, False])
async def test_as_a_json_array_and_in_legacy_completions(tmp_path: Path, stream: bool) -> None:
    async with open_served(tmp_path) as served, served.http() as http:
        contents = [{"role": "user", "parts": [{"text": "#sim tokens=7"}]}]
        method = "streamGenerateContent" if stream else "generateContent"
        answers = [
            await http.post(
                f"{served.origin}/v1beta/models/{model}:{method}", json={"contents": contents}
            )
            for model in ("sim-gemini", "sim-openai")
        ]
        options = {"stream_options": {"include_usage": True}} if stream else {}
        document = {"model": "sim-openai", "prompt": "#sim tokens=7", "stream": stream}
        answers.append(await http.post("/completions", json=document | options))
        for answer in answers:
            assert answer.status_code == 200
            receipt = await served.receipt(answer.headers["x-request-id"])
            assert shown_in(answer.content) == paid(receipt)
            if not stream:
                usage = answer.json().get("usage") or answer.json()["usageMetadata"]
                assert usage["cost"] == float(receipt["price"]["usd"])


async def test_an_answer_in_one_piece_says_it_in_its_head_too(tmp_path: Path) -> None:
    async with open_served(tmp_path, billing="credits_per_usd = 250") as served:
        for protocol in PROTOCOLS:
            head, receipt = await _head_of(served.setup, protocol)
            assert head["x-parshall-cost"] == f"{paid(receipt)[0].normalize():f}"
            assert head["x-credits-used"] == receipt.to_json()["credits"]
            assert Decimal(head["x-credits-used"]) == 250 * paid(receipt)[0]


async def _head_of(setup: Setup, protocol: Protocol) -> tuple[dict[str, str], Receipt]:
    call = setup.call_of(protocol, protocol, "tokens=11", stream=False)
    async with setup.gateway.open_exchange(call) as exchange:
        head = await exchange.head()
        body = await drain(exchange)
    headers = {name.decode(): value.decode() for name, value in head.headers}
    assert int(headers["content-length"]) == len(body)
    return headers, exchange.receipt


async def test_only_whom_asked_for_usage_is_told(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        body, receipt, _ = await run(setup, setup.call("tokens=5"))
        assert receipt.price_nanodollars > 0
        assert shown_in(body) is None


async def test_an_operator_may_keep_it_to_himself(tmp_path: Path) -> None:
    async with open_setup(tmp_path, billing="show_cost = false") as setup:
        for protocol in PROTOCOLS:
            body, receipt, _ = await run(setup, setup.call_of(protocol, protocol, "tokens=5"))
            assert receipt.price_nanodollars > 0
            assert shown_in(body) is None
            head, _ = await _head_of(setup, protocol)
            assert not {"x-parshall-cost", "x-credits-used"} & head.keys()


async def test_the_cut_ending_of_a_stream_says_it(tmp_path: Path) -> None:
    """When it is ended by its receipt, and when the funds end."""
    async with open_setup(tmp_path) as setup:
        pace = "tokens=100000 tokens_per_second=2000 ignore_max_tokens=1"
        for client, provider in PAIRS:
            call, body = setup.call_of(client, provider, pace), b""
            async with setup.gateway.open_exchange(call) as exchange:
                async for chunk in exchange:
                    body += chunk
                    if len(body) > 600:
                        exchange.cancel()
            assert exchange.receipt.flags == ("cancelled",)
            assert shown_in(body) == paid(exchange.receipt), f"{client} from {provider}"
            assert not sdk.read(client, body, stream=True).failed


@pytest.mark.parametrize("client", PROTOCOLS)
async def test_the_ending_where_funds_end_says_it(tmp_path: Path, client: Protocol) -> None:
    funds = charge(600, 150)
    billing = "output_slice_tokens = 50"
    async with open_setup(tmp_path, funds_nanodollars=funds, billing=billing) as setup:
        pace = "tokens=1000 tokens_per_second=5000 ignore_max_tokens=1"
        body, receipt, error = await run(setup, setup.call_of(client, client, pace))
        assert error is None
        assert receipt.outcome is Outcome.FUNDS_EXHAUSTED
        assert shown_in(body) == paid(receipt)


async def test_a_stream_cancelled_in_its_held_back_ending_ends_once(tmp_path: Path) -> None:
    """The usage has come and waits for `[DONE]`, which does not come."""

    async def script(request: Request) -> None:
        request.answer()
        await request.send_all(word(" one"))
        last = {"index": 0, "delta": {"content": " two"}, "finish_reason": "stop"}
        await request.send_all(event(id="c1", choices=[last], usage=usage(7, 2)))

    async with open_scripted(tmp_path, script, storage="progress_interval_s = 60") as setup:
        call, body = setup.call(stream_options={"include_usage": True}), b""
        async with setup.gateway.open_exchange(call) as exchange:
            body += await anext(exchange)
            await settled(lambda: received_in(exchange) == 2)
            exchange.cancel()
            body += await drain(exchange)
        assert content(body) == " one two"
        assert [e["choices"][0]["finish_reason"] for e in events(body)] == [None, "stop"]
        assert body.endswith(DONE)
        assert shown_in(body) == paid(exchange.receipt)
        assert exchange.receipt.usage["input_tokens"] == 7


async def test_openais_sdk_reads_it(tmp_path: Path) -> None:
    async with open_served(tmp_path) as served:

        def use() -> list[Any]:
            messages: Any = [{"role": "user", "content": "#sim tokens=12"}]
            with openai.OpenAI(base_url=served.url, api_key=served.setup.key) as client:
                chat = client.chat.completions
                whole = chat.create(model="sim-openai", messages=messages)
                chunks = list(
                    chat.create(
                        model="sim-openai",
                        messages=messages,
                        stream=True,
                        stream_options={"include_usage": True},
                    )
                )
                with client.responses.stream(model="sim-responses", input="#sim tokens=12") as it:
                    response = it.get_final_response()
            return [whole.usage, chunks[-1].usage, response.usage]

        for usage in await trio.to_thread.run_sync(use):
            assert usage.cost > 0
            assert usage.credits == pytest.approx(1_000 * usage.cost)
            assert usage.model_extra.keys() >= {"cost", "credits"}
        await check_spent(served, 3)


async def test_anthropics_sdk_reads_it(tmp_path: Path) -> None:
    async with open_served(tmp_path) as served:

        def use() -> list[Any]:
            asked: Any = {
                "model": "sim-anthropic",
                "max_tokens": 100,
                "messages": [{"role": "user", "content": "#sim tokens=12"}],
            }
            with anthropic.Anthropic(base_url=served.origin, api_key=served.setup.key) as client:
                whole = client.messages.create(**asked)
                with client.messages.stream(**asked) as stream:
                    deltas = [event for event in stream if event.type == "message_delta"]
                    final = stream.get_final_message()
            assert final.stop_reason == "end_turn"
            assert final.usage.output_tokens == 12
            return [whole.usage, deltas[-1].usage]

        for usage in await trio.to_thread.run_sync(use):
            assert usage.cost > 0
            assert usage.credits == pytest.approx(1_000 * usage.cost)
        await check_spent(served, 2)


async def test_googles_sdk_takes_no_offence(tmp_path: Path) -> None:
    """It drops the members that it does not know."""
    async with open_served(tmp_path) as served:

        def use() -> list[Any]:
            options = HttpOptions(base_url=served.origin)
            asked: Any = {"model": "sim-gemini", "contents": "#sim tokens=12"}
            with genai.Client(api_key=served.setup.key, http_options=options) as client:
                whole = client.models.generate_content(**asked)
                chunks = list(client.models.generate_content_stream(**asked))
            return [whole.usage_metadata, chunks[-1].usage_metadata]

        for usage in await trio.to_thread.run_sync(use):
            assert usage.candidates_token_count == 12
            assert not hasattr(usage, "cost")
        await check_spent(served, 2)


async def check_spent(served: Served, requests: int) -> None:
    """So many requests were charged for."""
    assert len(served.setup.sim.truth.records()) == requests
