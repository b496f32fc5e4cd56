"""Conversations of very many pieces: what they come to. Quadratic work on them would take minutes,
in which no other client is served."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engine.conversation import Reasoning, Text, ToolCall, ToolResult, Turn
from engine.events import Call, Protocol
from engine.protocols.registry import codec_of

MANY = 30_000


def turns(protocol: Protocol, **document: Any) -> tuple[Turn, ...]:
    codec = codec_of(protocol)
    in_path = "m" if protocol == "gemini" else None
    body = orjson.dumps(({} if in_path else {"model": "m"}) | document)
    call = Call(body=body, key=None, protocol=protocol, model=in_path, stream=False)
    return codec.decode_request(codec.parse_request(call)).turns


def test_messages_of_one_side_are_one_turn() -> None:
    for role in ("user", "assistant"):
        [turn] = turns("openai_chat", messages=[{"role": role, "content": "x"}] * MANY)
        assert turn.parts == (Text("x"),) * MANY
        message = {"role": role, "content": "x"}
        [turn] = turns("anthropic", messages=[message] * MANY, max_tokens=9)
        assert turn.parts == (Text("x"),) * MANY


def test_contents_of_one_side_are_one_turn() -> None:
    [turn] = turns("gemini", contents=[{"role": "user", "parts": [{"text": "x"}]}] * MANY)
    assert turn.parts == (Text("x"),) * MANY


@pytest.mark.parametrize("thought", [False, True])
def test_pieces_of_one_text_are_joined(thought: bool) -> None:
    piece: dict[str, Any] = {"text": "x" * 500} | ({"thought": True} if thought else {})
    parts = [*[piece] * MANY, piece | {"thoughtSignature": "AAAA"}, piece]
    [turn] = turns("gemini", contents=[{"role": "model", "parts": parts}])
    texts = [part.text for part in turn.parts if isinstance(part, Text | Reasoning)]
    signed = MANY + thought  # a signature ends a thought; a text that has one stands alone
    lengths = [500 * signed, 500] if thought else [500 * MANY, 500, 500]
    assert [len(text) for text in texts] == lengths


@pytest.mark.parametrize("by", ["id", "name"])
def test_results_find_their_calls_in_any_order(by: str) -> None:
    numbers = range(MANY)

    def told(number: int) -> dict[str, Any]:
        return {"name": f"f{number}"} | ({"id": f"id{number}"} if by == "id" else {})

    calls = [{"functionCall": told(number)} for number in numbers]
    results = [{"functionResponse": told(n) | {"response": {}}} for n in reversed(numbers)]
    made, given = turns(
        "gemini", contents=[{"role": "model", "parts": calls}, {"role": "user", "parts": results}]
    )
    ids = [part.id for part in made.parts if isinstance(part, ToolCall)]
    answered = [part.call_id for part in given.parts if isinstance(part, ToolResult)]
    assert len(set(ids)) == MANY
    assert answered == ids[::-1]


def test_results_without_ids_answer_the_oldest_call_of_their_function() -> None:
    names = ["f", "g", "f", "g", "f"]
    calls = [{"functionCall": {"name": name, "id": f"{n}"}} for n, name in enumerate(names)]
    asked = ["2", None, None, None, None]
    results: list[dict[str, Any]] = [
        {"functionResponse": {"name": name, "id": call_id, "response": {}}}
        for name, call_id in zip(["f", "f", "g", "f", "g"], asked, strict=True)
    ]
    contents = [{"role": "model", "parts": calls}, {"role": "user", "parts": results}]
    [_, given] = turns("gemini", contents=contents)
    answered = [part.call_id for part in given.parts if isinstance(part, ToolResult)]
    assert answered == ["2", "0", "1", "4", "3"]
