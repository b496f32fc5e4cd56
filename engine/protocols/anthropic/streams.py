"""Streams of server-sent events, as they are read.

The grammar: message_start, blocks one after another (content_block_start, its deltas,
content_block_stop), message_delta with the reason and the usage, message_stop. `ping` anywhere;
`error` anywhere ends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from engine.errors import UpstreamError
from engine.events import Begin, Event, Usage
from engine.protocols.anthropic.answers import AnswerReader, is_error
from engine.protocols.anthropic.errors import read_error
from engine.protocols.anthropic.figures import encode_usage
from engine.protocols.anthropic.framing import Framing
from engine.protocols.anthropic.values import load_answer
from engine.protocols.fields import dict_of


def encode_event(document: dict[str, Any]) -> bytes:
    """One stream event; its name is its type."""
    kind: str = document["type"]
    return b"event: " + kind.encode() + b"\ndata: " + orjson.dumps(document) + b"\n\n"


class AnthropicDecoder:
    """A provider's stream as canonical events; see `codec.StreamDecoder`."""

    def __init__(self, framing: Framing, *, end_marker: bool) -> None:
        self.error: UpstreamError | None = None
        self.ending = False
        self.done = False
        self.repeatable = False
        self.document: dict[str, Any] = {}
        """What the frame decoded last holds; empty for a comment."""
        self._end_marker = end_marker
        self._framing = framing
        self._reader = AnswerReader()
        self._begun = False
        self._last_frame = b""

    @property
    def pending_bytes(self) -> int:
        """Size of the incomplete event held back."""
        return self._framing.pending_bytes

    def split(self, data: bytes) -> list[bytes]:
        """Whole events, in order."""
        return self._framing.split(data)

    def decode(self, frame: bytes) -> Sequence[Event]:
        """What one event says."""
        try:
            data = self._framing.data(frame)
        except UpstreamError as error:
            self.document, self.error = {}, self.error or error
            return ()
        if not data or self.error is not None or self.done:
            self.document = {}
            return ()
        self.document = document = load_answer(data)
        kind = document.get("type")
        if kind == "content_block_delta":
            event = self._reader.delta(dict_of(document.get("delta")))
            if event is None:
                return ()
            return (event,) if self._begun else self._after_begin([event])
        if kind == "message_stop":
            self.ending = self.done = True
            return self._after_begin(self._reader.stop_block())
        if is_error(document):
            self.error = read_error(200, data)
            return ()
        return self._decode_mark(kind, document)

    def _decode_mark(self, kind: object, document: dict[str, Any]) -> Sequence[Event]:
        match kind:
            case "message_start" if not self._begun:
                self._begun = True
                return (self._reader.begin(dict_of(document.get("message"))),)
            case "content_block_start":
                block = dict_of(document.get("content_block"))
                return self._after_begin(self._reader.start_block(block))
            case "content_block_stop":
                return self._after_begin(self._reader.stop_block())
            case "message_delta":
                if dict_of(document.get("delta")).get("stop_reason") is not None:
                    self.ending = True
                return self._after_begin(self._reader.end(document))
            case _:  # a ping, or what came later than this
                return ()

    def _after_begin(self, events: list[Event]) -> list[Event]:
        if self._begun or not events:
            return events
        self._begun = True
        return [Begin(None, None), *events]

    def end_of_input(self) -> Sequence[Event]:
        """Reads a last event without its blank line; without `message_stop` it is no whole answer,
        unless this provider sends none."""
        frame = self._framing.finish()
        events: Sequence[Event] = ()
        broken = False
        if frame and self.error is None and not self.done:
            try:
                events = self.decode(frame)
            except ValueError:
                broken = True
            else:
                self._last_frame = frame
        if self.error is None and not self.done:
            if broken or self._end_marker:
                self.error = UpstreamError("The provider's stream broke off before its end.")
            else:
                self.done = True
        return events

    def end_frame(self) -> bytes:
        """The last event, with the blank line that it lacked; nothing of an error."""
        return b"" if self.error is not None else self._last_frame


def start_event(message_id: str, model: str, usage: Usage | None) -> dict[str, Any]:
    """A `message_start` of our own; what is not known yet of the usage is 0."""
    figures = encode_usage(Usage() if usage is None else usage) | {"output_tokens": 0}
    figures.pop("output_tokens_details", None)
    return {
        "type": "message_start",
        "message": {
            "id": message_id,
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": figures,
        },
    }


def cut_event(usage: Usage) -> dict[str, Any]:
    """The `message_delta` of an early ending."""
    delta = {"stop_reason": "max_tokens", "stop_sequence": None}
    return {"type": "message_delta", "delta": delta, "usage": encode_usage(usage)}
