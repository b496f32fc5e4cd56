"""What an agent knows is in its prompt, and what it takes of that is cited in its answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from engine.events import Call, Protocol
from tests.engine.agents.test_knowledge import FOXES, TIDES, store
from tests.engine.upstream.peer import Request
from tests.gateways import PROTOCOLS, Setup
from tests.scripted import DONE, open_scripted, usage, usage_only, word

ANSWER = ("At ", "night [", "1]", ".")
SOURCE = "foxes.txt"


def answering(request: Request) -> Any:
    """A model that takes what it says from the first source."""
    asked = orjson.loads(request.body)
    assert asked["messages"][0]["role"] == "system"
    system = asked["messages"][0]["content"]
    assert system.startswith("Say what you know.\n\n")
    assert "[1] foxes.txt, file-" in system
    assert "Foxes hunt at night" in system
    assert "Spring tides" not in system

    async def answer() -> None:
        if asked.get("stream"):
            request.answer()
            body = b"".join(map(word, ANSWER))
            end = word("").replace(b'"finish_reason":null', b'"finish_reason":"stop"')
            await request.send_all(body + end + usage_only(50, 4) + DONE, ended=True)
            return
        message = {"role": "assistant", "content": "".join(ANSWER)}
        document = {
            "id": "c1",
            "object": "chat.completion",
            "model": "m",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": usage(50, 4),
        }
        request.answer()
        await request.send_all(orjson.dumps(document), ended=True)

    return answer()


def call_of(setup: Setup, client: Protocol, *, stream: bool) -> Call:
    """A question that the first file answers."""
    question, model = "When do foxes hunt?", "agent:keeper"
    messages = [{"role": "user", "content": question}]
    document: dict[str, Any] = {"model": model, "stream": stream, "messages": messages}
    match client:
        case "openai_responses":
            document = {"model": model, "stream": stream, "input": question}
        case "anthropic":
            document |= {"max_tokens": 100}
        case "gemini":
            document = {"contents": [{"role": "user", "parts": [{"text": question}]}]}
    return Call(
        body=orjson.dumps(document),
        key=setup.key,
        protocol=client,
        model=model if client == "gemini" else None,
        stream=stream if client == "gemini" else None,
        origin="http://gw.example",
    )


CITED: dict[str, tuple[str, ...]] = {
    "openai_chat": (
        '"type":"url_citation"',
        '"start_index":9',
        '"end_index":12',
        "/content#passage=1",
    ),
    "openai_responses": ('"type":"file_citation"', '"filename":"foxes.txt"', '"index":9'),
    "anthropic": ('"type":"char_location"', '"document_title":"foxes.txt"', '"document_index":0'),
    "gemini": ('"retrievedContext"', "foxes.txt, passage 1", '"startIndex":9', '"endIndex":12'),
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("client", PROTOCOLS)
async def test_a_source_is_cited_as_each_protocol_does(
    tmp_path: Path, client: Protocol, *, stream: bool
) -> None:
    async with open_scripted(tmp_path, answering) as setup:
        gateway, account_id = setup.gateway, setup.account_id
        ids = [
            await store(gateway, account_id, name, text.encode())
            for name, text in ((SOURCE, FOXES), ("tides.txt", TIDES))
        ]
        document = {
            "name": "keeper",
            "model": "sim-openai",
            "instructions": "Say what you know.",
            "knowledge": {"file_ids": ids},
        }
        await gateway.agents.create(account_id, document, lambda _: None)
        async with gateway.open_exchange(call_of(setup, client, stream=stream)) as exchange:
            body = b"".join([piece async for piece in exchange]).decode()

    compact = body.replace('": ', '":')
    assert all(mark in compact for mark in CITED[client]), body
    assert exchange.receipt.outcome == "completed"
