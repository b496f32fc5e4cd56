"""Transcripts as events, read along on their way to a client."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from engine.errors import UpstreamRejectedError
from engine.events import Event, Finish, FinishReason, TextDelta, Usage, UsageReport
from engine.protocols.fields import text_of
from engine.protocols.openai_audio import SoundEvents, read_usage
from engine.protocols.openai_transcriptions.answers import read_object
from engine.protocols.openai_transcriptions.encoders import encode_event, encode_usage
from engine.wire.sse import EventTooLargeError

_TEXT_MAX_CHARS: Final = 1_000_000
"""So much is remembered for an early ending: a day of speech."""
_OBJECT_MAX_BYTES: Final = 16 * 1024 * 1024


class TranscriptEvents(SoundEvents):
    """`transcript.text.delta` and, where speakers are told apart, `transcript.text.segment`; then
    `transcript.text.done` with all of the text and what it took.

    A model that knows no streams (`whisper-1`) answers with a JSON object all the same: that goes
    to the client as it is.
    """

    def __init__(self) -> None:
        super().__init__()
        self._texts: list[str] = []
        self._chars = 0
        self._has_deltas = False
        self._begun = False
        self._object: bytearray | None = None

    @property
    def pending_bytes(self) -> int:
        """What is held back as an incomplete event, or object."""
        return super().pending_bytes + len(self._object or b"")

    def split(self, data: bytes) -> list[bytes]:
        """Whole events; raises EventTooLargeError."""
        if not self._begun and data:
            self._begun = True
            self._object = bytearray() if data.startswith(b"{") else None
        if self._object is None:
            return super().split(data)
        self._object += data
        if len(self._object) > _OBJECT_MAX_BYTES:
            raise EventTooLargeError("it is a JSON object larger than the gateway accepts")
        return []

    def _read(self, document: dict[str, Any], frame: bytes) -> Sequence[Event]:
        if self._is_error(document, frame):
            return ()
        match document.get("type"):
            case "transcript.text.delta":
                self._has_deltas = True
                return self._said(text_of(document.get("delta")))
            case "transcript.text.segment" if not self._has_deltas:
                return self._said(text_of(document.get("text")))
            case "transcript.text.done":
                self.ending = self.finished = True
                usage = read_usage(document, spoken=False)
                reported = [] if usage is None else [UsageReport(usage)]
                return [Finish(FinishReason.STOP), *reported]
            case _:
                return ()

    def _said(self, text: str) -> Sequence[Event]:
        self._chars += len(text)
        if self._chars <= _TEXT_MAX_CHARS:
            self._texts.append(text)
        return [TextDelta(text)] if text else ()

    def end_of_input(self) -> Sequence[Event]:
        """An end is one only after the last event, or a whole object."""
        if self._object is None:
            return super().end_of_input()
        body, self._object = bytes(self._object), None
        try:
            events = read_object(body)
        except UpstreamRejectedError as error:
            self.error = error
            return ()
        self._end_frame = body
        self.ending = self.finished = self.done = True
        return events

    def cut(self, usage: Usage) -> bytes:
        """The last event, with the text until here and what it took."""
        if self.finished:
            return b""
        text, told = "".join(self._texts), encode_usage(usage)
        done = encode_event({"type": "transcript.text.done", "text": text, "usage": told})
        return done + b"data: [DONE]\r\n\r\n"
