"""Counting a prompt's tokens: by the provider where it speaks the client's protocol, else here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import orjson
import pytest
import trio

from engine import Call
from engine.errors import ModelNotFoundError, UnavailableError
from engine.events import Protocol
from tests.engine.upstream.peer import Request
from tests.fleet import model, open_fleet
from tests.gateways import open_setup, settled
from tests.scripted import open_scripted


def to_count(call: Call) -> Call:
    """The same prompt, to be counted; the protocols allow nothing of an answer beside it."""
    document = orjson.loads(call.body)
    for name in ("stream", "max_tokens"):
        document.pop(name, None)
    return replace(call, operation="count_tokens", body=orjson.dumps(document))


@pytest.mark.parametrize("client", ["anthropic", "gemini"])
@pytest.mark.parametrize("provider", ["openai_chat", "anthropic", "gemini"])
async def test_a_count_is_near_what_the_provider_bills(
    tmp_path: Path, client: Protocol, provider: str
) -> None:
    async with open_setup(tmp_path) as setup:
        call = setup.call_of(client, provider, "tokens=1")
        async with setup.gateway.open_exchange(replace(call, request_id="req_x")) as exchange:
            async for _ in exchange:
                pass
        head, body = await setup.gateway.count_tokens(to_count(call))
        answer = orjson.loads(body)
        counted = answer["input_tokens" if client == "anthropic" else "totalTokens"]
        billed = exchange.receipt.usage["input_tokens"]
        assert abs(counted - billed) <= 12, "the framing of a message is each protocol's own"
        assert ((b"x-parshall-counted", b"estimate") in head.headers) == (client != provider)


async def test_no_more_are_counted_at_once_than_may(tmp_path: Path) -> None:
    def never_answer(_: Request) -> None:
        pass

    async with open_scripted(tmp_path, never_answer, server="exchanges_max = 1") as setup:
        call = to_count(setup.call_of("anthropic", "anthropic"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(setup.gateway.count_tokens, call)
            await settled(lambda: setup.gateway.statistics()["counts_open"] == 1)
            with pytest.raises(UnavailableError):
                await setup.gateway.count_tokens(call)
            nursery.cancel_scope.cancel()
        assert setup.gateway.statistics()["counts_open"] == 0


SEVERAL = "".join(
    (
        model("first-is-down", "dead-anthropic", "sim0-anthropic"),
        model("none-counts", "dead-anthropic", "sim0"),
        model("translated", "sim0"),
    )
)


@pytest.mark.parametrize(
    ("name", "estimated"),
    [("first-is-down", False), ("none-counts", True), ("translated", True)],
)
async def test_the_next_one_counts_where_one_fails_and_else_it_is_counted_here(
    tmp_path: Path, name: str, estimated: bool
) -> None:
    async with open_fleet(tmp_path, 1, models=SEVERAL, routing="seed = 1") as fleet:
        call = to_count(fleet.call(name, "tokens=1", client="anthropic"))
        for _ in range(3):  # by weight, now one comes first and now the other
            head, body = await fleet.setup.gateway.count_tokens(call)
            assert 5 < orjson.loads(body)["input_tokens"] < 40
            assert ((b"x-parshall-counted", b"estimate") in head.headers) == estimated


async def test_of_an_agent_all_that_its_model_is_sent_is_counted(tmp_path: Path) -> None:
    instructions = "Answer in verse, whatever you are asked. " * 20
    async with open_setup(tmp_path) as setup:
        gateway, told = setup.gateway, setup.call_of("anthropic", "anthropic")
        document = orjson.loads(to_count(told).body)
        agent = {"name": "poet", "model": document["model"], "instructions": instructions}
        await gateway.agents.create(setup.account_id, agent, lambda _: None)
        counts = []
        for name in (document["model"], "agent:poet"):
            body = orjson.dumps({**document, "model": name})
            head, answer = await gateway.count_tokens(replace(to_count(told), body=body))
            counts.append(orjson.loads(answer)["input_tokens"])
        assert (b"x-parshall-counted", b"estimate") in head.headers
        assert 150 < counts[1] - counts[0] < 250
        unknown = orjson.dumps({**document, "model": "agent:nobody"})
        with pytest.raises(ModelNotFoundError):
            await gateway.count_tokens(replace(to_count(told), body=unknown))
