"""Requests in the shape that Vertex takes, of both protocols that it serves."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engine.capability_table import capabilities_of
from engine.events import Call, Operation
from engine.protocols.codec import UpstreamTarget
from engine.protocols.quirks import PLAIN, Quirks
from engine.protocols.registry import codec_of
from tests import recordings
from tests.recordings import load

VERTEX = Quirks(hosting="vertex")
CLAUDE = "claude-sonnet-4@20250514"
HELLO: dict[str, Any] = {
    "model": "public-name",
    "max_tokens": 99,
    "messages": [{"role": "user", "content": "hello"}],
}
GEMINI, ANTHROPIC = codec_of("gemini"), codec_of("anthropic")
FOLDERS = ("vertex-generateContent", "vertex-streamGenerateContent", "vertex-countTokens")


def of_gemini(document: dict[str, Any], operation: Operation = "chat") -> dict[str, Any]:
    """What is sent on of a client's request."""
    call = Call(
        body=orjson.dumps(document), key=None, protocol="gemini", model="m", operation=operation
    )
    request = GEMINI.parse_request(call)
    sent: dict[str, Any] = orjson.loads(GEMINI.encode_verbatim(request, "m", None, VERTEX))
    return sent


def of_anthropic(operation: Operation = "chat", **more: Any) -> dict[str, Any]:
    call = Call(
        body=orjson.dumps(HELLO | more), key=None, protocol="anthropic", operation=operation
    )
    request = ANTHROPIC.parse_request(call)
    body = ANTHROPIC.encode_verbatim(request, CLAUDE, None, VERTEX)
    sent: dict[str, Any] = orjson.loads(body)
    return sent


@pytest.mark.parametrize("name", [name for folder in FOLDERS for name in recordings.names(folder)])
def test_what_was_sent_to_vertex_goes_on_as_it_is(name: str) -> None:
    document = load(name).request
    assert document is not None
    operation: Operation = "count_tokens" if name.startswith("vertex-countTokens") else "chat"
    assert of_gemini(document, operation) == document


def test_a_content_without_a_role_is_a_users() -> None:
    contents = {"parts": [{"text": "a", "partMetadata": {"n": 1}}, {"text": "b"}]}
    expected = [{"role": "user", "parts": [{"text": "a"}, {"text": "b"}]}]
    assert of_gemini({"contents": contents}) == {"contents": expected}
    said = [{"role": "model", "parts": [{"text": "a"}]}]
    assert of_gemini({"contents": said, "labels": {"a": "b"}})["contents"] == said


def test_only_the_prompt_is_counted() -> None:
    prompt = {
        "contents": [{"role": "user", "parts": [{"text": "a"}]}],
        "system_instruction": {"parts": [{"text": "b"}]},
    }
    inner = {"generateContentRequest": {"model": "models/m", "toolConfig": {}} | prompt}
    assert of_gemini(inner, "count_tokens") == prompt
    assert of_gemini(prompt | {"safetySettings": []}, "count_tokens") == prompt


def test_where_anthropics_operations_are() -> None:
    asked: dict[str, Any] = {"array": False, "quirks": VERTEX}
    path = f"/models/{CLAUDE}"
    assert ANTHROPIC.path(CLAUDE, "chat", stream=False, **asked) == f"{path}:rawPredict"
    assert ANTHROPIC.path(CLAUDE, "chat", stream=True, **asked) == f"{path}:streamRawPredict"
    counted = ANTHROPIC.path(CLAUDE, "count_tokens", stream=False, **asked)
    assert counted == "/models/count-tokens:rawPredict"
    assert ANTHROPIC.path(CLAUDE, "embed", stream=False, **asked) is None


def test_anthropics_version_is_in_the_body_and_the_model_in_the_path() -> None:
    envelope = {"anthropic_version": "vertex-2023-10-16"}
    plain = {name: value for name, value in HELLO.items() if name != "model"}
    assert of_anthropic() == plain | envelope
    assert of_anthropic(stream=True) == plain | envelope | {"stream": True}
    assert of_anthropic("count_tokens") == plain | envelope | {"model": CLAUDE}


def test_a_translated_request_has_the_same_envelope() -> None:
    chat = codec_of("openai_chat")
    body = orjson.dumps({"model": "m", "messages": HELLO["messages"], "max_tokens": 9})
    conversation = chat.decode_request(chat.parse_request(Call(body=body, key=None)))
    capabilities = capabilities_of("anthropic", CLAUDE)
    target = UpstreamTarget(CLAUDE, capabilities, stream=True, quirks=VERTEX)
    sent = orjson.loads(ANTHROPIC.encode_request(conversation, target).body)
    assert (sent["anthropic_version"], sent["stream"]) == ("vertex-2023-10-16", True)
    assert "model" not in sent


def test_the_betas_stay_in_their_header_and_the_version_goes() -> None:
    sent = [(b"anthropic-version", b"2023-06-01"), (b"anthropic-beta", b"a,b")]
    assert ANTHROPIC.provider_headers(sent, VERTEX) == [(b"anthropic-beta", b"a,b")]
    assert ANTHROPIC.provider_headers(sent, PLAIN) == sent
    assert ANTHROPIC.provider_headers((), VERTEX) == []


@pytest.mark.parametrize(
    ("model", "output_max_tokens"),
    [
        (CLAUDE, 64_000),
        ("claude-opus-4-1@20250805", 32_000),
        ("claude-3-5-sonnet-v2@20241022", 8_192),
        ("claude-opus-4-6@default", 128_000),
    ],
)
def test_models_are_known_by_their_names_there(model: str, output_max_tokens: int) -> None:
    assert capabilities_of("anthropic", model).output_max_tokens == output_max_tokens
