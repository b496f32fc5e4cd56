"""The reader of each protocol."""

from __future__ import annotations

from tests.answers import anthropic, gemini, openai_chat
from tests.answers.reading import Reading

_READERS = {
    "openai_chat": openai_chat.read,
    "anthropic": anthropic.read,
    "gemini": gemini.read,
}


def read(protocol: str, body: bytes, *, stream: bool) -> Reading:
    """What a protocol's official SDK reads out of an answer."""
    return _READERS[protocol](body, stream=stream)
