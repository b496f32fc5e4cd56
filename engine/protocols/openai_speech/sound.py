"""The bytes of a sound, read along on their way to a client: they are sound, and not too many."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Final

from engine.errors import GatewayError, UpstreamError
from engine.events import Event, Finish, FinishReason, MediaDelta, Usage
from engine.media.sniff import kind_of
from engine.protocols.codec import ClientRequest, Identity
from engine.protocols.openai_audio import wrong_media

TYPES: Final[Mapping[str, str]] = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
"""The formats that can be asked for, and what their bytes are called where the provider does not
say it."""
SAMPLES: Final = "audio/L16;codec=pcm;rate=24000"
"""The same raw samples, as Gemini calls them."""
_RAW: Final = ("audio/pcm", SAMPLES)
SOUND_MAX_BYTES: Final = 128 * 1024 * 1024
"""Of one answer: 4,096 characters are about five minutes; a quarter as fast, as PCM, 60 MB."""
_HEAD_BYTES: Final = 64
"""So much is looked at before anything goes out."""
_WHOLE_BYTES: Final = 6
"""A group of base64 is of three bytes, a sample of two."""
_is_text = re.compile(rb"[\t\r\n\x20-\xff]+").fullmatch
_TEXT: Final = (b"{", b"[", b"<", b"data:", b"event:")


class SoundDecoder:
    """See `codec.VerbatimDecoder`: a read is a frame, and no byte is touched. There is no place in
    a sound for an error, nor for an end of its own."""

    ending = False
    repeatable = False

    def __init__(self, answer_type: str, max_bytes: int = SOUND_MAX_BYTES) -> None:
        self.error: UpstreamError | None = None
        self.done = False
        self._answer_type = answer_type
        self._left_bytes = max_bytes
        self._head: bytes | None = b""
        """What came before it was known what it is; None: that is known."""
        self._rest = b""
        """What is no whole group of base64, or no whole sample, without what comes next."""
        self._end = b""

    @property
    def pending_bytes(self) -> int:
        """What is held back until it is known what it is."""
        return len(self._head or b"")

    def split(self, data: bytes) -> list[bytes]:
        """What came, once there is enough of it to be looked at."""
        if self._head is None:
            return [data]
        self._head += data
        if len(self._head) < _HEAD_BYTES:
            return []
        head, self._head = self._head, None
        self._look_at(head)
        return [head]

    def decode(self, frame: bytes) -> Sequence[Event]:
        """The sound in it."""
        if self.error is None:
            self._left_bytes -= len(frame)
            if self._left_bytes < 0:
                self.error = UpstreamError(
                    "The provider's answer is larger than the gateway accepts."
                )
        if self.error is not None:
            return ()
        data = self._rest + frame if self._rest else frame
        whole = len(data) - len(data) % _WHOLE_BYTES
        self._rest = data[whole:]
        if not whole:
            return ()
        return [MediaDelta("audio", self._answer_type, b64encode(data[:whole]).decode())]

    def end_of_input(self) -> Sequence[Event]:
        """The end of what came is the end of the sound; nothing is none."""
        events: list[Event] = []
        if self._head is not None:
            head, self._head = self._head, None
            self._look_at(head)
            events += self.decode(head)
            self._end = b"" if self.error is not None else head
        if self.error is not None:
            return ()
        if self._rest:
            events.append(MediaDelta("audio", self._answer_type, b64encode(self._rest).decode()))
        self.done = True
        return [*events, Finish(FinishReason.STOP)]

    def client_frame(self, frame: bytes) -> bytes:
        """Untouched."""
        return b"" if self.error is not None else frame

    def end_frame(self) -> bytes:
        """A sound so short that it was not looked at before."""
        return self._end

    def cut(self, usage: Usage) -> bytes:
        """Nothing can be said in it."""
        return b""

    def fail(self, error: GatewayError) -> bytes:
        """Nothing can be said in it: the connection breaks off."""
        return b""

    def resume(self, request: ClientRequest, identity: Identity, text: str) -> None:
        """Nobody goes on with the voice of another."""
        return

    def _look_at(self, head: bytes) -> None:
        """Refuse what is no sound: an error page, an object, a picture."""
        known = kind_of(head) is not None or self._answer_type in _RAW
        if not head or not known or is_something_else(head):
            self.error = wrong_media("sound")


def is_something_else(head: bytes) -> bool:
    """Whether what begins so is surely no sound: raw samples look like anything but text.

    >>> is_something_else(b"<html>"), is_something_else(b"<\x00\xff\x7f")
    (True, False)
    """
    kind = kind_of(head)
    if kind is not None:
        return not kind.startswith("audio/")
    return head.lstrip().startswith(_TEXT) and _is_text(head) is not None
