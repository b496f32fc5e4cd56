"""Errors: a provider's as clients may see them, ours in Gemini's shape."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from google.genai import errors

from engine.errors import (
    AuthenticationError,
    GatewayError,
    InsufficientFundsError,
    InvalidRequestError,
    MethodNotAllowedError,
    ModelNotFoundError,
    UnavailableError,
    UpstreamError,
    UpstreamRejectedError,
    UpstreamTimeoutError,
)
from engine.protocols.codec import InexpressibleError, spell
from engine.protocols.gemini import CODEC
from tests import recordings
from tests.engine.protocols.gemini import sdk


def read(
    http_status: int, retry_after_s: float | None = None, **error: Any
) -> UpstreamRejectedError:
    return CODEC.read_error(http_status, orjson.dumps({"error": error}), retry_after_s)


RPC = "type.googleapis.com/google.rpc."
BAD_KEY = {"@type": f"{RPC}ErrorInfo", "reason": "API_KEY_INVALID"}


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        (401, {"message": "operator's words"}),
        (403, {"message": "operator's words", "status": "PERMISSION_DENIED"}),
        (400, {"message": "operator's words", "details": [BAD_KEY]}),
        (400, {"message": "API key not valid. operator's words"}),
        (200, {"code": 403, "message": "operator's words"}),
    ],
)
def test_the_operators_key_is_his_own_business(status: int, fields: dict[str, Any]) -> None:
    error = read(status, **fields)
    assert (error.status, error.code) == (502, "upstream_credentials_refused")
    assert "operator's words" not in error.message


@pytest.mark.parametrize(
    "message",
    ["This API requires billing to be enabled on project 123.", "Payment required."],
)
def test_the_operators_account_is_too(message: str) -> None:
    error = read(400, message=message)
    assert (error.status, error.code) == (503, "upstream_account_exhausted")
    assert "project" not in error.message


def test_a_rate_limit() -> None:
    details = [{"@type": f"{RPC}RetryInfo", "retryDelay": "34.4s"}]
    error = read(429, message="You exceeded your plan's quota.", details=details)
    assert (error.status, error.code, error.kind) == (
        429,
        "rate_limit_exceeded",
        "rate_limit_error",
    )
    assert error.retry_after_s == 34.4
    assert "plan" not in error.message
    assert read(429, 2.0, details=details).retry_after_s == 2.0


def test_what_the_client_did() -> None:
    field = {"fieldViolations": [{"field": "contents"}]}
    error = read(400, message="Bad value at projects/my-project-1.", details=[field])
    assert (error.status, error.kind, error.param) == (400, "invalid_request_error", "contents")
    assert "my-project" not in error.message
    long = read(400, message="The input token count (9) exceeds the maximum (8).")
    assert long.code == "context_length_exceeded"
    assert read(404, message="models/x is not found").code == "model_not_found"
    assert read(404, message="Not found: cached content metadata for 7.").code == "not_found"


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"[1]", b"null", b'{"error":"words"}', b'{"error":[]}', b"\xff"],
)
@pytest.mark.parametrize(("status", "expected"), [(200, 502), (418, 418), (503, 503), (999, 502)])
def test_any_body(body: bytes, status: int, expected: int) -> None:
    error = CODEC.read_error(status, body)
    assert error.status == expected
    assert error.message


def test_an_error_in_a_list() -> None:
    body = orjson.dumps([{"error": {"code": 404, "message": "gone"}}])
    error = CODEC.read_error(200, body)
    assert (error.status, error.message) == (404, "gone")


ERRORS: list[tuple[GatewayError, int, str]] = [
    (InvalidRequestError("no", param="contents"), 400, "INVALID_ARGUMENT"),
    (AuthenticationError("no"), 401, "UNAUTHENTICATED"),
    (InsufficientFundsError("no"), 402, "FAILED_PRECONDITION"),
    (ModelNotFoundError("no"), 404, "NOT_FOUND"),
    (MethodNotAllowedError("no"), 405, "UNIMPLEMENTED"),
    (UpstreamRejectedError("no", status=429, retry_after_s=1.5), 429, "RESOURCE_EXHAUSTED"),
    (UpstreamRejectedError("no", status=418), 418, "INVALID_ARGUMENT"),
    (UpstreamRejectedError("no", status=529), 503, "UNAVAILABLE"),
    (GatewayError("no"), 500, "INTERNAL"),
    (UpstreamError("no"), 502, "UNAVAILABLE"),
    (UnavailableError("no"), 503, "UNAVAILABLE"),
    (UpstreamTimeoutError("no"), 504, "DEADLINE_EXCEEDED"),
    (UpstreamRejectedError("no", status=599), 599, "INTERNAL"),
]


@pytest.mark.parametrize(("error", "status", "name"), ERRORS, ids=[str(e[1]) for e in ERRORS])
def test_the_sdk_raises_them(error: GatewayError, status: int, name: str) -> None:
    assert CODEC.error_status(error) == status
    body = CODEC.encode_error(error, "req_1")
    with sdk.answered(body, status) as client, pytest.raises(errors.APIError) as caught:
        client.models.generate_content(model="m", contents="hello")
    assert (caught.value.code, caught.value.status, caught.value.message) == (status, name, "no")


def test_details() -> None:
    error = InexpressibleError("top_k", "no", code="not_here")
    details = orjson.loads(CODEC.encode_error(error, "req_1"))["error"]["details"]
    assert [detail["@type"].removeprefix(RPC) for detail in details] == [
        "ErrorInfo",
        "BadRequest",
        "RequestInfo",
    ]
    assert details[0]["reason"] == "NOT_HERE"
    assert details[1]["fieldViolations"][0]["field"] == "generationConfig.topK"
    retry = UpstreamRejectedError("no", status=429, retry_after_s=1.5)
    assert orjson.loads(CODEC.encode_error(retry))["error"]["details"][1]["retryDelay"] == "1.500s"


def test_field_names() -> None:
    names = CODEC.field_names
    assert spell("turns.system", names) == "systemInstruction"
    assert spell("turns[1].parts[2]", names) == "contents"


FOLDERS = (
    "gemini-generateContent",
    "gemini-streamGenerateContent",
    "gemini-countTokens",
    "vertex-generateContent",
)


@pytest.mark.parametrize("folder", FOLDERS)
def test_recorded_errors(folder: str) -> None:
    names = [name for name in recordings.names(folder) if isinstance(name, str)]
    if not names:
        pytest.skip("no recordings")
    failed = [r for r in map(recordings.load, names) if r.status >= 400]
    assert failed
    for recording in failed:
        error = CODEC.read_error(recording.status, recording.body)
        assert error.status in (400, 404, 429, 502), recording.name
        assert "key" not in error.message.lower(), recording.name
