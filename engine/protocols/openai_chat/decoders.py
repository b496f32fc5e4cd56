"""A provider's stream, event by event: to be translated, or read along while it passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.errors import UpstreamError
from engine.events import Event, TextDelta, Usage
from engine.protocols.fields import load_object
from engine.protocols.openai_chat.errors import read_error
from engine.protocols.openai_chat.reading import CHOICE_FIELDS, AnswerReader
from engine.protocols.openai_chat.splice import encode_length_ending, without_null_usage
from engine.protocols.quirks import PLAIN, Quirks
from engine.wire.sse import EventSplitter, event_data

DONE = b"[DONE]"

_PLAIN_FIELDS = frozenset(
    {
        "id",
        "object",
        "created",
        "model",
        "choices",
        "usage",
        "obfuscation",
        "service_tier",
        "system_fingerprint",
    }
)


class ChatDecoder:
    """For a stream to be translated; see `codec.StreamDecoder`."""

    _natives = True

    def __init__(self, *, end_marker: bool, quirks: Quirks = PLAIN) -> None:
        self.error: UpstreamError | None = None
        self.ending = False
        self.done = False
        self._end_marker = end_marker
        self._splitter = EventSplitter()
        self._reader = AnswerReader(natives=self._natives, quirks=quirks)
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
        document = self._document = load_object(data)
        if (plain := self._plain(document)) is not None:
            return plain
        if document.get("error") or ("choices" not in document and _is_error(frame, document)):
            self.error = read_error(200, data)
            return ()
        return self._reader.read(document)

    def _plain(self, document: dict[str, Any]) -> tuple[Event] | None:
        """The event of a chunk that only adds text to one choice, as nearly all do."""
        reader = self._reader
        try:
            [choice] = document["choices"]
            delta = choice["delta"]
            content = delta["content"]
            index = choice["index"]
            known = index in reader.choices
        except (KeyError, TypeError, ValueError):
            return None
        if (
            not known
            or len(delta) != 1
            or type(content) is not str
            or not content
            or choice.get("finish_reason")
            or choice.get("logprobs")
            or document.get("usage")
            or "error" in document
        ):
            return None
        if self._natives and not (
            document.keys() <= _PLAIN_FIELDS and choice.keys() <= CHOICE_FIELDS
        ):
            return None  # there is more in it for an encoder of this protocol
        reader.finished = ()
        return (TextDelta(content, index),)

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
            self.error = _broken_off()
            return ()
        if self.error is None and not self.done:
            if self._end_marker:
                self.error = _broken_off()
                return ()
            self.done = True
        self._end_frame = frame
        return events


def _is_error(frame: bytes, document: dict[str, Any]) -> bool:
    """An error that is not under `error`: Mistral's objects, FastAPI's details, Groq's event."""
    return (
        document.get("object") == "error"
        or bool(document.get("detail"))
        or frame.lstrip(b"\r\n").startswith(b"event: error")
    )


def _broken_off() -> UpstreamError:
    return UpstreamError("The provider's stream broke off before its end.")


class ChatVerbatimDecoder(ChatDecoder):
    """For a stream that goes to a client of this protocol; see `codec.VerbatimDecoder`.

    Where the client did not ask for usage, the usage-only chunk is dropped and a top-level
    `"usage":null` is cut out of its event; no other byte is touched.
    """

    _natives = False

    def __init__(
        self, *, end_marker: bool, include_usage: bool, choices: int, quirks: Quirks = PLAIN
    ) -> None:
        super().__init__(end_marker=end_marker, quirks=quirks)
        self._include_usage = include_usage
        self._open_choices = set(range(choices))
        self._like: dict[str, Any] = {}

    def client_frame(self, frame: bytes) -> bytes:
        """The event decoded last as the client gets it."""
        if self.error is not None:
            return b""
        document = self._document
        if not document:
            return frame
        if document.get("id"):
            self._like = document
        if self._reader.finished:
            self._open_choices.difference_update(self._reader.finished)
        if not self._include_usage and "usage" in document:
            if document["usage"] is None:
                return without_null_usage(frame)
            if not document.get("choices"):
                return b""
        return frame

    def end_frame(self) -> bytes:
        """What `end_of_input` found, with its blank line."""
        return self.client_frame(self._end_frame) if self._end_frame else b""

    def cut(self, usage: Usage) -> bytes:
        """`finish_reason: "length"` for every open choice, usage if it was asked for, `[DONE]`."""
        return encode_length_ending(
            self._like or self._document,
            sorted(self._open_choices),
            usage if self._include_usage else None,
        )
