"""Receipts over HTTP: a stream that is ended by its receipt, in each protocol."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
import trio

from engine.events import Protocol
from tests.answers import sdk
from tests.gateways import MODELS, PROTOCOLS, charge, open_setup, settled
from tests.served import PATHS, Served, open_raw_of, open_served

CUT = "length"
"""How `tests.answers` calls the reason of an answer at its limit."""
WAYS = [(protocol, protocol) for protocol in PROTOCOLS] + [
    ("openai_chat", "anthropic"),
    ("openai_responses", "gemini"),
    ("anthropic", "openai_chat"),
    ("gemini", "openai_responses"),
]


async def cancel(served: Served, request_id: str) -> httpx.Response:
    async with served.http() as client:
        return await client.post(f"/receipts/{request_id}/cancel")


@pytest.mark.parametrize(("client", "provider"), WAYS)
async def test_the_sdk_reads_a_valid_ending_with_usage(
    tmp_path: Path, client: Protocol, provider: str
) -> None:
    async with open_served(tmp_path) as served:
        call = served.setup.call_of(client, provider, "tokens=100000 tokens_per_second=500")
        path = PATHS[client].format(model=MODELS[provider])
        async with (
            served.http() as http,
            http.stream("POST", f"{served.origin}{path}", content=call.body) as response,
        ):
            chunks, body = response.aiter_raw(), b""
            while body.count(b"data: ") < 12:
                body += await anext(chunks)
            request_id = response.headers["x-request-id"]
            answer = await cancel(served, request_id)
            receipt = answer.json()
            with trio.fail_after(30):
                async for chunk in chunks:
                    body += chunk
        assert answer.status_code == 200
        assert (receipt["outcome"], receipt["state"]) == ("client_left", "settled")
        assert receipt["flags"] == ["cancelled"]
        truth = served.setup.sim.truth.record(request_id)
        assert truth is not None
        await settled(lambda: truth.ended is not None)
        assert truth.ended == "reset"
        billed = receipt["usage"]["output_tokens"]
        assert receipt["delivered_output_tokens"] <= billed == receipt["received_output_tokens"]
        assert 0 < billed <= truth.tokens_generated < 100_000
        assert receipt["price"]["nanodollars"] == charge(receipt["usage"]["input_tokens"], billed)
        reading = sdk.read(client, body, stream=True)
        assert not reading.failed
        assert reading.choices[0].finish == CUT
        assert truth.text.startswith(reading.choices[0].text)
        assert reading.usage is not None
        assert reading.usage.output_tokens == billed
        again = (await cancel(served, request_id)).json()
        assert again["price"] == receipt["price"]


async def test_a_client_that_does_not_read_cannot_hold_up_the_end(tmp_path: Path) -> None:
    async with open_served(tmp_path) as served:
        pace = "tokens=1000000 tokens_per_second=1000000"
        async with open_raw_of(served, "openai_chat", "openai_chat", pace) as stream:
            await stream.read_head()
            request_id = stream.headers["x-request-id"]
            truth = served.setup.sim.truth.record(request_id)
            assert truth is not None
            await settled(lambda: truth.tokens_generated > 1_000)
            with trio.fail_after(30):
                receipt = (await cancel(served, request_id)).json()
            assert (receipt["state"], receipt["flags"]) == ("settled", ["cancelled"])
            await settled(lambda: truth.ended == "reset")


async def test_before_anything_was_generated_it_costs_nothing(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        principal = setup.gateway.authenticate(setup.key)
        async with trio.open_nursery() as nursery:

            async def take() -> None:
                call = setup.call("head_ms=60000 tokens=5")
                async with setup.gateway.open_exchange(call) as exchange:
                    ids.append(exchange.receipt.request_id)
                    body = b"".join([chunk async for chunk in exchange])
                assert body.endswith(b"data: [DONE]\n\n")
                assert exchange.receipt.price_nanodollars == 0

            ids: list[str] = []
            nursery.start_soon(take)
            await settled(lambda: any(setup.sim.truth.records()))
            receipt = await setup.gateway.cancel(principal, ids[0])
            assert receipt["price"]["nanodollars"] == 0


async def test_an_answer_in_one_piece_is_refused(tmp_path: Path) -> None:
    async with open_served(tmp_path) as served:
        call = served.setup.call("tokens=1000 tokens_per_second=10", stream=False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_ask, served, call.body)
            await settled(lambda: any(served.setup.sim.truth.records()))
            (truth,) = served.setup.sim.truth.records()
            answer = await cancel(served, truth.request_id)
            nursery.cancel_scope.cancel()
        await settled(lambda: served.setup.gateway.open_exchanges == 0)
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "not_a_stream")


async def _ask(served: Served, body: bytes) -> None:
    async with served.http() as client:
        await client.post("/chat/completions", content=body)


async def test_nobody_ends_a_stream_of_another_account(tmp_path: Path) -> None:
    async with open_served(tmp_path) as served:
        gateway = served.setup.gateway
        other = await gateway.ledger.create_account("another")
        _, key = await gateway.create_key(other.account_id, "another")
        pace = "tokens=100000 tokens_per_second=200"
        async with open_raw_of(served, "openai_chat", "openai_chat", pace) as stream:
            await stream.read_head()
            request_id = stream.headers["x-request-id"]
            async with httpx.AsyncClient(base_url=served.url, verify=False, timeout=30) as client:
                for headers, status in (
                    ({"authorization": f"Bearer {key}"}, 404),
                    ({"authorization": "Bearer nobody"}, 401),
                    ({}, 401),
                ):
                    url = f"/receipts/{request_id}/cancel"
                    answer = await client.post(url, headers=headers)
                    assert answer.status_code == status
            assert gateway.open_exchanges == 1
            assert await stream.read_events(50) >= 50
        assert (await cancel(served, "req_unknown")).status_code == 404
