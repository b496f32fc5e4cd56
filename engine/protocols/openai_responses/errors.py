"""Errors in this protocol: OpenAI's shape, and the two events that end a failed stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from engine.errors import GatewayError, UpstreamRejectedError
from engine.protocols import openai_shared
from engine.protocols.fields import dict_of
from engine.protocols.openai_shared import error_object, error_status, read_error

__all__ = ["FIELD_NAMES", "encode_error", "error_status", "failure", "read_error", "read_failure"]

FIELD_NAMES: Mapping[str, str] = {
    "turns": "input",
    "turns.system": "input.system",
    "turns.reasoning": "input.reasoning",
    "choices": "n",
    "output_format": "text.format",
    "verbosity": "text.verbosity",
    "top_logprobs": "include",
    "end_user": "safety_identifier",
    "cache": "prompt_cache_breakpoint",
}
"""`Conversation`'s fields in this protocol's spelling."""

# Failures inside an answer have a code and no status.
_STATUSES = {
    "rate_limit_exceeded": 429,
    "tokens": 429,
    "requests": 429,
    "context_length_exceeded": 400,
    "invalid_prompt": 400,
    "image_content_policy_violation": 400,
}
# What `response.failed` may say of a failure; its own codes are a short list.
_SERVER_ERROR = "server_error"
_RATE_LIMITED = "rate_limit_exceeded"
_TOO_MANY = 429


def encode_error(error: GatewayError, request_id: str | None = None) -> bytes:
    """An error in OpenAI's shape, which has no place for the id of a request."""
    return openai_shared.encode_error(error, FIELD_NAMES)


def read_failure(document: Mapping[str, Any]) -> UpstreamRejectedError:
    """What an `error` event says, nested or flat, or a response that has failed."""
    error = document.get("error") or dict_of(document.get("response")).get("error") or document
    code = dict_of(error).get("code")
    status = _STATUSES.get(code, 200) if isinstance(code, str) else 200
    return read_error(status, orjson.dumps({"error": error}))


def failure(error: GatewayError) -> dict[str, str]:
    """`error` of a response that has failed."""
    code = _RATE_LIMITED if error.status == _TOO_MANY else _SERVER_ERROR
    return {"code": code, "message": error.message}


def error_event(error: GatewayError) -> dict[str, Any]:
    """The `error` of an `error` event. Nested, as OpenAI sends it: its SDK raises an APIError for
    it, which it does not for the flat form that its types declare."""
    return error_object(error, FIELD_NAMES)
