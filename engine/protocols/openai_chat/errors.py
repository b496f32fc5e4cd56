"""Errors in this protocol: OpenAI's shape, with its names of what is at fault."""

from __future__ import annotations

from collections.abc import Mapping

from engine.errors import GatewayError
from engine.protocols import openai_shared
from engine.protocols.openai_shared import error_status, read_error

__all__ = ["FIELD_NAMES", "encode_error", "error_status", "read_error"]

FIELD_NAMES: Mapping[str, str] = {
    "turns": "messages",
    "turns.system": "messages.system",
    "turns.reasoning": "messages.reasoning_content",
    "choices": "n",
    "max_output_tokens": "max_completion_tokens",
    "output_format": "response_format",
    "reasoning": "reasoning_effort",
    "end_user": "user",
    "cache": "prompt_cache_breakpoint",
}
"""`Conversation`'s fields in this protocol's spelling."""


def encode_error(error: GatewayError, request_id: str | None = None) -> bytes:
    """An error in OpenAI's shape, which has no place for the id of a request."""
    return openai_shared.encode_error(error, FIELD_NAMES)
