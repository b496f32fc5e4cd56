"""Speech as events, read along on their way to a client."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Sequence
from typing import Any, Final

from engine.events import Event, Finish, FinishReason, MediaDelta, Usage, UsageReport
from engine.protocols.fields import text_of
from engine.protocols.openai_audio import SoundEvents, read_usage, wrong_media
from engine.protocols.openai_speech.sound import is_something_else
from engine.protocols.openai_stream import encode_event

_HEAD_CHARS: Final = 88


class SpeechEvents(SoundEvents):
    """`speech.audio.delta` with the sound in base64, `speech.audio.done` with what it took."""

    def __init__(self, sound_type: str) -> None:
        super().__init__()
        self._sound_type = sound_type
        self._begun = False

    def _read(self, document: dict[str, Any], frame: bytes) -> Sequence[Event]:
        if self._is_error(document, frame):
            return ()
        match document.get("type"):
            case "speech.audio.delta":
                sound = text_of(document.get("audio"))
                if not self._begun and sound:
                    self._look_at(sound)
                return () if self.error else [MediaDelta("audio", self._sound_type, sound)]
            case "speech.audio.done":
                if not self._begun:
                    self.error = wrong_media("sound")
                    return ()
                self.ending = self.finished = True
                usage = read_usage(document, spoken=True)
                reported = [] if usage is None else [UsageReport(usage)]
                return [Finish(FinishReason.STOP), *reported]
            case _:
                return ()

    def _look_at(self, sound: str) -> None:
        """Refuse what begins with something else; so little of it may have come that it cannot be
        told what it is."""
        self._begun = True
        try:
            head = b64decode(sound[:_HEAD_CHARS], validate=True)
        except ValueError:
            self.error = wrong_media("sound")
            return
        if is_something_else(head):
            self.error = wrong_media("sound")

    def cut(self, usage: Usage) -> bytes:
        """The last event, with what it took until here."""
        if self.finished:
            return b""
        return encode_event({"type": "speech.audio.done", "usage": encode_usage(usage)})


def encode_usage(usage: Usage) -> dict[str, int]:
    """In the words of this endpoint."""
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
