"""OpenAI chat completions: requests, stream events, usage, errors.

Source: platform.openai.com/docs/api-reference/chat and the official Python SDK's types.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from engine.errors import GatewayError, InvalidRequestError, UpstreamRejectedError
from engine.events import Usage, read_count

ROLES = frozenset({"developer", "system", "user", "assistant", "tool", "function"})

# What a message costs beside its text, by OpenAI's cookbook ('How to count tokens'): its role and
# three delimiters, one more for a name, and the primer of the answer.
TOKENS_PER_MESSAGE = 4
TOKENS_PER_NAME = 1
TOKENS_OF_PRIMER = 3

_CHOICES_MAX = 128


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
        value
        for name in ("max_completion_tokens", "max_tokens")
        if (value := _whole(document, name, 1, 2**31 - 1)) is not None
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
        name = "max_tokens" if document.get("max_tokens") is not None else "max_completion_tokens"
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
        for call in _dicts(message.get("tool_calls")):
            yield from _function_texts(call.get("function"))
    for tool in _dicts(request.document.get("tools")):
        if isinstance(function := tool.get("function"), dict):
            yield orjson.dumps(function).decode()


def prompt_overhead_tokens(request: ChatRequest) -> int:
    """Input tokens beside the text: delimiters a message and the primer of the answer."""
    messages = request.document["messages"]
    named = sum(1 for message in messages if message.get("name"))
    return len(messages) * TOKENS_PER_MESSAGE + named * TOKENS_PER_NAME + TOKENS_OF_PRIMER


def _dicts(value: object) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, dict))


def _content_texts(content: object) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    for part in _dicts(content):
        if isinstance(text := part.get("text"), str):
            yield text


def _function_texts(function: object) -> Iterator[str]:
    if isinstance(function, dict):
        for name in ("name", "arguments"):
            if isinstance(text := function.get(name), str):
                yield text


def read_usage(document: dict[str, Any]) -> Usage | None:
    """Usage out of a chunk or a response; None if it holds none, or none with a count in it."""
    usage = document.get("usage")
    if not isinstance(usage, dict):
        return None
    output_tokens = usage.get("completion_tokens")
    if output_tokens is None or read_count(output_tokens) != output_tokens:
        return None  # a figure that cannot be one is no report: the text is counted instead
    details = usage.get("prompt_tokens_details")
    details = details if isinstance(details, dict) else {}
    output_details = usage.get("completion_tokens_details")
    output_details = output_details if isinstance(output_details, dict) else {}
    return Usage(
        input_tokens=read_count(usage.get("prompt_tokens")),
        cached_input_tokens=read_count(details.get("cached_tokens")),
        cache_write_tokens=read_count(details.get("cache_write_tokens")),
        output_tokens=output_tokens,
        reasoning_tokens=read_count(output_details.get("reasoning_tokens")),
    ).clamped()


@dataclass(slots=True)
class Chunk:
    """What one stream event says: to the meter, and what of it goes on to the client."""

    client_bytes: bytes
    """The event as the client gets it: verbatim, spliced, or nothing."""
    texts: list[tuple[str, str]] = field(default_factory=list)
    """Generated text, by channel."""
    usage: Usage | None = None
    finished: list[int] = field(default_factory=list)
    """Choices that end with this event."""
    terminal: bool = False
    error: UpstreamRejectedError | None = None
    document: dict[str, Any] = field(default_factory=dict)


DONE = b"[DONE]"

_PLAIN_USAGE_NULL = b',"usage":null'
_BACKSLASH = 0x5C
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')
# A key is followed by a colon, and inside a string its quotes would be escaped, so these bytes are
# a key named usage at some level; which level is settled below.
_USAGE_NULL = re.compile(rb',\s*"usage"\s*:\s*null|"usage"\s*:\s*null\s*,\s*')


def read_chunk(event: bytes, data: bytes | None, *, keep_usage: bool) -> Chunk:
    """Read one whole event of a stream.

    `keep_usage` is false where the client did not ask for usage: the usage-only chunk is dropped
    and a top-level `"usage":null` is cut out of its event; no other byte is touched.

    Raises:
        ValueError: the data is not a JSON object.
    """
    if data is None:
        return Chunk(event)
    if data.startswith(DONE):
        return Chunk(b"", terminal=True)
    document = orjson.loads(data)
    if not isinstance(document, dict):
        raise ValueError("a stream event is not a JSON object")
    if document.get("error"):
        return Chunk(b"", error=read_error(200, data))
    chunk = Chunk(event, document=document)
    choices = document.get("choices")
    if isinstance(choices, list):
        for choice in choices:
            if isinstance(choice, dict):
                _read_delta(choice, chunk.texts)
                if choice.get("finish_reason"):
                    chunk.finished.append(choice.get("index", 0))
    if "usage" in document:
        chunk.usage = read_usage(document)
        if not keep_usage:
            if document["usage"] is None:
                chunk.client_bytes = _without_null_usage(event)
            elif not choices:
                chunk.client_bytes = b""
    return chunk


_TEXT_FIELDS = frozenset({"content", "refusal", "reasoning_content", "reasoning"})


def _read_delta(choice: dict[str, Any], texts: list[tuple[str, str]]) -> None:
    delta = choice.get("delta")
    if not isinstance(delta, dict):
        return
    index = choice.get("index", 0)
    for name, value in delta.items():
        if not value:
            continue
        if name in _TEXT_FIELDS:
            if isinstance(value, str):
                texts.append((f"{index}.{name}", value))
        elif name == "tool_calls":
            for position, call in enumerate(_dicts(value)):
                channel = f"{index}.tool.{call.get('index', position)}"
                for kind in ("function", "custom"):
                    texts.extend((channel, text) for text in _call_texts(call.get(kind)))
        elif name == "function_call":
            texts.extend((f"{index}.function", text) for text in _call_texts(value))
        elif name == "audio" and isinstance(value, dict) and value.get("transcript"):
            texts.append((f"{index}.audio", str(value["transcript"])))


def _call_texts(function: object) -> Iterator[str]:
    if isinstance(function, dict):
        for name in ("name", "arguments", "input"):
            if (text := function.get(name)) and isinstance(text, str):
                yield text


def _without_null_usage(event: bytes) -> bytes:
    """The event without its top-level `"usage":null`, every other byte as it was."""
    at = event.rfind(_PLAIN_USAGE_NULL)
    if at > 0 and event.count(b'"usage"') == 1:  # as OpenAI writes it
        return event[:at] + event[at + len(_PLAIN_USAGE_NULL) :]
    matches = [m for m in _USAGE_NULL.finditer(event) if event[m.start() - 1] != _BACKSLASH]
    if len(matches) > 1:
        matches = [match for match in matches if _depth_at(event, match.start()) == 1]
    for match in matches:
        return event[: match.start()] + event[match.end() :]
    return event


def _depth_at(event: bytes, position: int) -> int:
    """How many objects and arrays are open at a position of an event's bytes."""
    outside_strings = _STRING.sub(b"", event[:position])
    return sum(outside_strings.count(opening) for opening in (b"{", b"[")) - sum(
        outside_strings.count(closing) for closing in (b"}", b"]")
    )


