"""Errors: a provider's as any client may see them, ours as Anthropic's clients expect them."""

from __future__ import annotations

import anthropic
import orjson
import pytest

from engine.errors import (
    AuthenticationError,
    BodyTooLargeError,
    GatewayError,
    InsufficientFundsError,
    InvalidRequestError,
    ModelNotFoundError,
    UnavailableError,
    UpstreamError,
    UpstreamRejectedError,
    UpstreamTimeoutError,
)
from engine.protocols.anthropic import CODEC
from tests.engine.protocols.anthropic import sdk


def body(kind: str, message: str) -> bytes:
    return orjson.dumps({"type": "error", "error": {"type": kind, "message": message}})


@pytest.mark.parametrize(
    ("status", "kind", "message", "expected"),
    [
        (400, "invalid_request_error", "max_tokens: Field required", (400, "upstream_rejected")),
        (
            400,
            "invalid_request_error",
            "prompt is too long: 9 tokens > 8 maximum",
            (400, "context_length_exceeded"),
        ),
        (404, "not_found_error", "model: x", (404, "model_not_found")),
        (404, "not_found_error", "Not Found", (404, "not_found")),
        (413, "request_too_large", "Request too large", (413, "request_too_large")),
        (429, "rate_limit_error", "Too many", (429, "rate_limit_exceeded")),
        (500, "api_error", "Internal server error", (500, "upstream_rejected")),
        (529, "overloaded_error", "Overloaded", (529, "overloaded")),
        (200, "overloaded_error", "Overloaded", (529, "overloaded")),
        (200, "unheard_of", "?", (502, "upstream_rejected")),
    ],
)
def test_a_providers_error(status: int, kind: str, message: str, expected: tuple[int, str]) -> None:
    error = CODEC.read_error(status, body(kind, message), 3.0)
    assert (error.status, error.code) == expected
    assert error.message == message
    assert error.retry_after_s == 3.0


@pytest.mark.parametrize(
    ("status", "kind", "message", "expected"),
    [
        (401, "authentication_error", "invalid x-api-key", 502),
        (403, "permission_error", "Your organization Acme may not", 502),
        (402, "billing_error", "Pay, Acme", 503),
        (200, "billing_error", "Pay, Acme", 503),
        (400, "invalid_request_error", "Your credit balance is too low to access", 503),
    ],
)
def test_the_operators_affairs_stay_with_the_operator(
    status: int, kind: str, message: str, expected: int
) -> None:
    error = CODEC.read_error(status, body(kind, message))
    assert error.status == expected
    assert message not in error.message
    assert "Acme" not in error.message


def test_ids_of_the_operators_are_taken_out_of_messages() -> None:
    words = "Organization 8e3a1b52-1111-2222-3333-444455556666 is over its limit"
    message = CODEC.read_error(429, body("rate_limit_error", words)).message
    assert "8e3a1b52" not in message


@pytest.mark.parametrize("text", [b"", b"<html>", b"[]", b"7", b'{"error":7}', b'{"error":"x"}'])
def test_an_error_of_any_shape_is_an_error(text: bytes) -> None:
    error = CODEC.read_error(503, text)
    assert error.status == 503
    assert error.message in ("The provider answered 503.", "x")


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (InvalidRequestError("x"), 400, "invalid_request_error"),
        (AuthenticationError("x"), 401, "authentication_error"),
        (InsufficientFundsError("x"), 402, "billing_error"),
        (ModelNotFoundError("x"), 404, "not_found_error"),
        (BodyTooLargeError("x"), 413, "request_too_large"),
        (UpstreamRejectedError("x", status=429), 429, "rate_limit_error"),
        (UpstreamRejectedError("x", status=422), 422, "invalid_request_error"),
        (GatewayError("x"), 500, "api_error"),
        (UpstreamError("x"), 502, "api_error"),
        (UnavailableError("x"), 529, "overloaded_error"),
        (UpstreamTimeoutError("x"), 504, "timeout_error"),
    ],
)
def test_our_errors_in_anthropics_shape(error: GatewayError, status: int, kind: str) -> None:
    assert CODEC.error_status(error) == status
    shown = {"type": kind, "message": "x", "code": error.code}
    expected = {"type": "error", "error": shown, "request_id": "req_1"}
    assert orjson.loads(CODEC.encode_error(error, "req_1")) == expected
    ended = CODEC.encode_stream_error(error)
    assert sdk.stream_documents(ended) == [expected | {"request_id": None}]


def test_the_sdk_raises_what_ends_a_stream() -> None:
    import httpx

    transport = httpx.MockTransport(
        lambda _: httpx.Response(
            200,
            headers={"content-type": "text/event-stream"},
            content=CODEC.encode_stream_error(UnavailableError("busy")),
        )
    )
    with (
        httpx.Client(transport=transport) as http,
        anthropic.Anthropic(api_key="k", http_client=http, max_retries=0) as client,
    ):
        stream = client.messages.create(
            model="m", max_tokens=1, messages=[{"role": "user", "content": "x"}], stream=True
        )
        with pytest.raises(anthropic.APIStatusError, match="busy"):
            list(stream)
