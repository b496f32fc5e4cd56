"""OpenAI's `POST /v1/audio/speech`: text read aloud, as the bytes of a sound or as events.

`codec` is the codec, `sound` reads along the bytes of a sound, `events` the events; `crossing`
translates requests, `encoders` write what other protocols answer.
"""

from engine.protocols.openai_speech.codec import CODEC

__all__ = ["CODEC"]
