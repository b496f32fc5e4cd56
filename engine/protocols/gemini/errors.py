"""Errors: a provider's as any client may see them, and ours in Gemini's shape.

Source: google.rpc's codes and error details; google-genai reads `code`, `message` and `status`,
raises `ClientError` for every 4xx, and takes a chunk of a stream for an error if `error` is its
first key and its `code` a number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from engine.errors import PARAM_MAX_CHARS, GatewayError, UpstreamRejectedError
from engine.protocols.codec import InexpressibleError, spell
from engine.protocols.fields import dict_of, dicts, load_json, text_of
from engine.protocols.gemini.chunks import EVENT_END, SEPARATOR
from engine.protocols.scrub import is_bad_key, is_out_of_funds, scrub

# Errors go into receipts, and receipts into the database.
_MESSAGE_MAX_CHARS = 4_096
_DELAY = re.compile(r"(\d{1,6}(?:\.\d{1,9})?)s")
_TOO_LONG = re.compile(r"(?i)token count .{0,40}exceeds")
_OF_MODELS = ("models/", "Publisher Model", "Publisher model")
"""How Google's words begin where a model is not there; else it is a cache or a file that is not."""
_OF_FILE = re.compile(r"(?i)permission to access the file \S{1,128} or it may not exist")
"""A 403 that says nothing of the key: a file of the request is not there, or not any more."""
_BILLING = re.compile(r"(?i)\bbilling (?:account|to be enabled|is disabled|has not been enabled)")

_KINDS: Mapping[int, tuple[str, str]] = {
    400: ("invalid_request_error", "invalid_request"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("rate_limit_error", "rate_limit_exceeded"),
    499: ("server_error", "cancelled"),
    500: ("server_error", "internal_error"),
    503: ("server_error", "overloaded"),
    504: ("server_error", "upstream_timeout"),
}
"""`kind` and `code` of a provider's error, by its status."""

_STATUSES: Mapping[int, str] = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "FAILED_PRECONDITION",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    416: "OUT_OF_RANGE",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
    507: "RESOURCE_EXHAUSTED",
}

_OVERLOADED = 529
"""Anthropic's own status, which clients of other protocols do not know."""


def read_error(
    status: int, body: bytes, retry_after_s: float | None = None
) -> UpstreamRejectedError:
    """A provider's error answer as the client may see it, whatever shape it has.

    A wrong key is a 400 here (`API_KEY_INVALID`). The provider's judgement of the operator's key
    and account is not the client's business: it becomes a 502 or 503 without the provider's words,
    and a rate limit says none either, since they name the operator's plan and project. An error
    inside a 200 has the status of its numeric code, or 502.
    """
    error = _error_of(body)
    message = text_of(error.get("message"))[: 2 * _MESSAGE_MAX_CHARS]
    details = list(dicts(error.get("details")))
    if status < 400:
        code = error.get("code")
        status = code if isinstance(code, int) and 400 <= code <= 599 else 502
    if status == 403 and _OF_FILE.search(message):
        status = 404
    bad_key = any(text_of(detail.get("reason")).startswith("API_KEY_") for detail in details)
    if status in (401, 403) or bad_key or is_bad_key(message):
        return UpstreamRejectedError(
            "The provider refused the gateway's credentials; tell the operator.",
            status=502,
            code="upstream_credentials_refused",
        )
    if status == 402 or is_out_of_funds(None, message) or _BILLING.search(message):
        return UpstreamRejectedError(
            "The gateway's account at the provider is used up; tell the operator.",
            status=503,
            code="upstream_account_exhausted",
            retry_after_s=retry_after_s,
        )
    kind, code_name = _KINDS.get(
        status, ("invalid_request_error", "") if status < 500 else ("server_error", "")
    )
    if status == 429:
        message = "The provider's rate limit is reached; try again later."
    elif status == 400 and _TOO_LONG.search(message):
        code_name = "context_length_exceeded"
    elif status == 404 and not message.startswith(_OF_MODELS):
        code_name = "not_found"
    return UpstreamRejectedError(
        scrub(message)[:_MESSAGE_MAX_CHARS] or f"The provider answered {status}.",
        status=status if 400 <= status <= 599 else 502,
        kind=kind,
        code=code_name or None,
        param=_violated(details),
        retry_after_s=retry_after_s if retry_after_s is not None else _retry_delay_s(details),
    )


