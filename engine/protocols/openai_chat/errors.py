"""Errors: a provider's as the client may see them, and ours in OpenAI's shape."""

from __future__ import annotations

from typing import Any

import orjson

from engine.errors import GatewayError, UpstreamRejectedError

# Errors go into receipts, and receipts into the database.
_MESSAGE_MAX_CHARS = 4_096
_CODE_MAX_CHARS = 256


def read_error(
    status: int, body: bytes, retry_after_s: float | None = None
) -> UpstreamRejectedError:
    """A provider's error answer as the client may see it, whatever shape it has.

    The provider's judgement of the operator's own credentials (401, 403) is not the client's
    business: it becomes a 502 without the provider's words.
    """
    if status in (401, 403):
        return UpstreamRejectedError(
            "The provider refused the gateway's credentials; tell the operator.",
            status=502,
            code="upstream_credentials_refused",
        )
    try:
        document: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = None
    if isinstance(document, list) and document:
        document = document[0]
    error = document.get("error", document) if isinstance(document, dict) else None
    fields = error if isinstance(error, dict) else {"message": error}
    message = fields.get("message")
    return UpstreamRejectedError(
        _text(message, _MESSAGE_MAX_CHARS) or f"The provider answered {status}.",
        status=status if 400 <= status <= 599 else 502,
        kind=_text(fields.get("type"))
        or ("invalid_request_error" if status < 500 else "server_error"),
        code=_text(fields.get("code")),
        param=_text(fields.get("param")),
        retry_after_s=retry_after_s,
    )


def _text(value: object, max_chars: int = _CODE_MAX_CHARS) -> str | None:
    return value[:max_chars] if isinstance(value, str) and value else None


def encode_error(error: GatewayError) -> bytes:
    """An error in OpenAI's shape."""
    return orjson.dumps(
        {
            "error": {
                "message": error.message,
                "type": error.kind,
                "param": error.param,
                "code": error.code,
            }
        }
    )
