"""Errors of the hosts that speak OpenAI's protocol, as clients of each protocol are told of them.

Bodies are recorded ones, or quoted by users in the trackers of public projects.
"""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import UpstreamRejectedError
from engine.protocols.error_shapes import ErrorShape, read_shape
from engine.protocols.registry import codec_of, provider_codec
from tests import recordings
from tests.gateways import PROTOCOLS
from tests.recordings import RECORDINGS

CREDENTIALS = "upstream_credentials_refused"
FORBIDDEN = "Extra inputs are not permitted"
EXTRA = {"type": "extra_forbidden", "msg": FORBIDDEN, "input": "the client's own words"}
OPTIONS = EXTRA | {"loc": ["body", "stream_options", "include_usage"]}

# status, body; status, code, param and message for the client
TOLD: dict[str, tuple[int, Any, int, str, str | None, str]] = {
    "mistral-detail": (401, {"detail": "Unauthorized"}, 502, CREDENTIALS, None, "credentials"),
    "mistral-flat": (
        401,
        {"message": "Unauthorized", "request_id": "9"},
        502,
        CREDENTIALS,
        None,
        "",
    ),
    "mistral-extra": (
        422,
        {"object": "error", "message": {"detail": [OPTIONS]}, "type": "invalid_request_error"},
        422,
        "upstream_rejected",
        "stream_options.include_usage",
        f"stream_options.include_usage: {FORBIDDEN}",
    ),
    "mistral-lists": (
        422,
        {"object": "Error", "detail": [EXTRA], "message": [EXTRA | {"loc": ["body", "tools"]}]},
        422,
        "upstream_rejected",
        "tools",
        f"tools: {FORBIDDEN}",
    ),
    "mistral-capacity": (
        429,
        {"object": "error", "message": "Service tier capacity exceeded", "code": "3505"},
        429,
        "upstream_rejected",
        None,
        "Service tier capacity exceeded",
    ),
    "xai-key": (
        400,
        {
            "code": "Client specified an invalid argument",
            "error": "Incorrect%20API%20key%20provided:%20ba***na.%20See%20https://console.x.ai.",
        },
        502,
        CREDENTIALS,
        None,
        "credentials",
    ),
    "xai-words": (
        400,
        {"code": "invalid-argument", "error": "Invalid max_tokens"},
        400,
        "invalid-argument",
        None,
        "Invalid max_tokens",
    ),
    "xai-filter": (
        403,
        {
            "code": "The caller does not have permission",
            "error": "Content violates usage guidelines.",
        },
        400,
        "content_filter",
        None,
        "Content violates usage guidelines.",
    ),
    "openrouter-behind": (
        400,
        {
            "error": {
                "code": 400,
                "message": "Provider returned error",
                "metadata": {"raw": '{"error": {"message": "Bad schema"}}', "provider_name": "X"},
            },
            "user_id": "user_1234",
        },
        400,
        "upstream_rejected",
        None,
        "Provider returned error: Bad schema",
    ),
    "openrouter-funds": (
        402,
        {"error": {"code": 402, "message": "Insufficient credits"}},
        503,
        "upstream_account_exhausted",
        None,
        "used up",
    ),
    "openrouter-in-200": (
        200,
        {"error": {"code": 429, "message": "Slow down"}},
        429,
        "upstream_rejected",
        None,
        "Slow down",
    ),
    "azure-key": (
        401,
        {"error": {"code": "401", "message": "Access denied due to invalid subscription key"}},
        502,
        CREDENTIALS,
        None,
        "credentials",
    ),
    "azure-deployment": (
        404,
        {"error": {"code": "DeploymentNotFound", "message": "No such deployment"}},
        404,
        "DeploymentNotFound",
        None,
        "No such deployment",
    ),
    "azure-filter": (
        400,
        {
            "error": {
                "code": "content_filter",
                "param": "prompt",
                "message": "Filtered",
                "type": None,
            }
        },
        400,
        "content_filter",
        "prompt",
        "Filtered",
    ),
    "groq-generation": (
        400,
        {"error": {"code": "tool_use_failed", "failed_generation": "secret", "message": "No call"}},
        400,
        "tool_use_failed",
        None,
        "No call",
    ),
    "vllm": (
        400,
        {"object": "error", "message": "Too long", "type": "BadRequestError", "code": 400},
        400,
        "upstream_rejected",
        None,
        "Too long",
    ),
    "ollama": (
        404,
        {"error": "model 'm' not found"},
        404,
        "upstream_rejected",
        None,
        "model 'm' not found",
    ),
    "google": (
        400,
        [{"error": {"code": 400, "message": "Bad"}}],
        400,
        "upstream_rejected",
        None,
        "Bad",
    ),
}


def read(status: int, body: bytes) -> UpstreamRejectedError:
    return provider_codec("openai").read_error(status, body)


def told(protocol: str, error: UpstreamRejectedError) -> tuple[int, dict[str, Any]]:
    """What a client of a protocol gets: the status and the error object."""
    codec = codec_of(protocol)
    document = orjson.loads(codec.encode_error(error, "req_1"))
    return codec.error_status(error), document["error"]


@pytest.mark.parametrize("name", TOLD)
def test_an_error_is_told(name: str) -> None:
    status, body, told_status, code, param, message = TOLD[name]
    error = read(status, orjson.dumps(body))
    assert (error.status, error.code, error.param) == (told_status, code, param)
    assert message in error.message
    for protocol in PROTOCOLS:
        its_status, document = told(protocol, error)
        assert its_status in (told_status, 529)
        assert document["message"] == error.message
        for kept in ("own words", "ba***na", "secret", "user_1234", "%20"):
            assert kept not in orjson.dumps(document).decode()


HOSTS = ("groq-chat", "openrouter-chat", "together-chat", "deepseek-responses", "cohere-embed")


@pytest.mark.parametrize("host", HOSTS)
def test_recorded_errors_are_told(host: str) -> None:
    found = [name for name in recordings.names(host) if isinstance(name, str)]
    if not found:
        pytest.skip(f"no recordings at {RECORDINGS}")
    failed = [r for r in map(recordings.load, found) if r.status >= 400]
    assert failed
    for recording in failed:
        error = read(recording.status, recording.body)
        if recording.status == 401:
            assert error.code == CREDENTIALS
        else:
            recorded = orjson.loads(recording.body)
            said = recorded.get("error", recorded)["message"]
            assert error.status == recording.status
            assert error.message.startswith(said)
            assert "REDACTED" not in error.message
        for protocol in PROTOCOLS:
            _, document = told(protocol, error)
            assert document["message"] == error.message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "error",
                    "message",
                    "detail",
                    "msg",
                    "loc",
                    "code",
                    "status",
                    "metadata",
                    "raw",
                    "type",
                ]
            )
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_body_is_some_error(document: Any) -> None:
    shape = read_shape(json.dumps(document).encode())
    assert isinstance(shape.message, str)
    assert "" not in (shape.code, shape.kind, shape.param)


def test_what_is_no_json_says_nothing() -> None:
    assert read_shape(b"<html>502 Bad Gateway</html>") == ErrorShape()
    assert read(502, b"<html>").message == "The provider answered 502."


def test_long_words_and_many_problems_are_bounded() -> None:
    problems = [{"loc": ["body", n], "msg": "x" * 5_000} for n in range(1_000)]
    shape = read_shape(orjson.dumps({"detail": problems}))
    assert len(shape.message) <= 8_192
    assert shape.param == "0"
