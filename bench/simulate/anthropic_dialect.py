"""Anthropic messages as a dialect of the provider: keys, models, error answers."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import parse_qs

import orjson

from bench.simulate.anthropic_messages import AnthropicGrammar, message_body, usage_object
from bench.simulate.anthropic_request import parse_messages_request
from bench.simulate.chat import ChatRequest, Counts
from bench.simulate.errors import ApiError, retry_headers
from bench.simulate.plan import ChatPlan
from bench.simulate.replies import Request
from bench.simulate.signatures import THINKING, Signer
from engine.wire.http import Headers

CREATED_AT: Final = "2025-01-01T00:00:00Z"
_STATUS_ERRORS: Final[dict[int, tuple[str, str]]] = {
    400: ("invalid_request_error", "The request was refused."),
    401: ("authentication_error", "invalid x-api-key"),
    402: ("billing_error", "Your credit balance is too low to access the API."),
    403: ("permission_error", "Your API key does not have permission to use the resource."),
    404: ("not_found_error", "Not found"),
    413: ("request_too_large", "Request exceeds the maximum size"),
    429: ("rate_limit_error", "This request would exceed your account's rate limit."),
    500: ("api_error", "Internal server error"),
    504: ("timeout_error", "The request timed out."),
    529: ("overloaded_error", "Overloaded"),
}


class AnthropicDialect:
    """Anthropic messages."""

    name = "anthropic"

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    def parse(self, request: Request) -> ChatRequest:
        counting = request.path.endswith("/count_tokens")
        beta = parse_qs(request.query).get("beta") == ["true"]
        return parse_messages_request(
            request.body, request.headers, self._signer, beta=beta, counting=counting
        )

    def key_of(self, request: Request) -> bytes | None:
        key = request.headers.get(b"x-api-key")
        if key:
            return key
        scheme, _, token = request.headers.get(b"authorization", b"").partition(b" ")
        return token if scheme.lower() == b"bearer" and token else None

    def no_key(self) -> ApiError:
        return ApiError("x-api-key header is required", status=401)

    def wrong_key(self, key: bytes) -> ApiError:
        return ApiError("invalid x-api-key", status=401)

    def unknown_model(self, model: str) -> ApiError:
        return ApiError(f"model: {model}", status=404)

    def status_error(self, status: int, retry_after_s: float | None) -> ApiError:
        fallback = _STATUS_ERRORS[500 if status >= 500 else 400]
        kind, message = _STATUS_ERRORS.get(status, fallback)
        headers = retry_headers(status, retry_after_s)
        return ApiError(message, status=status, kind=kind, headers=headers)

    def write_error(
        self, error: ApiError, request: Request, request_id: str
    ) -> tuple[Headers, bytes]:
        fallback = _STATUS_ERRORS[500 if error.status >= 500 else 400]
        kind = error.kind or _STATUS_ERRORS.get(error.status, fallback)[0]
        body = {
            "type": "error",
            "error": {"type": kind, "message": error.message},
            "request_id": request_id,
        }
        return [(b"content-type", b"application/json"), *error.headers], orjson.dumps(body)

    def headers(self, request_id: str) -> Headers:
        return [
            (b"anthropic-ratelimit-requests-limit", b"4000"),
            (b"anthropic-ratelimit-requests-remaining", b"3999"),
            (b"anthropic-organization-id", b"00000000-0000-4000-8000-000000000000"),
            (b"request-id", request_id.encode()),
        ]

    def call_id(self, digest: str, *, given: bool) -> str:
        return f"toolu_01{digest[:22]}"

    def sign_reasoning(self, text: str, nonce: bytes) -> str | None:
        return self._signer.sign(nonce, THINKING, text.encode())

    def sign_call(self, name: str, arguments: dict[str, Any], nonce: bytes) -> str | None:
        return None

    def prompt_refused(self) -> ApiError | None:
        return None

    def answer_id(self, instance: str, number: int) -> str:
        return f"msg_01{instance}{number:010x}"

    def stream_type(self, request: ChatRequest) -> bytes:
        return b"text/event-stream; charset=utf-8"

    def usage(self, counts: Counts) -> dict[str, Any]:
        return usage_object(counts)

    def grammar(self, plan: ChatPlan) -> AnthropicGrammar:
        counts = plan.counts(0)
        return AnthropicGrammar(plan, None if counts is None else usage_object(counts))

    def unary(self, plan: ChatPlan, position: int, counts: Counts | None) -> bytes:
        return message_body(plan, position, counts)

    def count(self, tokens: int) -> dict[str, Any]:
        return {"input_tokens": tokens}

    def model_list(self, models: tuple[str, ...]) -> dict[str, Any]:
        return {
            "data": [self.model(model) for model in models],
            "has_more": False,
            "first_id": models[0] if models else None,
            "last_id": models[-1] if models else None,
        }

    def model(self, model: str) -> dict[str, Any]:
        return {
            "type": "model",
            "id": model,
            "display_name": model,
            "created_at": CREATED_AT,
            "max_input_tokens": 200_000,
            "max_tokens": 64_000,
        }
