"""The codecs: which one reads a call, and which one speaks with its provider."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from engine.capabilities import Service
from engine.events import Operation
from engine.protocols import (
    anthropic,
    gemini,
    gemini_embeddings,
    openai_chat,
    openai_completions,
    openai_embeddings,
    openai_images,
    openai_moderations,
    openai_responses,
    openai_runs,
    openai_speech,
    openai_transcriptions,
    rerank,
)
from engine.protocols.batches import codec as batches
from engine.protocols.codec import ClientCodec, Codec, RequestCodec, StreamCodec
from engine.protocols.fine_tuning import codec as fine_tuning
from engine.protocols.jobs import gemini_videos, generations, media_jobs, openai_videos

_CODECS: Mapping[str, Codec] = {
    codec.name: codec
    for codec in (openai_chat.CODEC, openai_responses.CODEC, anthropic.CODEC, gemini.CODEC)
}
_STREAMED: Mapping[str, StreamCodec] = {
    **_CODECS,
    openai_images.CODEC.name: openai_images.CODEC,
    openai_speech.CODEC.name: openai_speech.CODEC,
}
_TRANSLATED_TO: Mapping[str, RequestCodec] = {
    **_STREAMED,
    gemini_embeddings.CODEC.name: gemini_embeddings.CODEC,
    openai_embeddings.CODEC.name: openai_embeddings.CODEC,
    media_jobs.VIDEO.name: media_jobs.VIDEO,
    media_jobs.MUSIC.name: media_jobs.MUSIC,
}
_OF_CLIENTS: Mapping[str, ClientCodec] = {
    **_TRANSLATED_TO,
    openai_completions.CODEC.name: openai_completions.CODEC,
    openai_moderations.CODEC.name: openai_moderations.CODEC,
    rerank.CODEC.name: rerank.CODEC,
    openai_transcriptions.CODEC.name: openai_transcriptions.CODEC,
    generations.VIDEO.name: generations.VIDEO,
    generations.MUSIC.name: generations.MUSIC,
    openai_runs.CODEC.name: openai_runs.CODEC,
    openai_videos.CODEC.name: openai_videos.CODEC,
    gemini_videos.CODEC.name: gemini_videos.CODEC,
    batches.CODEC.name: batches.CODEC,
    fine_tuning.CODEC.name: fine_tuning.CODEC,
}
_OF_PROVIDER = {
    "openai": "openai_chat",
    "openai-responses": "openai_responses",
    "anthropic": "anthropic",
    "gemini": "gemini",
}
_OF_OPERATION: Final[Mapping[tuple[str, str], str]] = {
    ("gemini", "embed"): "gemini_embeddings",
    ("gemini", "embed_batch"): "gemini_embeddings",
    ("openai", "embed"): "openai_embeddings",
    ("openai", "moderate"): "openai_moderations",
    ("openai", "speech"): "openai_speech",
    ("openai", "image"): "openai_images",
    ("openai", "image_edit"): "openai_images",
    ("openai", "image_variation"): "openai_images",
    ("openai", "rerank"): "rerank",
    ("openai", "transcribe"): "openai_transcriptions",
    ("openai", "translate"): "openai_transcriptions",
    ("openai", "video"): "video_generations",
    ("openai", "music"): "music_generations",
    ("gemini", "video"): "gemini_videos",
    ("openai", "batch"): "openai_batches",
    ("openai", "fine_tune"): "openai_fine_tuning",
    ("openai", "run"): "openai_runs",
}
"""Which codec reads a call, by protocol and operation, where the protocol alone does not say."""
_OPENAI: Final = "openai_chat"
"""How errors of the protocol `openai` are worded before the operation is known."""

_VIDEOS: Final = dict.fromkeys(_OF_PROVIDER, media_jobs.VIDEO.name)
_MUSIC: Final = dict.fromkeys(_OF_PROVIDER, media_jobs.MUSIC.name)
"""Whatever a provider speaks: what it makes, its quirks say."""
_EMBEDDINGS: Final = {
    "gemini": "gemini_embeddings",
    "openai": "openai_embeddings",
    "openai-responses": "openai_embeddings",
}
_SPEAKS: Final[Mapping[str, Mapping[str, str]]] = {
    "gemini_embeddings": _EMBEDDINGS,
    "openai_embeddings": _EMBEDDINGS,
    "openai_moderations": {
        "openai": "openai_moderations",
        "openai-responses": "openai_moderations",
    },
    "openai_speech": {
        "gemini": "gemini",
        "openai": "openai_speech",
        "openai-responses": "openai_speech",
    },
    "openai_images": {
        "gemini": "gemini",
        "openai": "openai_images",
        "openai-responses": "openai_images",
    },
    "openai_runs": {"openai": "openai_runs", "openai-responses": "openai_runs"},
    "rerank": {"openai": "rerank", "openai-responses": "rerank"},
    "openai_transcriptions": {
        "gemini": "gemini",
        "openai": "openai_transcriptions",
        "openai-responses": "openai_transcriptions",
    },
    "video_generations": _VIDEOS,
    "music_generations": _MUSIC,
    "openai_videos": _VIDEOS,
    "gemini_videos": _VIDEOS,
    "openai_batches": {"openai": "openai_batches", "openai-responses": "openai_batches"},
    "openai_fine_tuning": {
        "openai": "openai_fine_tuning",
        "openai-responses": "openai_fine_tuning",
    },
}
"""How a provider is spoken to for a call that is no chat: by the codec that has read the call, and
the protocol of the provider. What is not there cannot be asked of it."""
_DRAWS: Final[Mapping[tuple[Service, str], str]] = {
    ("image", "openai"): "openai_images",
    ("image", "openai-responses"): "openai_images",
    ("speech", "openai"): "openai_speech",
    ("speech", "openai-responses"): "openai_speech",
}
"""How a model that does not chat is spoken to for a chat, by what it does and the protocol of its
provider."""
_SHOWN: Final[Mapping[Service, frozenset[str]]] = {
    "image": frozenset({"gemini", "openai_chat", "openai_responses"}),
    "speech": frozenset({"gemini"}),
}
"""Whose clients can be answered so."""

SERVICES: Final[Mapping[Operation, Service]] = {
    "chat": "chat",
    "count_tokens": "chat",
    "embed": "embed",
    "embed_batch": "embed",
    "image": "image",
    "image_edit": "image",
    "image_variation": "image",
    "moderate": "moderate",
    "rerank": "rerank",
    "speech": "speech",
    "transcribe": "transcribe",
    "translate": "transcribe",
    "video": "video",
    "music": "music",
    "batch": "chat",
    "fine_tune": "chat",
    "run": "chat",
}
"""The kind of model that an operation asks for."""


def codec_of(protocol: str) -> Codec:
    """The codec of a protocol that both sides speak, by its name."""
    return _CODECS[protocol]


def streamed_by(name: str) -> StreamCodec:
    """The codec of a stream that is translated, by its name."""
    return _STREAMED[name]


def translated_to(name: str) -> RequestCodec:
    """The codec that requests of another are translated to, by its name."""
    return _TRANSLATED_TO[name]


def client_codec(protocol: str, operation: str = "chat") -> ClientCodec:
    """The codec of a call, by its protocol and operation."""
    return _OF_CLIENTS[
        _OF_OPERATION.get((protocol, operation)) or (_OPENAI if protocol == "openai" else protocol)
    ]


def knows_operation(protocol: str, operation: str) -> bool:
    """Whether a codec is there for an operation that the protocol alone does not say."""
    return (protocol, operation) in _OF_OPERATION


def provider_codec(protocol: str) -> Codec:
    """The codec of a provider's protocol, as its configuration names it."""
    return _CODECS[_OF_PROVIDER[protocol]]


def upstream_codec(
    client: str,
    provider_protocol: str,
    also: frozenset[str],
    serves: frozenset[Service] | None = None,
) -> ClientCodec | None:
    """The codec to speak with a provider, for a client's codec of the name `client`; None: it
    cannot be asked for that.

    A provider speaks the protocol that its configuration names; `also` are those that it takes of
    clients of the same protocol, which go through verbatim. `serves` is of the model.
    """
    if client in also:
        return _OF_CLIENTS[client]
    if (by_provider := _SPEAKS.get(client)) is not None:
        name = by_provider.get(provider_protocol)
        return None if name is None else _OF_CLIENTS[name]
    if serves is not None and "chat" not in serves:
        for service in sorted(serves):
            if (name := _DRAWS.get((service, provider_protocol))) is not None:
                return _OF_CLIENTS[name] if client in _SHOWN[service] else None
    return _CODECS[_OF_PROVIDER[provider_protocol]]
