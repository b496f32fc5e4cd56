"""The text of a prompt, and what it costs beside its text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from engine.protocols.codec import ClientRequest
from engine.protocols.fields import dict_of, dicts

# What a message costs beside its text, by OpenAI's cookbook ('How to count tokens'): its role and
# three delimiters, one more for a name, and the primer of the answer.
TOKENS_PER_MESSAGE = 4
TOKENS_PER_NAME = 1
TOKENS_OF_PRIMER = 3

_MESSAGE_TEXTS = ("name", "refusal", "reasoning_content", "reasoning")


def prompt_texts(request: ClientRequest) -> Iterator[str]:
    """All text of the prompt that becomes input tokens: contents, names, tool calls, tools, the
    schema of the answer."""
    document = request.document
    for message in document["messages"]:
        yield from _content_texts(message.get("content"))
        for name in _MESSAGE_TEXTS:
            if isinstance(text := message.get(name), str):
                yield text
        for call in dicts(message.get("tool_calls")):
            yield from _function_texts(call.get("function"))
            yield from _function_texts(call.get("custom"))
        yield from _function_texts(message.get("function_call"))
    for tool in dicts(document.get("tools")):
        yield from _schema_text(tool.get("function"))
        yield from _schema_text(tool.get("custom"))
    for function in dicts(document.get("functions")):
        yield from _schema_text(function)
    yield from _schema_text(dict_of(document.get("response_format")).get("json_schema"))
    yield from _content_texts(dict_of(document.get("prediction")).get("content"))


def prompt_overhead_tokens(request: ClientRequest) -> int:
    """Input tokens beside the text: delimiters a message and the primer of the answer."""
    messages = request.document["messages"]
    named = sum(1 for message in messages if message.get("name"))
    return len(messages) * TOKENS_PER_MESSAGE + named * TOKENS_PER_NAME + TOKENS_OF_PRIMER


def _content_texts(content: object) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    for part in dicts(content):
        for name in ("text", "refusal"):
            if isinstance(text := part.get(name), str):
                yield text


def _function_texts(function: object) -> Iterator[str]:
    if isinstance(function, dict):
        for name in ("name", "arguments", "input"):
            if isinstance(text := function.get(name), str):
                yield text


def _schema_text(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        try:
            yield orjson.dumps(schema).decode()
        except orjson.JSONEncodeError:
            return  # nested too deeply: it is refused when it is to be sent