def read_response(body: bytes) -> Chunk:
    """Read a whole answer that is not a stream; `client_bytes` is the body, untouched.

    Raises:
        ValueError: it is not a JSON object.
    """
    document = orjson.loads(body)
    if not isinstance(document, dict):
        raise ValueError("the answer is not a JSON object")
    if document.get("error"):
        return Chunk(b"", error=read_error(200, body))
    chunk = Chunk(body, usage=read_usage(document), terminal=True)
    for choice in _dicts(document.get("choices")):
        _read_delta({"index": choice.get("index", 0), "delta": choice.get("message")}, chunk.texts)
    return chunk


def read_error(
    status: int, body: bytes, retry_after_s: float | None = None
) -> UpstreamRejectedError:
    """A provider's error answer as the client may see it, whatever shape it has.

    The provider's judgement of the operator's own credentials (401, 403) is not the client's
    business: it becomes a 502 without the provider's words.
    """
    if status in (401, 403):
        return UpstreamRejectedError(
            "The provider refused the gateway's credentials; tell the operator.",
            status=502,
            code="upstream_credentials_refused",
        )
    try:
        document: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = None
    if isinstance(document, list) and document:
        document = document[0]
    error = document.get("error", document) if isinstance(document, dict) else None
    fields = error if isinstance(error, dict) else {"message": error}
    message = fields.get("message")
    return UpstreamRejectedError(
        message if isinstance(message, str) and message else f"The provider answered {status}.",
        status=status if 400 <= status <= 599 else 502,
        kind=_text(fields.get("type"))
        or ("invalid_request_error" if status < 500 else "server_error"),
        code=_text(fields.get("code")),
        param=_text(fields.get("param")),
        retry_after_s=retry_after_s,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def encode_error(error: GatewayError) -> bytes:
    """An error in OpenAI's shape."""
    return orjson.dumps(
        {
            "error": {
                "message": error.message,
                "type": error.kind,
                "param": error.param,
                "code": error.code,
            }
        }
    )


def encode_usage(usage: Usage) -> dict[str, Any]:
    """Usage in OpenAI's shape."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_input_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def encode_length_ending(
    like: dict[str, Any], open_choices: Iterable[int], usage: Usage | None
) -> bytes:
    """A valid early ending: every open choice ends for length, then usage, then `[DONE]`.

    `like` is any chunk of the stream: id, model and the like are taken from it.
    """
    identity = {
        name: like[name]
        for name in ("id", "object", "created", "model", "service_tier", "system_fingerprint")
        if name in like
    }
    events = [
        encode_event(
            identity
            | {"choices": [{"index": index, "delta": {}, "finish_reason": "length"}]}
            | ({} if usage is None else {"usage": None})
        )
        for index in open_choices
    ]
    if usage is not None:
        events.append(encode_event(identity | {"choices": [], "usage": encode_usage(usage)}))
    return b"".join(events) + b"data: [DONE]\n\n"


def encode_event(document: dict[str, Any]) -> bytes:
    """One stream event."""
    return b"data: " + orjson.dumps(document) + b"\n\n"
