"""Gemini's generateContent API: requests, answers, streams of events and of arrays, errors.

Source: ai.google.dev/api/generate-content and the official Python SDK's types (google-genai).
Two modules a direction: `decode_request` and `encode_request` with their contents; `answers` and
`encoders` with `answer_parts` and `answer_writer`; `requests` is what passes verbatim.
"""

from __future__ import annotations

from typing import Final

from engine.protocols.codec import Codec
from engine.protocols.gemini.codec import GeminiCodec

CODEC: Final[Codec] = GeminiCodec()

__all__ = ["CODEC", "GeminiCodec"]
