"""Which endpoint is which dialect, beside chat; which API knows which models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bench.simulate.dialect import Dialect
from bench.simulate.embeddings import EmbeddingsDialect
from bench.simulate.images import ImagesDialect
from bench.simulate.moderations import ModerationsDialect
from bench.simulate.rerank import RerankDialect
from bench.simulate.settings import SimulatorSettings
from bench.simulate.speech import SpeechDialect
from bench.simulate.transcriptions import TranscriptionsDialect, TranslationsDialect

_RERANK: Final = RerankDialect()

OPERATIONS: Final[Mapping[str, Dialect]] = {
    "/v1/audio/speech": SpeechDialect(),
    "/v1/audio/transcriptions": TranscriptionsDialect(),
    "/v1/audio/translations": TranslationsDialect(),
    "/v1/embeddings": EmbeddingsDialect(),
    "/v1/rerank": _RERANK,
    "/v2/rerank": _RERANK,
    "/v1/images/edits": ImagesDialect("edit"),
    "/v1/images/generations": ImagesDialect("generation"),
    "/v1/images/variations": ImagesDialect("variation"),
    "/v1/moderations": ModerationsDialect(),
}
"""By the path of its `POST`."""


def known_models(settings: SimulatorSettings) -> dict[str, tuple[str, ...]]:
    """By the names of the dialects."""
    others = (*settings.models, *settings.operation_models)
    return {
        "openai": settings.models,
        "openai-completions": settings.models,
        "openai-responses": settings.models,
        "anthropic": settings.anthropic_models,
        "gemini": settings.gemini_models,
        "gemini-embeddings": (*settings.gemini_models, *settings.gemini_embedding_models),
        "vertex": settings.gemini_models,
        "vertex-anthropic": settings.anthropic_models,
        "bedrock": settings.bedrock_models,
    } | {dialect.name: others for dialect in OPERATIONS.values()}
