"""The closed schema of OpenAI chat requests, from the SDK's types."""

from __future__ import annotations

from typing import Any

from openai.types.chat.completion_create_params import (
    CompletionCreateParamsNonStreaming,
    CompletionCreateParamsStreaming,
)

from tests.schemas.closed import Schema

_WHOLE = Schema(CompletionCreateParamsNonStreaming)
_STREAM = Schema(CompletionCreateParamsStreaming)


def problems(body: dict[str, Any]) -> list[str]:
    """What the API would not know in a request."""
    return (_STREAM if body.get("stream") else _WHOLE).problems(body)
