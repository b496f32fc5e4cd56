"""Errors: a provider's as any client may see them, and ours in Anthropic's shape."""

from __future__ import annotations

from typing import Any

import orjson

from engine.errors import GatewayError, UpstreamRejectedError
from engine.protocols.fields import dict_of, load_json, text_of
from engine.protocols.scrub import is_bad_key, is_out_of_funds, scrub

# Errors go into receipts, and receipts into the database.
_MESSAGE_MAX_CHARS = 4_096
_TYPE_MAX_CHARS = 256

_OVERLOADED = 529

_STATUS_OF_TYPE = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": _OVERLOADED,
}
"""The SDK's `ErrorType`, with the statuses of docs.claude.com/en/api/errors."""

_TYPE_OF_STATUS = {status: name for name, status in _STATUS_OF_TYPE.items()} | {
    503: "overloaded_error",
    408: "timeout_error",
}

_BEDROCK_STATUSES = {408: 504, 424: 502}
"""Its ModelTimeoutException and ModelErrorException are no fault of the client's; Anthropic itself
has neither status."""

_TOO_LONG = ("prompt is too long", "Input is too long")
"""Anthropic's words, and Bedrock's."""

_CODES = {
    404: "model_not_found",
    413: "request_too_large",
    429: "rate_limit_exceeded",
    _OVERLOADED: "overloaded",
}
"""Codes that clients of protocols with a code know; Anthropic's own errors have none."""


def read_error(
    status: int, body: bytes, retry_after_s: float | None = None
) -> UpstreamRejectedError:
    """A provider's error answer, or the data of an `error` event, as any client may see it.

    The judgement of the operator's credentials and account is not the client's business: it
    becomes a 502 or 503 without the provider's words. Inside a 200 the error's type is its status.
    A cloud's own errors have other shapes: Google's for a stream is a list of one.
    """
    try:
        document: Any = load_json(body)
    except ValueError:
        document = None
    if isinstance(document, list) and document:
        document = document[0]
    error = document.get("error", document) if isinstance(document, dict) else None
    fields = dict_of(error)
    message = text_of(error) or text_of(fields.get("message"))
    kind = text_of(fields.get("type"))[:_TYPE_MAX_CHARS]
    if status < 400:
        status = _STATUS_OF_TYPE.get(kind, 502)
    status = _BEDROCK_STATUSES.get(status, status)
    if status in (401, 403) or is_bad_key(message):
        return UpstreamRejectedError(
            "The provider refused the gateway's credentials; tell the operator.",
            status=502,
            code="upstream_credentials_refused",
        )
    if status == 402 or kind == "billing_error" or is_out_of_funds(kind, message):
        return UpstreamRejectedError(
            "The gateway's account at the provider is used up; tell the operator.",
            status=503,
            code="upstream_account_exhausted",
            retry_after_s=retry_after_s,
        )
    return UpstreamRejectedError(
        scrub(message)[:_MESSAGE_MAX_CHARS] or f"The provider answered {status}.",
        status=status if 400 <= status <= 599 else 502,
        kind=_kind(status),
        code=_code(status, message),
        retry_after_s=retry_after_s,
    )


def _kind(status: int) -> str:
    if status == 429:
        return "rate_limit_error"
    return "invalid_request_error" if status < 500 else "server_error"


def _code(status: int, message: str) -> str | None:
    if status == 400 and message.startswith(_TOO_LONG):
        return "context_length_exceeded"
    if status == 404 and not message.startswith(("model:", "Publisher Model")):
        return "not_found"
    return _CODES.get(status)


def error_status(error: GatewayError) -> int:
    """The HTTP status: Anthropic has 529 for what others call 503."""
    return _OVERLOADED if error.status == 503 else error.status


def error_type(status: int) -> str:
    """Anthropic's `error.type` of a status."""
    fallback = "api_error" if status >= 500 else "invalid_request_error"
    return _TYPE_OF_STATUS.get(status, fallback)


def encode_error(error: GatewayError, request_id: str | None = None) -> bytes:
    """An error in Anthropic's shape, which has no place for a parameter. `code` is our own field:
    the SDKs pass on what they do not know."""
    return orjson.dumps(
        {
            "type": "error",
            "error": {
                "type": error_type(error.status),
                "message": error.message,
                "code": error.code,
            },
            "request_id": request_id,
        }
    )


def encode_stream_error(error: GatewayError) -> bytes:
    """The `error` event that ends a stream; no `message_stop` follows it."""
    return b"event: error\ndata: " + encode_error(error) + b"\n\n"
