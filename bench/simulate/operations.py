"""Which endpoint is which dialect, beside chat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bench.simulate.dialect import Dialect
from bench.simulate.embeddings import EmbeddingsDialect
from bench.simulate.moderations import ModerationsDialect
from bench.simulate.rerank import RerankDialect
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
    "/v1/moderations": ModerationsDialect(),
}
"""By the path of its `POST`."""
