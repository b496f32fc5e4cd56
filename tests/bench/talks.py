"""One exchange with each protocol's API, raw: the same question in each body, over a socket."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from bench.simulate import Simulator
from tests.bench.raw import Received, converse, post

APIS = ("openai", "openai-responses", "openai-completions", "anthropic", "gemini")
WEATHER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer", "minimum": 1, "maximum": 7},
        "unit": {"type": "string", "enum": ["c", "f"]},
    },
    "required": ["city", "days", "unit"],
}
NOW_SCHEMA: dict[str, Any] = {"type": "object", "properties": {}}


@dataclass(frozen=True)
class Talk:
    """A request of one API."""

    path: str
    body: dict[str, Any]
    headers: str = ""

    async def send(self, simulator: Simulator) -> Received:
        more = f"connection: close\r\n{self.headers}"
        return await converse(simulator.port, post(self.body, path=self.path, more=more))


def ask(
    api: str,
    directives: str = "",
    *,
    stream: bool = True,
    as_array: bool = False,
    think: bool = False,
    limit: int = 4_000,
    tools: bool = False,
    **more: Any,
) -> Talk:
    """The question in the words of an API; `more` goes into the body."""
    text = f"#sim {directives}\nTell me about rivers."
    schemas = {"get_weather": WEATHER_SCHEMA, "now": NOW_SCHEMA}
    body: dict[str, Any]
    match api:
        case "openai":
            body = {
                "model": "sim-openai",
                "messages": [{"role": "user", "content": text}],
                "max_completion_tokens": limit,
                "stream": stream,
            }
            if stream:
                body["stream_options"] = {"include_usage": True}
            if think:
                body["reasoning_effort"] = "low"
            if tools:
                body["tools"] = [
                    {"type": "function", "function": {"name": name, "parameters": schema}}
                    for name, schema in schemas.items()
                ]
            return Talk("/v1/chat/completions", body | more)
        case "openai-completions":
            body = {"model": "sim-openai", "prompt": text, "max_tokens": limit, "stream": stream}
            if stream:
                body["stream_options"] = {"include_usage": True}
            return Talk("/v1/completions", body | more)
        case "openai-responses":
            body = {
                "model": "sim-openai",
                "input": text,
                "max_output_tokens": limit,
                "stream": stream,
            }
            if think:
                body["reasoning"] = {"effort": "low", "summary": "auto"}
            if tools:
                body["tools"] = [
                    {"type": "function", "name": name, "parameters": schema}
                    for name, schema in schemas.items()
                ]
            return Talk("/v1/responses", body | more)
        case "anthropic":
            body = {
                "model": "sim-anthropic",
                "messages": [{"role": "user", "content": text}],
                "max_tokens": limit,
                "stream": stream,
            }
            if think:
                body["thinking"] = {"type": "enabled", "budget_tokens": 1_024}
            if tools:
                body["tools"] = [
                    {"name": name, "input_schema": schema} for name, schema in schemas.items()
                ]
            return Talk("/v1/messages", body | more, "anthropic-version: 2023-06-01\r\n")
        case _:
            method = "streamGenerateContent" if stream else "generateContent"
            query = "?alt=sse" if stream and not as_array else ""
            body = {
                "contents": [{"role": "user", "parts": [{"text": text}]}],
                "generationConfig": {"maxOutputTokens": limit},
            }
            if think:
                body["generationConfig"]["thinkingConfig"] = {"includeThoughts": True}
            if tools:
                declared = [
                    {"name": name, "parametersJsonSchema": schema}
                    for name, schema in schemas.items()
                ]
                body["tools"] = [{"functionDeclarations": declared}]
            return Talk(f"/v1beta/models/sim-gemini:{method}{query}", body | more)


def named_events(body: bytes) -> list[dict[str, Any]]:
    """The events of a messages or responses stream, whose names are those of their data."""
    blocks = body.decode().split("\n\n")
    assert blocks.pop() == "", "an event is incomplete"
    events = []
    for block in blocks:
        name, data = block.split("\n")
        event: dict[str, Any] = orjson.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        events.append(event)
    return events


def gemini_chunks(body: bytes) -> list[dict[str, Any]]:
    """The chunks of a stream, of either framing; the last may be a bare error."""
    if body.startswith(b"["):
        parsed: list[dict[str, Any]] = orjson.loads(body)
        return parsed
    blocks = body.decode().split("\r\n\r\n")
    last = blocks.pop()
    assert all(block.startswith("data: ") for block in blocks)
    chunks = [orjson.loads(block[6:]) for block in blocks]
    return [*chunks, orjson.loads(last)] if last else chunks


def openai_events(body: bytes) -> list[dict[str, Any]]:
    """The events of a chat or completions stream, without `[DONE]`."""
    blocks = body.decode().split("\n\n")
    assert blocks.pop() == "", "an event is incomplete"
    assert all(block.startswith("data: ") for block in blocks)
    return [orjson.loads(block[6:]) for block in blocks if block != "data: [DONE]"]
