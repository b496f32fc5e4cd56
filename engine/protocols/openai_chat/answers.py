"""Answers: stream events and whole ones, their text, usage and early endings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from engine.errors import UpstreamRejectedError
from engine.events import Usage, is_count, read_count
from engine.protocols.fields import dicts, load_json
from engine.protocols.openai_chat.errors import read_error


def read_usage(document: dict[str, Any]) -> Usage | None:
    """Usage out of a chunk or a response; None if it holds none, or none with a count in it."""
    usage = document.get("usage")
    if not isinstance(usage, dict):
        return None
    input_tokens, output_tokens = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if not is_count(input_tokens) or not is_count(output_tokens):
        return None  # a figure that cannot be one is no report: the text is counted instead
    details = usage.get("prompt_tokens_details")
    details = details if isinstance(details, dict) else {}
    output_details = usage.get("completion_tokens_details")
    output_details = output_details if isinstance(output_details, dict) else {}
    return Usage(
        input_tokens=input_tokens,
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
    if not data:  # a comment; or an empty event, which the standard has clients pass over
        return Chunk(event)
    if data.startswith(DONE):
        return Chunk(b"", terminal=True)
    document = load_json(data)
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
                if choice.get("finish_reason") and isinstance(index := choice.get("index", 0), int):
                    chunk.finished.append(index)
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
            # Some say their reasoning under both names.
            twice = name == "reasoning" and delta.get("reasoning_content") == value
            if isinstance(value, str) and not twice:
                texts.append((f"{index}.{name}", value))
        elif name == "tool_calls":
            for position, call in enumerate(dicts(value)):
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
    document = load_json(body)
    if not isinstance(document, dict):
        raise ValueError("the answer is not a JSON object")
    if document.get("error"):
        return Chunk(b"", error=read_error(200, body))
    chunk = Chunk(body, usage=read_usage(document), terminal=True)
    for choice in dicts(document.get("choices")):
        _read_delta({"index": choice.get("index", 0), "delta": choice.get("message")}, chunk.texts)
    return chunk


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
