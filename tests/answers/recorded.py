"""Which recordings are answers of which protocol."""

from __future__ import annotations

from typing import Any

import pytest

from tests import recordings
from tests.recordings import RECORDINGS

_GEMINI = (
    "gemini-generateContent",
    "gemini-streamGenerateContent",
    "vertex-generateContent",
    "vertex-streamGenerateContent",
)

_RESPONSES = ("openai", "azure-openai", "deepseek", "openrouter", "xai")

# Answers of a conversation written one behind the other; and what has been abridged: deltas that
# are not their text, images that are no base64.
_NOT_ONE = (
    "ai--anthropic-src-fixtures-anthropic-tool-search-deferred-bm25.json",
    "ai--azure-src-fixtures-azure-reasoning-encrypted-content.1.json",
    "ai--openai-src-responses-fixtures-openai-shell-container.1.json",
    "ai--openai-src-responses-fixtures-openai-image-generation-tool.1.json",
    "ai--openai-src-responses-fixtures-openai-image-generation-tool.1--v2.json",
)


def _folders() -> dict[str, tuple[str, ...]]:
    chat = sorted(
        path.name
        for path in RECORDINGS.glob("*-chat")
        if not path.name.endswith("-native-chat")  # Cohere's and Ollama's own protocols
    )
    return {
        "openai_chat": tuple(chat) or ("openai-chat",),
        "openai_responses": tuple(f"{host}-responses" for host in _RESPONSES),
        "anthropic": ("anthropic-messages",),
        "gemini": _GEMINI,
    }


FOLDERS = _folders()
PROTOCOLS = tuple(FOLDERS)


def protocol_of(name: str) -> str:
    """Whose answer a recording is."""
    folder = name.partition("/")[0]
    return next(protocol for protocol, folders in FOLDERS.items() if folder in folders)


def names(*protocols: str, stream: bool | None = None) -> list[str]:
    """The recorded answers of status 200; none where there are no recordings."""
    return [
        name
        for protocol in protocols or PROTOCOLS
        for folder in FOLDERS[protocol]
        for name in recordings.names(folder, stream=stream, status=200)
        if isinstance(name, str) and not name.endswith(_NOT_ONE)
    ]


def answers(*protocols: str, stream: bool | None = None, holding: bytes = b"") -> list[Any]:
    """The same as parameters of a test; one that skips, visibly, where there are none.

    `holding` is something that has to stand in their bodies.
    """
    found = [
        pytest.param(name, id=name)
        for name in names(*protocols, stream=stream)
        if holding in recordings.load(name).body
    ]
    skip = pytest.mark.skip(reason=f"no recordings at {RECORDINGS}")
    return found or [pytest.param("", marks=skip)]
