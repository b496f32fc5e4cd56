"""Edits of single bytes within a stream's events, and the ending of a stream that is cut."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import orjson

from engine.events import Usage
from engine.protocols.openai_chat.usage import encode_usage

_PLAIN_USAGE_NULL = b',"usage":null'
_BACKSLASH = 0x5C
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')
# A key is followed by a colon, and inside a string its quotes would be escaped, so these bytes are
# a key named usage at some level; which level is settled below.
_USAGE_NULL = re.compile(rb',\s*"usage"\s*:\s*null|"usage"\s*:\s*null\s*,\s*')


def without_null_usage(event: bytes) -> bytes:
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
    return b"".join(events) + DONE_EVENT


DONE_EVENT = b"data: [DONE]\n\n"


def encode_event(document: dict[str, Any]) -> bytes:
    """One stream event."""
    return b"data: " + orjson.dumps(document) + b"\n\n"
