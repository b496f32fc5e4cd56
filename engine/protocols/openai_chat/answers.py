"""Answers: stream events and whole ones, their text, usage and early endings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from engine.errors import UpstreamRejectedError
from engine.events import Usage
from engine.protocols.fields import dicts, load_json
from engine.protocols.openai_chat.errors import read_error
from engine.protocols.openai_chat.splice import without_null_usage
from engine.protocols.openai_chat.usage import read_usage


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
                chunk.client_bytes = without_null_usage(event)
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
