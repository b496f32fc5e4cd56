"""A provider's stream, decoded frame by frame, and read along where it passes verbatim."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from engine.errors import UpstreamError
from engine.events import Begin, Event, Usage
from engine.protocols.codec import ClientRequest, Identity
from engine.protocols.fields import load_exact, load_json
from engine.protocols.gemini.answers import AnswerReader
from engine.protocols.gemini.chunks import EVENT_END, length_chunk
from engine.protocols.gemini.chunks import frame as frame_chunk
from engine.protocols.gemini.encoders import GeminiEncoder
from engine.protocols.gemini.errors import read_error
from engine.protocols.gemini.framing import FrameSplitter
from engine.protocols.gemini.signatures import native

_BROKEN_OFF = "The provider's stream broke off before its end."


class GeminiDecoder:
    """Implements `codec.StreamDecoder`.

    Gemini has no terminal event: the ending begins with the frame that ends the last candidate,
    usage and grounding may follow it, and the stream is whole when it closes after that.
    """

    def __init__(self, *, end_marker: bool, choices: int = 1, cite: bool = True) -> None:
        self.error: UpstreamError | None = None
        self.ending = False
        self.done = False
        self.repeatable = False
        self._frames = FrameSplitter()
        self._reader = AnswerReader(cite=cite)
        self._end_marker = end_marker
        self._choices = choices
        self._rest = b""
        self._closed = False

    @property
    def pending_bytes(self) -> int:
        """What is held back as an incomplete frame."""
        return self._frames.pending_bytes

    def split(self, data: bytes) -> list[bytes]:
        """Whole frames."""
        return self._frames.feed(data)

    def decode(self, frame: bytes) -> Sequence[Event]:
        """What one frame says."""
        if self.error is not None or self.done:
            return ()
        payload = self._frames.payload(frame)
        if payload is None:
            if self._frames.form == "array" and b"]" in frame:
                self.ending = self._closed = True
            return ()
        document = load_exact(payload) if b"functionCall" in payload else load_json(payload)
        if isinstance(document, list) and document:  # an error before the stream: a list of one
            document = document[0]
        if not isinstance(document, dict):
            raise ValueError("a chunk is not a JSON object")
        if document.get("error"):
            self.error = read_error(200, payload)
            return ()
        return self._read(document)

    def _read(self, document: dict[str, Any]) -> Sequence[Event]:
        events = self._reader.read(document)
        open_choices = len(self._reader.choices) < self._choices and not self._reader.blocked
        if self._reader.finished and not open_choices:
            self.ending = True
        return events

    def end_of_input(self) -> Sequence[Event]:
        """The end of the connection; a last frame without its blank line counts if it is whole."""
        if self.error is not None or self.done:
            return ()
        rest = self._rest = self._frames.finish()
        events: Sequence[Event] = ()
        if rest.strip():
            try:
                events = self.decode(rest)
            except ValueError:
                self.error = UpstreamError(_BROKEN_OFF)
        if self.error is not None:
            return events
        begun = self._reader.choices or self._reader.blocked
        if self._reader.finished or (begun and not self._end_marker):
            self.done = True
        else:
            self.error = UpstreamError(_BROKEN_OFF)
        return events


class GeminiVerbatim(GeminiDecoder):
    """Implements `codec.VerbatimDecoder`: every frame goes out as it came."""

    def __init__(self, request: ClientRequest, *, end_marker: bool) -> None:
        super().__init__(end_marker=end_marker, choices=request.choices, cite=False)
        self._array = request.array
        self._begun = False
        self._elements = 0
        self._ended: set[int] = set()
        """Candidates whose end has gone out."""
        self._blocked = False

    def decode(self, frame: bytes) -> Sequence[Event]:
        """What one frame says; the stream has to have the form that the client asked for."""
        events = super().decode(frame)
        form = self._frames.form
        if self.error is None and form is not None and (form == "array") != self._array:
            raise ValueError("the stream is not of the form that was asked for")
        return events

    def client_frame(self, frame: bytes) -> bytes:
        """The frame, untouched."""
        self._begun = True
        reader = self._reader
        self._blocked = reader.blocked
        self._ended = {index for index, choice in reader.choices.items() if choice.finished}
        if self._array and b"{" in frame:
            self._elements += 1
        return frame

    def end_frame(self) -> bytes:
        """What was left, made whole: the blank line of an event, the end of the array."""
        rest, self._rest = self._rest, b""
        if not self.done:
            return b""
        if self._array:
            return rest if self._closed else b"]"
        return rest.rstrip(b"\r\n") + EVENT_END if rest.strip() else rest

    def cut(self, usage: Usage) -> bytes:
        """A chunk that ends every open candidate for length, with usage; and the array's end."""
        known = {*range(self._choices), *self._reader.choices}
        open_choices = () if self._blocked else sorted(known - self._ended)
        chunk = length_chunk(open_choices, usage, self._reader.identity)
        if not self._array:
            return frame_chunk(chunk, array=False, first=False)
        if self._begun and not self._elements:  # the opening bracket alone has gone out
            return orjson.dumps(chunk) + b"]"
        return frame_chunk(chunk, array=True, first=not self._begun) + b"]"

    def resume(self, request: ClientRequest, identity: Identity, text: str) -> GeminiEncoder:
        """Chunks of the same answer."""
        reader = self._reader
        begin = Begin(reader.id or None, reader.model or None, native=native())
        return GeminiEncoder.resumed(request, identity, begin, text)
