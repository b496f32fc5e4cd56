"""OpenAI's `POST /v1/audio/transcriptions` and `/translations`: what is said in a recording.

`codec` is the codec, `uploads` reads and writes the forms that recordings come in, `answers` reads
whole answers, `events` streams; `crossing` translates requests, `encoders` write what other
protocols answer.
"""

from engine.protocols.openai_transcriptions.codec import CODEC

__all__ = ["CODEC"]
