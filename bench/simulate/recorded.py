"""What a recorded answer says, whatever its protocol: the usage it reports last, and its text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

Usage = dict[str, Any]


def read_answer(body: bytes, *, stream: bool) -> tuple[Usage | None, str]:
    """The usage and the text of the first choice; reasoning is not text.

    Anthropic's usage is that of the start, overridden field by field by that of the end.
    """
    usage: Usage | None = None
    pieces: list[str] = []
    for answer in _documents(body, stream=stream):
        found = _usage(answer)
        if found is not None:
            usage = (usage or {}) | found if answer.get("type") == "message_delta" else found
        pieces += _texts(answer)
    return usage, "".join(pieces)


def output_tokens(usage: Usage | None) -> int:
    """The tokens that were generated, reasoning included."""
    usage = usage or {}
    names = ("completion_tokens", "output_tokens", "candidatesTokenCount", "thoughtsTokenCount")
    return sum(usage[name] for name in names if isinstance(usage.get(name), int))


def _documents(body: bytes, *, stream: bool) -> Iterator[dict[str, Any]]:
    if stream and not body.lstrip().startswith((b"[", b"{")):
        lines = body.replace(b"\r\n", b"\n").split(b"\n")
        bodies = [line[5:] for line in lines if line.startswith(b"data:")]
    else:
        bodies = [body]
    for text in bodies:
        try:
            document = orjson.loads(text)
        except orjson.JSONDecodeError:
            continue
        for one in document if isinstance(document, list) else [document]:
            if isinstance(one, dict):
                yield one


def _usage(answer: dict[str, Any]) -> Usage | None:
    message = answer.get("message") if answer.get("type") == "message_start" else None
    for holder in (answer, message, answer.get("response")):
        if isinstance(holder, dict):
            usage = holder.get("usage") or holder.get("usageMetadata")
            if isinstance(usage, dict):
                return usage
    return None


def _texts(answer: dict[str, Any]) -> Iterator[str]:
    match answer:
        case {"choices": list() as choices}:  # OpenAI
            for choice in choices:
                message = choice.get("delta") or choice.get("message") or {}
                content = message.get("content", choice.get("text"))
                if choice.get("index", 0) == 0 and isinstance(content, str):
                    yield content
        case {"type": "response.output_text.delta", "delta": str() as text}:
            yield text
        case {"object": "response", "output": list() as items}:
            parts = (part for item in items for part in item.get("content") or ())
            yield from (part["text"] for part in parts if part.get("type") == "output_text")
        case {"candidates": [{"content": {"parts": list() as parts}}, *_]}:  # Gemini
            yield from (p["text"] for p in parts if "text" in p and not p.get("thought"))
        case {"delta": {"type": "text_delta", "text": str() as text}}:  # Anthropic
            yield text
        case {"type": "message", "content": list() as blocks}:
            yield from (block["text"] for block in blocks if block.get("type") == "text")
