"""The text of a prompt, and what it costs beside its text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from engine.protocols.codec import ClientRequest
from engine.protocols.fields import dict_of, dicts

# What an item costs beside its text, as a message of chat completions does by OpenAI's cookbook
# ('How to count tokens'): its role and three delimiters; and the primer of the answer.
_TOKENS_PER_ITEM = 4
_TOKENS_OF_PRIMER = 3

_ITEM_TEXTS = ("name", "arguments", "input", "output", "code", "content")
_PARTS = ("content", "summary", "output")
_PART_TEXTS = ("text", "refusal")


def prompt_texts(request: ClientRequest) -> Iterator[str]:
    """All text of the prompt that becomes input tokens: instructions, items, tools, the schema of
    the answer."""
    document = request.document
    if isinstance(instructions := document.get("instructions"), str):
        yield instructions
    items = document["input"]
    if isinstance(items, str):
        yield items
    for item in dicts(items):
        for name in _ITEM_TEXTS:
            if isinstance(text := item.get(name), str):
                yield text
        for name in _PARTS:
            for part in dicts(item.get(name)):
                yield from (text for n in _PART_TEXTS if isinstance(text := part.get(n), str))
    for tool in dicts(document.get("tools")):
        yield from _json_text({name: tool[name] for name in tool if name != "type"})
    yield from _json_text(dict_of(dict_of(document.get("text")).get("format")).get("schema"))


def prompt_overhead_tokens(request: ClientRequest) -> int:
    """Input tokens beside the text: delimiters an item and the primer of the answer."""
    items = request.document["input"]
    count = len(items) if isinstance(items, list) else 1
    count += 1 if request.document.get("instructions") else 0
    return count * _TOKENS_PER_ITEM + _TOKENS_OF_PRIMER


def _json_text(value: Any) -> Iterator[str]:
    if value:
        try:
            yield orjson.dumps(value).decode()
        except orjson.JSONEncodeError:
            return  # nested too deeply: it is refused when it is to be sent
