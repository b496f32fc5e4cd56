"""Errors: a provider's as the client may see them, and ours in OpenAI's shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from engine.errors import GatewayError, UpstreamRejectedError
from engine.protocols.codec import InexpressibleError, spell
from engine.protocols.fields import load_json
from engine.protocols.scrub import is_bad_key, is_out_of_funds, scrub

# Errors go into receipts, and receipts into the database.
_MESSAGE_MAX_CHARS = 4_096
_CODE_MAX_CHARS = 256

_OVERLOADED = 529
"""Anthropic's own status, which clients of other protocols do not know."""


def read_error(
    status: int, body: bytes, retry_after_s: float | None = None
) -> UpstreamRejectedError:
    """A provider's error answer as the client may see it, whatever shape it has.

    The provider's judgement of the operator's own credentials (401, 403, and what others say in a
    400) and account is not the client's business: it becomes a 502 or 503 without the provider's
    words. An error inside a 200 has the status of its numeric code (OpenRouter, Groq), or 502.
    """
    fields = _error_fields(body)
    message = _text(fields.get("message"), 2 * _MESSAGE_MAX_CHARS)
    if status < 400:
        status = _status_of(fields)
    code = _text(fields.get("code"))
    kind = _text(fields.get("type"))
    if status in (401, 403) or code == "invalid_api_key" or is_bad_key(message):
        return UpstreamRejectedError(
            "The provider refused the gateway's credentials; tell the operator.",
            status=502,
            code="upstream_credentials_refused",
        )
    if status == 402 or is_out_of_funds(code, message) or is_out_of_funds(kind, None):
        return UpstreamRejectedError(
            "The gateway's account at the provider is used up; tell the operator.",
            status=503,
            code="upstream_account_exhausted",
            retry_after_s=retry_after_s,
        )
    return UpstreamRejectedError(
        scrub(message)[:_MESSAGE_MAX_CHARS] if message else f"The provider answered {status}.",
        status=status if 400 <= status <= 599 else 502,
        kind=kind or ("invalid_request_error" if status < 500 else "server_error"),
        code=code,
        param=_text(fields.get("param")),
        retry_after_s=retry_after_s,
    )


def _error_fields(body: bytes) -> dict[str, Any]:
    """The error's fields: it may be an object, a string, a list of one, or absent."""
    try:
        document = load_json(body)
    except ValueError:
        document = None
    if isinstance(document, list) and document:
        document = document[0]
    if not isinstance(document, dict):
        return {}
    error = document.get("error", document)
    if isinstance(error, dict):
        return error if "message" in error else error | {"message": error.get("detail")}
    # xAI: `{"code": "invalid-argument", "error": "words"}`
    return {"message": error, "code": document.get("code")}


def _status_of(fields: dict[str, Any]) -> int:
    for name in ("status_code", "code", "status"):
        value = fields.get(name)
        if isinstance(value, int) and 400 <= value <= 599:
            return value
    return 502


def _text(value: object, max_chars: int = _CODE_MAX_CHARS) -> str | None:
    return value[:max_chars] if isinstance(value, str) and value else None


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


def error_status(error: GatewayError) -> int:
    """The HTTP status that this protocol's clients expect of an error."""
    return 503 if error.status == _OVERLOADED else error.status


def encode_error(error: GatewayError, request_id: str | None = None) -> bytes:
    """An error in OpenAI's shape, which has no place for the id of a request."""
    param = (
        spell(error.field, FIELD_NAMES) if isinstance(error, InexpressibleError) else error.param
    )
    return orjson.dumps(
        {
            "error": {
                "message": error.message,
                "type": error.kind,
                "param": param,
                "code": error.code,
            }
        }
    )
