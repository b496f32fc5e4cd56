"""Two turns with a tool and with thinking, each client's answer sent back as it came."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.gateways import MODELS, PROTOCOLS
from tests.served import Served, open_served

QUESTION = "#sim tools=look_up reasoning=5 tokens=4\nWhat is in the box?"
SCHEMA = {
    "type": "object",
    "properties": {"place": {"type": "string"}},
    "required": ["place"],
    "additionalProperties": False,
}


async def post(served: Served, path: str, document: dict[str, Any]) -> tuple[Any, str]:
    """The answer's document, and what was dropped."""
    async with served.http() as client:
        answer = await client.post(f"{served.origin}{path}", json=document)
    assert answer.status_code == 200, answer.text
    return answer.json(), answer.headers.get("x-parshall-dropped", "")


@pytest.mark.parametrize("provider", PROTOCOLS)
async def test_an_openai_client(tmp_path: Path, provider: str) -> None:
    tool = {"type": "function", "function": {"name": "look_up", "parameters": SCHEMA}}
    messages: list[dict[str, Any]] = [{"role": "user", "content": QUESTION}]
    request = {
        "model": MODELS[provider],
        "messages": messages,
        "tools": [tool],
        "reasoning_effort": "high",
    }
    async with open_served(tmp_path) as served:
        first, _ = await post(served, "/v1/chat/completions", request)
        [choice] = first["choices"]
        assert choice["finish_reason"] == "tool_calls"
        [call] = choice["message"]["tool_calls"]
        result = {"role": "tool", "tool_call_id": call["id"], "content": "a cat"}
        messages += [choice["message"], result]
        second, dropped = await post(served, "/v1/chat/completions", request)
        assert second["choices"][0]["finish_reason"] == "stop"
        assert second["choices"][0]["message"]["content"]
        record = served.setup.sim.truth.records()[-1]
        if provider == "gemini":
            assert record.signatures == "verified"
        if provider == "anthropic":  # which wants its signed thinking back, or none at all
            assert "reasoning_effort" in dropped


@pytest.mark.parametrize("provider", PROTOCOLS)
async def test_an_anthropic_client(tmp_path: Path, provider: str) -> None:
    messages: list[dict[str, Any]] = [{"role": "user", "content": QUESTION}]
    request = {
        "model": MODELS[provider],
        "max_tokens": 4_096,
        "messages": messages,
        "tools": [{"name": "look_up", "input_schema": SCHEMA}],
        "thinking": {"type": "enabled", "budget_tokens": 1_024},
    }
    async with open_served(tmp_path) as served:
        first, _ = await post(served, "/v1/messages", request)
        assert first["stop_reason"] == "tool_use"
        [call] = [block for block in first["content"] if block["type"] == "tool_use"]
        result = {"type": "tool_result", "tool_use_id": call["id"], "content": "a cat"}
        messages += [
            {"role": "assistant", "content": first["content"]},
            {"role": "user", "content": [result]},
        ]
        second, _ = await post(served, "/v1/messages", request)
        assert second["stop_reason"] == "end_turn"
        record = served.setup.sim.truth.records()[-1]
        if provider != "openai_chat":
            assert record.signatures == "verified"


@pytest.mark.parametrize("provider", PROTOCOLS)
async def test_a_gemini_client(tmp_path: Path, provider: str) -> None:
    contents: list[dict[str, Any]] = [{"role": "user", "parts": [{"text": QUESTION}]}]
    declared = {"name": "look_up", "parametersJsonSchema": SCHEMA}
    request = {
        "contents": contents,
        "tools": [{"functionDeclarations": [declared]}],
        "generationConfig": {"thinkingConfig": {"includeThoughts": True}},
    }
    path = f"/v1beta/models/{MODELS[provider]}:generateContent"
    async with open_served(tmp_path) as served:
        first, _ = await post(served, path, request)
        content = first["candidates"][0]["content"]
        [call] = [part["functionCall"] for part in content["parts"] if "functionCall" in part]
        response: dict[str, Any] = {"name": call["name"], "response": {"result": "a cat"}}
        if "id" in call:
            response["id"] = call["id"]
        contents += [content, {"role": "user", "parts": [{"functionResponse": response}]}]
        second, _ = await post(served, path, request)
        parts = second["candidates"][0]["content"]["parts"]
        assert "".join(part["text"] for part in parts if not part.get("thought"))
        if provider == "gemini":
            assert served.setup.sim.truth.records()[-1].signatures == "verified"
