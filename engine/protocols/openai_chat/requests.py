"""Requests: what is validated, what is sent on, and the text of a prompt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from engine.errors import InvalidRequestError
from engine.protocols.fields import dicts

ROLES = frozenset({"developer", "system", "user", "assistant", "tool", "function"})

# What a message costs beside its text, by OpenAI's cookbook ('How to count tokens'): its role and
# three delimiters, one more for a name, and the primer of the answer.
TOKENS_PER_MESSAGE = 4
TOKENS_PER_NAME = 1
TOKENS_OF_PRIMER = 3

_CHOICES_MAX = 128

# What one choice may generate; the older name is still what many providers know.
_LIMITS = ("max_completion_tokens", "max_tokens")


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A validated request. `document` is the parsed form, the only one that is sent on."""

    model: str
    stream: bool
    include_usage: bool
    """The client asked for usage in its stream."""
    max_output_tokens: int | None
    choices: int
    document: dict[str, Any] = field(repr=False)


def parse_request(body: bytes) -> ChatRequest:
    """Parse and validate what the gateway relies on; the rest is the provider's to judge.

    Raises:
        InvalidRequestError: not JSON, or a field the gateway needs is missing or of a wrong type.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequestError(
            "We could not parse the JSON body of your request "
            f"({error.msg} at character {error.pos})."
        ) from None
    if not isinstance(document, dict):
        raise InvalidRequestError("The body of your request must be a JSON object.")
    model = document.get("model")
    if not isinstance(model, str) or not model:
        raise InvalidRequestError("You must provide a model parameter.", param="model")
    _check_messages(document.get("messages"))
    options = document.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise InvalidRequestError("'stream_options' must be an object.", param="stream_options")
    return ChatRequest(
        model=model,
        stream=_flag(document, "stream"),
        include_usage=_flag(options or {}, "include_usage"),
        max_output_tokens=_max_output_tokens(document),
        choices=_whole(document, "n", 1, _CHOICES_MAX) or 1,
        document=document,
    )


def _check_messages(messages: object) -> None:
    if not isinstance(messages, list) or not messages:
        raise InvalidRequestError(
            "'messages' must be an array with at least one message.", param="messages"
        )
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            raise InvalidRequestError(
                f"'messages[{index}]' must be an object whose 'role' is one of "
                f"{', '.join(sorted(ROLES))}.",
                param=f"messages[{index}].role",
            )


def _flag(document: dict[str, Any], name: str) -> bool:
    value = document.get(name)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise InvalidRequestError(f"'{name}' must be true or false.", param=name)


def _whole(document: dict[str, Any], name: str, least: int, most: int) -> int | None:
    value = document.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidRequestError(
            f"'{name}' must be a whole number from {least} to {most}.", param=name
        )
    return value


def _max_output_tokens(document: dict[str, Any]) -> int | None:
    limits = [
        value for name in _LIMITS if (value := _whole(document, name, 1, 2**31 - 1)) is not None
    ]
    return min(limits, default=None)


def encode_request(request: ChatRequest, upstream_model: str, output_limit: int | None) -> bytes:
    """The body for the provider: its model name, usage asked for on every stream.

    `output_limit` lowers (never raises) what one choice may generate, where funds are short.

    Raises:
        InvalidRequestError: nested deeper than can be written again (254 levels).
    """
    document = dict(request.document)
    document["model"] = upstream_model
    if request.stream and not request.include_usage:
        document["stream_options"] = {
            **(document.get("stream_options") or {}),
            "include_usage": True,
        }
    if output_limit is not None:
        names = [name for name in _LIMITS if document.get(name) is not None]
        for name in names or _LIMITS[:1]:
            document[name] = min(output_limit, request.max_output_tokens or output_limit)
    try:
        return orjson.dumps(document)
    except orjson.JSONEncodeError:
        raise InvalidRequestError("The body is nested too deeply (over 254 levels).") from None


def prompt_texts(request: ChatRequest) -> Iterator[str]:
    """All text of the prompt that becomes input tokens: contents, names, tool calls, tools."""
    for message in request.document["messages"]:
        yield from _content_texts(message.get("content"))
        if isinstance(name := message.get("name"), str):
            yield name
        for call in dicts(message.get("tool_calls")):
            yield from _function_texts(call.get("function"))
    for tool in dicts(request.document.get("tools")):
        if isinstance(function := tool.get("function"), dict):
            yield orjson.dumps(function).decode()


def prompt_overhead_tokens(request: ChatRequest) -> int:
    """Input tokens beside the text: delimiters a message and the primer of the answer."""
    messages = request.document["messages"]
    named = sum(1 for message in messages if message.get("name"))
    return len(messages) * TOKENS_PER_MESSAGE + named * TOKENS_PER_NAME + TOKENS_OF_PRIMER


def _content_texts(content: object) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    for part in dicts(content):
        if isinstance(text := part.get("text"), str):
            yield text


def _function_texts(function: object) -> Iterator[str]:
    if isinstance(function, dict):
        for name in ("name", "arguments"):
            if isinstance(text := function.get(name), str):
                yield text
