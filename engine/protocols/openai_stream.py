"""What the streams of OpenAI's protocols share: events of JSON, `[DONE]`, usage at the end for who
asks, and edits of single bytes within an event."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from engine.errors import UpstreamError
from engine.events import Event, Usage
from engine.protocols.fields import load_object
from engine.protocols.openai_shared import read_error
from engine.protocols.openai_usage import encode_usage
from engine.wire.sse import EVENT_MAX_BYTES, EventSplitter, event_data

DONE = b"[DONE]"
DONE_EVENT = b"data: [DONE]\n\n"


class EventDecoder:
    """The half of a `codec.StreamDecoder` that is the same in both; `_read` is the other."""

    def __init__(self, *, end_marker: bool, event_max_bytes: int = EVENT_MAX_BYTES) -> None:
        self.error: UpstreamError | None = None
        self.ending = False
        self.done = False
        self.repeatable = False
        self._end_marker = end_marker
        self._splitter = EventSplitter(event_max_bytes)
        self._document: dict[str, Any] = {}
        self._end_frame = b""

    @property
    def pending_bytes(self) -> int:
        """What is held back as an incomplete event."""
        return self._splitter.pending_bytes

    def split(self, data: bytes) -> list[bytes]:
        """Whole events; raises EventTooLargeError."""
        return self._splitter.feed(data)

    def decode(self, frame: bytes) -> Sequence[Event]:
        """What one event says; raises ValueError where its data is not a JSON object."""
        self.repeatable = False
        if self.error is not None or self.done:
            return ()
        data = event_data(frame)
        if not data:  # a comment; or an empty event, which the standard has clients pass over
            self._document = {}
            return ()
        if data.startswith(DONE):
            self._document = {}
            self.ending = self.done = True
            return ()
        document = self._document = self._load(data)
        return self._read(document, frame)

    def _load(self, data: bytes) -> dict[str, Any]:
        """The object that the data is; raises ValueError."""
        return load_object(data)

    def _read(self, document: dict[str, Any], frame: bytes) -> Sequence[Event]:
        """The events of a chunk; sets `error` for one that is none."""
        raise AssertionError(document)

    def _is_error(self, document: dict[str, Any], frame: bytes) -> bool:
        """It is an error, which is noted; also one that is not under `error`: Mistral's objects,
        FastAPI's details, Groq's event."""
        bare = "choices" not in document and (
            document.get("object") == "error"
            or bool(document.get("detail"))
            or frame.lstrip(b"\r\n").startswith(b"event: error")
        )
        if not bare and not document.get("error"):
            return False
        self.error = read_error(200, event_data(frame) or b"")
        return True

    def end_of_input(self) -> Sequence[Event]:
        """What a last event without its blank line says: `[DONE]`, or where no end marker is
        asked for, a whole chunk."""
        if self.done or self.error is not None:
            return ()
        rest = self._splitter.finish().strip()
        return self._decode_rest(rest + b"\n\n" if rest else b"")

    def _decode_rest(self, frame: bytes) -> Sequence[Event]:
        try:
            events = self.decode(frame)
        except ValueError:
            self.error = broken_off()
            return ()
        if self.error is None and not self.done:
            if self._end_marker:
                self.error = broken_off()
                return ()
            self.done = True
        self._end_frame = frame
        return events


def broken_off() -> UpstreamError:
    """The error of a stream without its end."""
    return UpstreamError("The provider's stream broke off before its end.")


_PLAIN_USAGE_NULL = b',"usage":null'
_BACKSLASH = 0x5C
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')
# A key is followed by a colon, and inside a string its quotes would be escaped, so these bytes are
# a key named usage at some level; which level is settled below.
_USAGE_NULL = re.compile(rb',\s*"usage"\s*:\s*null|"usage"\s*:\s*null\s*,\s*')


def without_usage(frame: bytes, document: Mapping[str, Any]) -> bytes:
    """The event for a client that did not ask for usage: nothing of one that says only that, a
    top-level `"usage":null` cut out, every other byte as it was."""
    if "usage" not in document:
        return frame
    if document["usage"] is None:
        return _without_null_usage(frame)
    return frame if document.get("choices") else b""


def _without_null_usage(event: bytes) -> bytes:
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
    like: Mapping[str, Any],
    open_choices: Iterable[int],
    usage: Usage | None,
    empty: Mapping[str, Any],
) -> bytes:
    """A valid early ending: every open choice ends for length, then usage, then `[DONE]`.

    `like` is any chunk of the stream: id, model and the like are taken from it. `empty` is what a
    choice holds that says nothing.
    """
    identity = {
        name: like[name]
        for name in ("id", "object", "created", "model", "service_tier", "system_fingerprint")
        if name in like
    }
    events = [
        encode_event(
            identity
            | {"choices": [{"index": index, **empty, "finish_reason": "length"}]}
            | ({} if usage is None else {"usage": None})
        )
        for index in open_choices
    ]
    if usage is not None:
        events.append(encode_event(identity | {"choices": [], "usage": encode_usage(usage)}))
    return b"".join(events) + DONE_EVENT


def encode_event(document: Mapping[str, Any]) -> bytes:
    """One stream event."""
    return b"data: " + orjson.dumps(document) + b"\n\n"