def _error_of(body: bytes) -> dict[str, Any]:
    """The error's fields: it may be an object, in a list of one, a string, or absent."""
    try:
        document = load_json(body)
    except ValueError:
        return {}
    if isinstance(document, list) and document:
        document = document[0]
    error = dict_of(document).get("error")
    return error if isinstance(error, dict) else {"message": error}


def _retry_delay_s(details: list[dict[str, Any]]) -> float | None:
    """`RetryInfo.retryDelay`, e.g. `34.4s`."""
    for detail in details:
        if match := _DELAY.fullmatch(text_of(detail.get("retryDelay"))):
            return float(match[1])
    return None


def _violated(details: list[dict[str, Any]]) -> str | None:
    """The first field that `BadRequest` names."""
    for detail in details:
        for violation in dicts(detail.get("fieldViolations")):
            if field := text_of(violation.get("field")):
                return field[:256]
    return None


FIELD_NAMES: Mapping[str, str] = {
    "turns": "contents",
    "turns.system": "systemInstruction",
    "turns.reasoning": "contents.parts.thought",
    "turns.name": "contents.role",
    "choices": "generationConfig.candidateCount",
    "max_output_tokens": "generationConfig.maxOutputTokens",
    "temperature": "generationConfig.temperature",
    "top_p": "generationConfig.topP",
    "top_k": "generationConfig.topK",
    "stop": "generationConfig.stopSequences",
    "seed": "generationConfig.seed",
    "presence_penalty": "generationConfig.presencePenalty",
    "frequency_penalty": "generationConfig.frequencyPenalty",
    "top_logprobs": "generationConfig.responseLogprobs",
    "reasoning": "generationConfig.thinkingConfig",
    "output_format": "generationConfig.responseMimeType",
    "modalities": "generationConfig.responseModalities",
    "image": "generationConfig.imageConfig",
    "tool_choice": "toolConfig.functionCallingConfig",
    "metadata": "labels",
    "service_tier": "serviceTier",
}
"""`Conversation`'s fields in this protocol's spelling."""


def error_status(error: GatewayError) -> int:
    """The HTTP status that this protocol's clients expect of an error.

    A key that we do not know stays 401 where Google says 400: google-genai raises `ClientError`
    with the code for both, and 401 is what other tools look for.
    """
    return 503 if error.status == _OVERLOADED else error.status


def _details(error: GatewayError, request_id: str | None) -> Iterator[dict[str, Any]]:
    """google.rpc's error details: what this protocol's error object has no field for."""
    types = "type.googleapis.com/google.rpc."
    yield {"@type": f"{types}ErrorInfo", "reason": error.code.upper(), "domain": "parshall"}
    param = (
        spell(error.field, FIELD_NAMES) if isinstance(error, InexpressibleError) else error.param
    )
    if param is not None:
        violation = {"field": param[:PARAM_MAX_CHARS], "description": error.message}
        yield {"@type": f"{types}BadRequest", "fieldViolations": [violation]}
    if error.retry_after_s is not None:
        yield {"@type": f"{types}RetryInfo", "retryDelay": f"{error.retry_after_s:.3f}s"}
    if request_id is not None:
        yield {"@type": f"{types}RequestInfo", "requestId": request_id}


def encode_error(error: GatewayError, request_id: str | None = None) -> bytes:
    """An error in Gemini's shape."""
    status = error_status(error)
    fallback = "INVALID_ARGUMENT" if status < 500 else "INTERNAL"
    return orjson.dumps(
        {
            "error": {
                "code": status,
                "message": error.message,
                "status": _STATUSES.get(status, fallback),
                "details": list(_details(error, request_id)),
            }
        }
    )


def encode_stream_error(error: GatewayError, *, array: bool = False) -> bytes:
    """The ending of a stream that has failed: a chunk that is an error."""
    if array:
        return SEPARATOR + encode_error(error) + b"]"
    return b"data: " + encode_error(error) + EVENT_END
