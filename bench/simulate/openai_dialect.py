"""OpenAI chat as a dialect of the provider: keys, models, error answers."""

from __future__ import annotations

from typing import Any, Final

import orjson

from bench.simulate.chat import ChatRequest, Counts
from bench.simulate.dialect import Grammar
from bench.simulate.errors import ApiError, retry_headers
from bench.simulate.openai_chat import (
    SERVER_ERROR,
    OpenAIGrammar,
    error_object,
    unary_body,
    usage_object,
)
from bench.simulate.openai_request import parse_chat_request
from bench.simulate.plan import ChatPlan
from bench.simulate.replies import Request
from engine.wire.http import Headers

CREATED_MODELS: Final = 1_735_689_600

_NO_KEY: Final = (
    "You didn't provide an API key. You need to provide your API key in an Authorization header "
    "using Bearer auth (i.e. Authorization: Bearer YOUR_KEY), or as the password field (with blank "
    "username) if you're accessing the API from your browser and are prompted for a username and "
    "password. You can obtain an API key from https://platform.openai.com/account/api-keys."
)
_STATUS_ERRORS: Final[dict[int, tuple[str, str, str | None]]] = {
    401: ("Incorrect API key provided.", "invalid_request_error", "invalid_api_key"),
    403: ("You are not allowed to sample from this model.", "invalid_request_error", None),
    404: ("The model does not exist.", "invalid_request_error", "model_not_found"),
    429: (
        "Rate limit reached on requests per min (RPM): Limit 500, Used 500, Requested 1.",
        "requests",
        "rate_limit_exceeded",
    ),
    500: (SERVER_ERROR, "server_error", None),
    503: (
        "The engine is currently overloaded, please try again later.",
        "server_error",
        "service_unavailable",
    ),
    529: ("Overloaded", "overloaded_error", "overloaded"),
}


class OpenAIDialect:
    """OpenAI chat."""

    name = "openai"

    def parse(self, request: Request) -> ChatRequest:
        return parse_chat_request(request.body)

    def key_of(self, request: Request) -> bytes | None:
        scheme, _, key = request.headers.get(b"authorization", b"").partition(b" ")
        return key if scheme.lower() == b"bearer" and key else None

    def no_key(self) -> ApiError:
        return ApiError(_NO_KEY, status=401)

    def wrong_key(self, key: bytes) -> ApiError:
        shown = key.decode("latin-1")
        masked = f"{shown[:8]}*****{shown[-4:]}" if len(shown) > 16 else "*****"
        return ApiError(
            f"Incorrect API key provided: {masked}. You can find your API key at "
            "https://platform.openai.com/account/api-keys.",
            status=401,
            code="invalid_api_key",
        )

    def unknown_model(self, model: str) -> ApiError:
        return ApiError(
            f"The model `{model}` does not exist or you do not have access to it.",
            status=404,
            code="model_not_found",
        )

    def status_error(self, status: int, retry_after_s: float | None) -> ApiError:
        return status_error(status, retry_after_s)

    def write_error(
        self, error: ApiError, request: Request, request_id: str
    ) -> tuple[Headers, bytes]:
        body = orjson.dumps(error_object(error), option=orjson.OPT_INDENT_2) + b"\n"
        return [(b"content-type", b"application/json; charset=utf-8"), *error.headers], body

    def headers(self, request_id: str) -> Headers:
        return [
            (b"openai-processing-ms", b"1"),
            (b"openai-version", b"2020-10-01"),
            (b"x-ratelimit-limit-requests", b"10000"),
            (b"x-ratelimit-remaining-requests", b"9999"),
            (b"x-ratelimit-reset-requests", b"6ms"),
            (b"x-request-id", request_id.encode()),
        ]

    def call_id(self, digest: str, *, given: bool) -> str:
        return f"call_{digest[:24]}"

    def sign_reasoning(self, text: str, nonce: bytes) -> str | None:
        return None

    def sign_call(self, name: str, arguments: dict[str, Any], nonce: bytes) -> str | None:
        return None

    def prompt_refused(self) -> ApiError | None:
        return ApiError(
            "Invalid prompt: your prompt was flagged as potentially violating our usage policy. "
            "Please try again with a different prompt.",
            code="invalid_prompt",
        )

    def answer_id(self, instance: str, number: int) -> str:
        return f"chatcmpl-{instance}{number:016x}"

    def stream_type(self, request: ChatRequest) -> bytes:
        return b"text/event-stream; charset=utf-8"

    def usage(self, counts: Counts) -> dict[str, Any]:
        return usage_object(counts)

    def grammar(self, plan: ChatPlan) -> Grammar:
        return OpenAIGrammar(plan)

    def unary(self, plan: ChatPlan, position: int, counts: Counts | None) -> bytes:
        return unary_body(plan, position, counts)

    def count(self, tokens: int) -> dict[str, Any]:
        return {"object": "response.input_tokens", "input_tokens": tokens}

    def model_list(self, models: tuple[str, ...]) -> dict[str, Any]:
        return {"object": "list", "data": [self.model(model) for model in models]}

    def model(self, model: str) -> dict[str, Any]:
        return {
            "id": model,
            "object": "model",
            "created": CREATED_MODELS,
            "owned_by": "parshall-simulator",
        }


def status_error(status: int, retry_after_s: float | None) -> ApiError:
    """The error answer of a status, with Retry-After where a retry may help or where told."""
    message, kind, code = _STATUS_ERRORS.get(
        status,
        (SERVER_ERROR, "server_error", None)
        if status >= 500
        else ("The request was refused.", "invalid_request_error", None),
    )
    headers = retry_headers(status, retry_after_s)
    return ApiError(message, status=status, kind=kind, code=code, headers=headers)
