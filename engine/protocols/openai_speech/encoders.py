"""Speech of providers that speak another protocol, for clients of this one.

They give raw samples, which are a WAV behind a header. Nothing is coded anew.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from typing import Final

from engine.errors import GatewayError, UpstreamError
from engine.events import Event, Finish, MediaDelta, Usage, UsageReport
from engine.media.wav import Pcm, pcm_of, wav_header
from engine.protocols.openai_audio import wrong_media
from engine.protocols.openai_speech.events import encode_usage
from engine.protocols.openai_stream import encode_event

FORMATS: Final = ("wav", "pcm")
"""What can be made of raw samples."""
_RAW: Final = Pcm()


class SoundEncoder:
    """See `codec.StreamEncoder`: the bytes of a sound. `format` is one of `FORMATS`."""

    holding = False

    def __init__(self, format: str) -> None:  # noqa: A002 - the endpoint's word
        self._format = format
        self._pcm: Pcm | None = None
        self._rest = ""
        """The last characters of base64 that are no whole group."""

    def encode(self, event: Event) -> bytes:
        """The samples in an event; before the first, the header of a WAV.

        Raises:
            UpstreamError: it is no sound that this can be made of, or the answer has none.
        """
        match event:
            case MediaDelta(kind="audio", mime_type=kind, data=data) if data:
                return self._samples(kind, data)
            case Finish(reason=reason) if self._pcm is None:
                raise UpstreamError(f"The provider's answer has no sound ({reason}).")
            case _:
                return b""

    def _samples(self, kind: str | None, data: str) -> bytes:
        head = b""
        if self._pcm is None:
            self._pcm = pcm = pcm_of(kind or "")
            if pcm is None or (self._format == "pcm" and pcm != _RAW):
                raise wrong_media("raw samples of 24 kHz")
            head = wav_header(pcm, None) if self._format == "wav" else b""
        data = self._rest + data
        whole = len(data) - len(data) % 4
        self._rest = data[whole:]
        try:
            return head + b64decode(data[:whole], validate=True)
        except binascii.Error:
            raise wrong_media("sound in base64") from None

    def finish(self) -> bytes:
        """Nothing can be said in a sound."""
        return b""

    def cut(self, usage: Usage) -> bytes:
        """Nothing can be said in a sound."""
        return b""

    def fail(self, error: GatewayError) -> bytes:
        """Nothing can be said in a sound: the connection breaks off."""
        return b""


class SpeechEventEncoder:
    """See `codec.StreamEncoder`: events with the sound, and with what it took."""

    holding = False

    def __init__(self, format: str) -> None:  # noqa: A002 - the endpoint's word
        self._sound = SoundEncoder(format)
        self._usage: Usage | None = None

    def encode(self, event: Event) -> bytes:
        """The event of a piece of sound. Raises as `SoundEncoder.encode`."""
        if isinstance(event, UsageReport):
            self._usage = event.usage
        sound = self._sound.encode(event)
        if not sound:
            return b""
        audio = b64encode(sound).decode()
        return encode_event({"type": "speech.audio.delta", "audio": audio})

    def finish(self) -> bytes:
        """The last event."""
        return self._done(self._usage)

    def cut(self, usage: Usage) -> bytes:
        """The last event, with what it took until here."""
        return self._done(usage)

    def _done(self, usage: Usage | None) -> bytes:
        told = {} if usage is None else {"usage": encode_usage(usage)}
        return encode_event({"type": "speech.audio.done", **told})
