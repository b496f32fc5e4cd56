"""What is validated of a client's request, and what goes on verbatim."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engine.conversation import Signature
from engine.errors import InvalidRequestError
from engine.events import Operation
from engine.protocols.codec import HeldIdError
from engine.protocols.gemini import CODEC
from engine.protocols.gemini.signatures import SKIP_VALIDATOR, sign
from tests.engine.protocols.gemini.samples import HELLO, call, request


def verbatim(document: dict[str, Any], limit: int | None = None) -> dict[str, Any]:
    sent: dict[str, Any] = orjson.loads(CODEC.encode_verbatim(request(document), "up", limit))
    return sent


def test_model_and_stream_are_in_the_url() -> None:
    parsed = CODEC.parse_request(call(HELLO, stream=True, array=True, model="models/org/a:b"))
    assert (parsed.model, parsed.stream, parsed.array) == ("org/a:b", True, True)
    assert (parsed.include_usage, parsed.choices, parsed.max_output_tokens) == (True, 1, None)
    assert CODEC.parse_request(call(HELLO, model="tunedModels/x")).model == "tunedModels/x"


@pytest.mark.parametrize("spelled", ["generationConfig", "generation_config"])
@pytest.mark.parametrize("limit", ["maxOutputTokens", "max_output_tokens"])
@pytest.mark.parametrize("value", [100, 100.0, "100"])
def test_a_limit_is_read_and_lowered_in_its_own_spelling(
    spelled: str, limit: str, value: object
) -> None:
    document = HELLO | {spelled: {limit: value, "candidate_count": 2}}
    parsed = request(document)
    assert (parsed.max_output_tokens, parsed.choices) == (100, 2)
    assert verbatim(document)[spelled] == {limit: value, "candidate_count": 2}
    assert verbatim(document, 10)[spelled] == {limit: 10, "candidate_count": 2}
    assert verbatim(document, 1_000)[spelled][limit] == 100


def test_a_limit_is_added_where_there_is_none() -> None:
    assert verbatim(HELLO, 7)["generationConfig"] == {"maxOutputTokens": 7}
    assert verbatim(HELLO | {"model": "models/other"}) == HELLO


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"contents": []}, "contents"),
        ({"contents": None}, "contents"),
        ({"contents": ["hello"]}, "contents[0]"),
        ({"contents": "hello"}, "contents[0]"),
        ({"contents": [{"parts": ["hello"]}]}, "contents[0].parts"),
        ({"generationConfig": []}, "generationConfig"),
        ({"generationConfig": {"maxOutputTokens": 0}}, "generationConfig.maxOutputTokens"),
        ({"generationConfig": {"maxOutputTokens": True}}, "generationConfig.maxOutputTokens"),
        ({"generation_config": {"candidate_count": 1.5}}, "generationConfig.candidateCount"),
    ],
)
def test_what_the_gateway_relies_on_is_validated(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        request(HELLO | fields)
    assert caught.value.param == param


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b'{"contents":[{"parts":[{}]}'])
def test_no_json_object(body: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        request(body)


def content(part: dict[str, Any]) -> dict[str, Any]:
    return {"contents": [{"parts": [{"text": "see"}, part]}]}


FILE = "https://generativelanguage.googleapis.com/v1beta/files/abc"
HELD: list[tuple[dict[str, Any], str]] = [
    ({"cachedContent": "cachedContents/1"}, "cachedContent"),
    ({"cached_content": "cachedContents/1"}, "cached_content"),
    (
        {"generationConfig": {"output_config": {"outputUriPrefix": "gs://theirs/"}}},
        "generationConfig.output_config",
    ),
    ({"tools": [{"fileSearch": {}}]}, "tools[0].fileSearch"),
    ({"tools": {"file_search": {}}}, "tools[0].file_search"),
    ({"tools": [{"retrieval": {"vertexRagStore": {}}}]}, "tools[0].retrieval"),
    (content({"fileData": {"fileUri": "gs://bucket/a"}}), "contents[0].parts[1].fileData.fileUri"),
    (
        content({"fileData": {"fileUri": f"//key@{FILE.removeprefix('https://')}"}}),
        "contents[0].parts[1].fileData.fileUri",
    ),
]


@pytest.mark.parametrize(("fields", "param"), HELD)
def test_what_lives_at_the_provider_is_refused(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(HeldIdError) as caught:
        request(HELLO | fields)
    assert (caught.value.code, caught.value.param) == ("not_found", param)
    counting = call({"generateContentRequest": HELLO | fields}, operation="count_tokens")
    with pytest.raises(HeldIdError) as caught:
        CODEC.parse_request(counting)
    assert caught.value.param == f"generateContentRequest.{param}"


@pytest.mark.parametrize(
    "part",
    [
        {"fileData": {"fileUri": "https://www.youtube.com/watch?v=a"}},
        {"fileData": {"fileUri": "https://example.com/files/generativelanguage.googleapis.com"}},
        {"functionCall": {"name": "f", "args": {"cachedContent": "files/a", "fileData": FILE}}},
        {"functionResponse": {"name": "f", "response": {"fileUri": FILE}}},
        {"text": FILE},
    ],
)
def test_what_only_looks_like_it_is_not(part: dict[str, Any]) -> None:
    assert request(content(part)).document == content(part)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"generationConfig": {"maxOutputTokens": 9}, "generation_config": {}}, "generationConfig"),
        (
            {"generationConfig": {"maxOutputTokens": 9, "max_output_tokens": 90_000}},
            "maxOutputTokens",
        ),
        ({"generation_config": {"candidate_count": 8, "candidateCount": 1}}, "candidateCount"),
        (content({"fileData": {"fileUri": "https://a.b"}, "file_data": {}}), "fileData"),
        (content({"fileData": {"fileUri": "https://a.b", "file_uri": "files/a"}}), "fileUri"),
        ({"tools": [{"file_search": None, "fileSearch": {}}]}, "fileSearch"),
    ],
)
def test_what_is_spelled_in_both_ways_is_refused(fields: dict[str, Any], param: str) -> None:
    """Nobody can tell which of the two the provider would take."""
    with pytest.raises(InvalidRequestError, match="both of its spellings") as caught:
        request(HELLO | fields)
    assert caught.value.param == param


def test_the_developers_own_names_may_be_alike() -> None:
    own = {"my_id": 1, "myId": 2, "deep": [{"a_b": 1, "aB": 2}]}
    parts = [
        {"functionCall": {"name": "f", "args": own}},
        {"function_response": {"name": "f", "response": own}},
    ]
    document = {
        "contents": [{"parts": parts}],
        "labels": own,
        "tools": [{"functionDeclarations": [{"name": "f", "parameters_json_schema": own}]}],
        "generationConfig": {"response_json_schema": own},
    }
    assert request(document).document == document


def test_media_anywhere_in_the_prompt() -> None:
    parts = [
        {"inlineData": {"mimeType": "image/png", "data": "QQ=="}},
        {"inline_data": {"mime_type": "AUDIO/wav", "data": "QQ=="}},
        {"fileData": {"fileUri": "https://youtu.be/x"}},
        {
            "functionResponse": {
                "name": "f",
                "parts": [{"inlineData": {"mimeType": "application/pdf", "data": "QQ=="}}],
            }
        },
    ]
    parsed = request({"contents": [{"parts": parts}]})
    assert set(parsed.media) == {"image", "audio", "video", "document"}
    assert CODEC.prompt_overhead_tokens(parsed) == 1 + 4 * 258


def test_the_text_of_a_prompt() -> None:
    document = {
        "contents": [
            {"role": "user", "parts": [{"text": "one"}, {"inlineData": {"data": "QQ=="}}]},
            {
                "role": "model",
                "parts": [
                    {"functionCall": {"name": "f", "args": {"a": "two"}}},
                    {"executable_code": {"code": "three"}},
                ],
            },
            {"parts": {"function_response": {"name": "f", "response": {"b": "four"}}}},
        ],
        "system_instruction": {"parts": [{"text": "five"}]},
        "tools": {"function_declarations": [{"name": "six"}]},
    }
    text = "\n".join(CODEC.prompt_texts(request(document)))
    for word in ("one", "two", "three", "four", "five", "six"):
        assert word in text
    assert "QQ==" not in text


def test_foreign_signatures_are_left_out() -> None:
    foreign = sign(Signature("anthropic", "secret"))
    call_part = {"functionCall": {"name": "f", "args": {}}}
    document = {
        "contents": [
            {
                "role": "model",
                "parts": [
                    {"text": "hm", "thought": True, "thoughtSignature": foreign},
                    {"text": "Well.", "thought_signature": foreign},
                    call_part | {"thoughtSignature": sign(None)},
                    call_part | {"thoughtSignature": "QUJD"},
                    call_part,
                ],
            },
            {
                "role": "model",
                "parts": [{"text": "hm", "thought": True, "thoughtSignature": foreign}],
            },
        ]
    }
    assert verbatim(document)["contents"] == [
        {
            "role": "model",
            "parts": [
                {"text": "Well."},
                call_part | {"thoughtSignature": SKIP_VALIDATOR},
                call_part | {"thoughtSignature": "QUJD"},
                call_part,
            ],
        },
        {"role": "model", "parts": [{"text": ""}]},
    ]


def test_a_count_of_tokens() -> None:
    inner = {"model": "models/public", "systemInstruction": {"parts": [{"text": "be"}]}} | HELLO
    for document in (inner, {"generateContentRequest": inner}, {"generate_content_request": inner}):
        parsed = CODEC.parse_request(call(document, operation="count_tokens"))
        assert list(CODEC.prompt_texts(parsed)) == ["hello", "be"]
    sent = orjson.loads(CODEC.encode_verbatim(parsed, "up", None))
    assert sent["generate_content_request"]["model"] == "models/up"
    assert CODEC.encode_token_count(7) == b'{"totalTokens":7}'


@pytest.mark.parametrize(
    ("operation", "document"),
    [
        ("chat", HELLO | {"generateContentRequest": HELLO}),
        ("chat", {"generateContentRequest": HELLO}),
        ("chat", HELLO | {"generate_content_request": "hello"}),
        ("count_tokens", HELLO | {"generateContentRequest": HELLO}),
        ("count_tokens", {"cachedContent": "c", "generateContentRequest": HELLO}),
        ("count_tokens", {"generateContentRequest": [HELLO]}),
    ],
)
def test_a_prompt_within_a_request_is_for_counts_alone(
    operation: Operation, document: dict[str, Any]
) -> None:
    """Beside another prompt it would be billed, or looked through, in its place."""
    with pytest.raises(InvalidRequestError, match="count tokens"):
        CODEC.parse_request(call(document, operation=operation))


def test_a_body_that_cannot_be_written_again() -> None:
    body = b'{"contents":[{"parts":[{"functionCall":{"args":{"a":' + b"[" * 300 + b"]" * 300
    parsed = request(body + b"}}}]}]}")
    for attempt in (
        lambda: CODEC.encode_verbatim(parsed, "up", None),
        lambda: CODEC.decode_request(parsed),
    ):
        with pytest.raises(InvalidRequestError, match="nested too deeply"):
            attempt()
    assert list(CODEC.prompt_texts(parsed)) == [""], "what is refused elsewhere is no fault here"


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("gemini-2.5-flash", "/models/gemini-2.5-flash:generateContent"),
        ("tunedModels/a-b", "/tunedModels/a-b:generateContent"),
        ("org/a:b?c#d", "/models/org%2Fa%3Ab%3Fc%23d:generateContent"),
        ("../../x", "/models/..%2F..%2Fx:generateContent"),
    ],
)
def test_paths(model: str, path: str) -> None:
    assert CODEC.path(model, "chat", stream=False, array=False) == path


def test_paths_of_operations() -> None:
    assert CODEC.path("m", "chat", stream=True, array=False) == (
        "/models/m:streamGenerateContent?alt=sse"
    )
    assert CODEC.path("m", "chat", stream=True, array=True) == "/models/m:streamGenerateContent"
    assert CODEC.path("m", "count_tokens", stream=False, array=False) == "/models/m:countTokens"
    assert CODEC.path("m", "embed", stream=False, array=False) is None
    assert CODEC.provider_headers() == []
    assert CODEC.heartbeat == b""
    assert CODEC.stream_type(request(stream=True)) == b"text/event-stream"
    assert CODEC.stream_type(request(stream=True, array=True)) == b"application/json"
