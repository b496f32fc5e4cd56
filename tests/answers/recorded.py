"""Which recordings are answers of which protocol."""

from __future__ import annotations

from typing import Any

from tests import recordings
from tests.recordings import RECORDINGS

_GEMINI = (
    "gemini-generateContent",
    "gemini-streamGenerateContent",
    "vertex-generateContent",
    "vertex-streamGenerateContent",
)


def _folders() -> dict[str, tuple[str, ...]]:
    chat = sorted(
        path.name
        for path in RECORDINGS.glob("*-chat")
        if not path.name.endswith("-native-chat")  # Cohere's and Ollama's own protocols
    )
    return {
        "openai_chat": tuple(chat) or ("openai-chat",),
        "anthropic": ("anthropic-messages",),
        "gemini": _GEMINI,
    }


FOLDERS = _folders()
PROTOCOLS = tuple(FOLDERS)


def protocol_of(name: str) -> str:
    """Whose answer a recording is."""
    folder = name.partition("/")[0]
    return next(protocol for protocol, folders in FOLDERS.items() if folder in folders)


def answers(*protocols: str, stream: bool | None = None) -> list[Any]:
    """Names of the recorded answers of status 200; parameters for a test."""
    return [
        name
        for protocol in protocols or PROTOCOLS
        for folder in FOLDERS[protocol]
        for name in recordings.names(folder, stream=stream, status=200)
    ]
