"""Which protocol a request speaks, by its URL: errors are worded in it, wherever they arise."""

from __future__ import annotations

from collections.abc import Mapping

from engine.config_state import FAMILIES
from engine.events import Protocol

ANTHROPIC_VERSION = b"anthropic-version"
GOOGLE_KEY = b"x-goog-api-key"

GEMINI_VERSIONS = ("v1beta", "v1alpha", "v1")
"""All the same here. The last one shares its `/models` and `/files` with the other protocols."""
GEMINI_VERBS = (
    "generateContent",
    "streamGenerateContent",
    "countTokens",
    "embedContent",
    "batchEmbedContents",
    "predictLongRunning",
)

_PREFIXES: tuple[tuple[str, Protocol], ...] = (
    ("/v1/messages", "anthropic"),
    ("/v1/responses", "openai_responses"),
    ("/v1/completions", "openai_completions"),
    ("/v1/embeddings", "openai"),
    ("/v1/moderations", "openai"),
    ("/v1/audio", "openai"),
    ("/v1/images", "openai"),
    ("/v1/videos/generations", "openai"),
    ("/v1/videos", "openai_videos"),
    ("/v1/music", "openai"),
    ("/v1/rerank", "openai"),
    ("/v2/rerank", "openai"),
    *((f"/v1/{family}", "openai") for family in FAMILIES if family != "responses"),
    ("/upload", "gemini"),
    ("/v1beta", "gemini"),
    ("/v1alpha", "gemini"),
)
_AGENT_SUFFIXES: tuple[tuple[str, Protocol], ...] = (
    ("/messages", "anthropic"),
    ("/responses", "openai_responses"),
)
_SHARED_PREFIXES = ("/v1/models", "/v1/files")


def protocol_of(path: str, headers: Mapping[bytes, bytes]) -> Protocol:
    """The protocol of a decoded path; `headers` (lower case) tell where a path is shared.

    >>> protocol_of("/v1/messages/batches", {})
    'anthropic'
    >>> protocol_of("/v1/models", {b"anthropic-version": b"2023-06-01"})
    'anthropic'
    >>> protocol_of("/v1/models/a/b:c:countTokens", {})
    'gemini'
    """
    for prefix, protocol in _PREFIXES:
        if _is_under(path, prefix):
            return protocol
    if _is_under(path, "/v1/agents"):
        for suffix, protocol in _AGENT_SUFFIXES:
            if path.endswith(suffix):
                return protocol
    if path.endswith(tuple(f":{verb}" for verb in GEMINI_VERBS)) and _is_under(path, "/v1"):
        return "gemini"
    if is_shared(path):
        if ANTHROPIC_VERSION in headers:
            return "anthropic"
        if GOOGLE_KEY in headers:
            return "gemini"
    return "openai_chat"


def is_shared(path: str) -> bool:
    """Whether it takes headers to tell the protocol of a path."""
    return any(_is_under(path, prefix) for prefix in _SHARED_PREFIXES)


def _is_under(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(prefix + "/")
