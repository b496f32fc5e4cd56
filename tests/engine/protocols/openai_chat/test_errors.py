"""Errors: a provider's as clients see them, and ours in OpenAI's shape."""

from __future__ import annotations

import orjson
import pytest

from engine.errors import GatewayError, UpstreamRejectedError
from engine.protocols.codec import InexpressibleError
from engine.protocols.openai_chat import CODEC


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error":{"message":"too long","type":"t","code":"c","param":"p"}}', "too long"),
        (b'{"error":"a string"}', "a string"),
        (b'[{"error":{"message":"in a list"}}]', "in a list"),
        (b'{"message":"bare","type":"t"}', "bare"),
        (b'{"detail":"of FastAPI"}', "of FastAPI"),
        (b'{"code":"invalid-argument","error":"of xAI"}', "of xAI"),
        (b"<html>", "The provider answered 400."),
        (b"", "The provider answered 400."),
        (b"[]", "The provider answered 400."),
        (b'{"error":null}', "The provider answered 400."),
    ],
)
def test_errors_of_any_shape_are_read(body: bytes, message: str) -> None:
    error = CODEC.read_error(400, body)
    assert (error.message, error.status) == (message, 400)


def test_the_fields_of_an_error_are_kept() -> None:
    body = b'{"error":{"message":"too long","type":"t","code":"c","param":"p"}}'
    error = CODEC.read_error(429, body, 3.5)
    assert (error.kind, error.code, error.param, error.retry_after_s) == ("t", "c", "p", 3.5)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, b'{"error":{"message":"Incorrect key sk-secret"}}'),
        (403, b"{}"),
        (400, b'{"code":"invalid","error":"Incorrect API key provided: sk-secret"}'),
        (400, b'{"error":{"message":"bad","code":"invalid_api_key"}}'),
        (200, b'{"error":{"message":"no","code":401}}'),
    ],
)
def test_the_operators_credentials_are_not_the_clients_business(status: int, body: bytes) -> None:
    error = CODEC.read_error(status, body)
    assert (error.status, error.code) == (502, "upstream_credentials_refused")
    assert "secret" not in error.message


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (429, b'{"error":{"message":"You exceeded it","code":"insufficient_quota"}}'),
        (429, b'{"error":{"message":"You exceeded it","type":"insufficient_quota"}}'),
        (402, b'{"error":{"message":"Insufficient Balance"}}'),
    ],
)
def test_the_operators_account_is_not_the_clients_business(status: int, body: bytes) -> None:
    error = CODEC.read_error(status, body)
    assert (error.status, error.code) == (503, "upstream_account_exhausted")
    assert "xceeded" not in error.message


def test_what_a_message_says_of_the_operator_is_taken_out() -> None:
    body = b'{"error":{"message":"Limit reached for gpt-4o in organization org-Abc123 on tokens"}}'
    message = CODEC.read_error(429, body).message
    assert message == "Limit reached for gpt-4o in organization [organization] on tokens"


def test_an_error_within_a_200_has_the_status_it_names() -> None:
    assert CODEC.read_error(200, b'{"error":{"message":"slow down","code":429}}').status == 429
    assert CODEC.read_error(200, b'{"error":{"message":"?","status_code":400}}').status == 400
    assert CODEC.read_error(200, b'{"error":{"message":"?"}}').status == 502


def test_errors_are_written_in_openais_shape() -> None:
    error = GatewayError("it broke", param="x")
    assert orjson.loads(CODEC.encode_error(error, "req_1")) == {
        "error": {
            "message": "it broke",
            "type": "server_error",
            "param": "x",
            "code": "internal_error",
        }
    }
    ending = CODEC.encode_stream_error(error)
    assert ending == b"data: " + CODEC.encode_error(error) + b"\n\n"


def test_fields_are_spelled_as_openai_does() -> None:
    error = InexpressibleError("max_output_tokens", "too many")
    assert orjson.loads(CODEC.encode_error(error))["error"]["param"] == "max_completion_tokens"


def test_anthropics_own_status_is_unknown_here() -> None:
    assert CODEC.error_status(UpstreamRejectedError("Overloaded", status=529)) == 503
    assert CODEC.error_status(UpstreamRejectedError("?", status=422)) == 422
