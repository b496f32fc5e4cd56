"""Streams of server-sent events: read to be translated, or along a verbatim relay.

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
from engine.protocols.codec import ClientRequest
from engine.protocols.fields import dict_of

_DELTA_KEYS = frozenset({"type", "index", "delta"})
_TEXT_KEYS = frozenset({"type", "text"})


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


class VerbatimAnthropic(AnthropicDecoder):
    """Reads along; every frame goes out as it came, an event as the provider wrote its JSON."""

    def __init__(self, request: ClientRequest, framing: Framing, *, end_marker: bool) -> None:
        super().__init__(framing, end_marker=end_marker)
        self._model = request.model
        self._sent = SentGrammar()

    def client_frame(self, frame: bytes) -> bytes:
        """The event: the frame itself, where it is one."""
        document = self.document
        self._sent.see(document)
        self.repeatable = (
            document.keys() == _DELTA_KEYS
            and document["type"] == "content_block_delta"
            and dict_of(document["delta"]).keys() == _TEXT_KEYS
            and document["delta"]["type"] == "text_delta"
        )  # where a citation would begin is of no interest to whom nothing is translated for
        return self._framing.client_event(frame, document)

    def end_frame(self) -> bytes:
        """The last event, made whole."""
        frame = super().end_frame()
        if frame:
            self._sent.see(self.document)
        return frame

    def cut(self, usage: Usage) -> bytes:
        """Ends what has gone out: the open block, `message_delta`, `message_stop`."""
        return self._sent.cut(usage, self._model)


# Without a message of the provider's there is no id: clients only show it.
_NO_ID = "msg_unstarted"


class SentGrammar:
    """How far a stream has got that went out."""

    __slots__ = ("_open", "_place")

    def __init__(self) -> None:
        self._place = "before"
        self._open: int | None = None

    def see(self, document: dict[str, Any]) -> None:
        """An event goes out."""
        match document.get("type"):
            case "message_start":
                self._place = "message"
            case "content_block_start":
                index = document.get("index")
                self._open = index if isinstance(index, int) else None
            case "content_block_stop":
                self._open = None
            case "message_delta":
                self._place = "ending"
            case "message_stop":
                self._place = "after"

    def cut(self, usage: Usage, model: str) -> bytes:
        """The rest of a stream that is valid, with the reason `max_tokens`."""
        if self._place == "after":
            return b""
        out = []
        if self._place == "before":
            out.append(start_event(_NO_ID, model, usage))
        if self._open is not None:
            out.append({"type": "content_block_stop", "index": self._open})
        if self._place != "ending":
            out.append(cut_event(usage))
        out.append({"type": "message_stop"})
        return b"".join(encode_event(document) for document in out)


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
