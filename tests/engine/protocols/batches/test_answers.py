"""Lines of an output file: what each consumed, by its endpoint, and how its client gets it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engine.protocols.batches.answers import AnswerLine, files_named, name_files, read_answer
from engine.protocols.batches.endpoints import ENDPOINTS
from engine.usage import Usage

CHAT = ENDPOINTS["/v1/chat/completions"]
EMBEDDINGS = ENDPOINTS["/v1/embeddings"]


def answer_line(
    body: dict[str, Any], status: int = 200, error: object = None, custom_id: str = "a"
) -> bytes:
    """As OpenAI writes one ("The request output object" of its reference)."""
    response = {"status_code": status, "request_id": "req_1", "body": body}
    said = {"id": "batch_req_1", "custom_id": custom_id, "response": response, "error": error}
    return orjson.dumps(said)


ANSWERS: list[tuple[str, dict[str, Any], Usage | None]] = [
    (
        "/v1/chat/completions",
        {
            "object": "chat.completion",
            "model": "gpt-4o-mini-2024-07-18",
            "usage": {
                "prompt_tokens": 20,
                "completion_tokens": 12,
                "prompt_tokens_details": {"cached_tokens": 5},
                "completion_tokens_details": {"reasoning_tokens": 3},
                "total_tokens": 32,
            },
        },
        Usage(20, 5, 0, 12, 3),
    ),
    (
        "/v1/responses",
        {
            "object": "response",
            "model": "gpt-4o-mini-2024-07-18",
            "output": [{"type": "web_search_call"}, {"type": "message"}],
            "usage": {"input_tokens": 9, "output_tokens": 4},
        },
        Usage(9, 0, 0, 4, more={"web_searches": 1}),
    ),
    (
        "/v1/embeddings",
        {"object": "list", "model": "gpt-4o-mini-2024-07-18", "usage": {"prompt_tokens": 8}},
        Usage(8),
    ),
    (
        "/v1/completions",
        {"model": "gpt-4o-mini-2024-07-18", "usage": {"prompt_tokens": 1, "completion_tokens": 2}},
        Usage(1, output_tokens=2),
    ),
    ("/v1/moderations", {"model": "gpt-4o-mini-2024-07-18", "results": []}, None),
]


@pytest.mark.parametrize(("path", "body", "usage"), ANSWERS)
def test_each_endpoint_says_in_its_own_words_what_it_consumed(
    path: str, body: dict[str, Any], usage: Usage | None
) -> None:
    read = read_answer(answer_line(body), ENDPOINTS[path], "small")

    assert (read.answered, read.usage) == (True, usage)
    said = orjson.loads(read.data)
    assert said["response"]["body"] == {**body, "model": "small"}, "as the client calls it"
    assert said["custom_id"] == "a"


def test_all_endpoints_are_tried() -> None:
    assert {path for path, _, _ in ANSWERS} == set(ENDPOINTS)


@pytest.mark.parametrize(
    "data",
    [
        answer_line({"error": {"message": "no"}, "usage": {"prompt_tokens": 9}}, status=400),
        answer_line({"usage": {"prompt_tokens": 9}}, error={"code": "batch_expired"}),
        orjson.dumps({"custom_id": "a", "response": None, "error": {"code": "batch_expired"}}),
    ],
)
def test_a_request_that_failed_has_consumed_nothing(data: bytes) -> None:
    read = read_answer(data, CHAT, "small")

    assert (read.answered, read.usage) == (False, None)
    assert orjson.loads(read.data) == orjson.loads(data)


def test_an_answer_without_usage_is_one_that_has_none() -> None:
    read = read_answer(answer_line({"choices": []}), CHAT, "small")

    assert (read.answered, read.usage) == (True, None)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"a":' * 300 + b"1" + b"}" * 300])
def test_what_is_no_such_line_is_told(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read_answer(data, CHAT, "small")


def vectors(count: int, *, model_first: bool) -> dict[str, Any]:
    data = [{"object": "embedding", "index": n, "embedding": [0.5] * 64} for n in range(count)]
    name = {"model": "text-embedding-3-small"}
    beside = {"usage": {"prompt_tokens": 7 * count, "total_tokens": 7 * count}}
    body: dict[str, Any] = {"object": "list", "data": data, **beside}
    return name | body if model_first else body | name


@pytest.mark.parametrize("model_first", [True, False])
@pytest.mark.parametrize("custom_id", ["a", "data", '"data":[ "usage":{"prompt_tokens":0}'])
def test_megabytes_of_numbers_say_what_a_few_say(*, model_first: bool, custom_id: str) -> None:
    data = answer_line(vectors(1_000, model_first=model_first), custom_id=custom_id)
    assert len(data) > 64 * 1024, "they are not parsed"

    read = read_answer(data, EMBEDDINGS, "ours")

    assert (read.answered, read.usage) == (True, Usage(7_000))
    said, before = orjson.loads(read.data), orjson.loads(data)
    before["response"]["body"]["model"] = "ours"
    assert said == before


def test_numbers_of_a_request_that_failed_are_not_charged() -> None:
    data = answer_line(vectors(1_000, model_first=True), status=500)

    assert not read_answer(data, EMBEDDINGS, "ours").answered


def test_numbers_that_break_off_are_no_line() -> None:
    data = answer_line(vectors(1_000, model_first=True))

    with pytest.raises(ValueError, match="not such an answer"):
        read_answer(data[:-1], EMBEDDINGS, "ours")


def test_what_is_billed_is_not_shown() -> None:
    read = AnswerLine(b'{"secret": 1}', answered=True, usage=None)

    assert "secret" not in repr(read)


def test_what_its_provider_keeps_of_a_response_is_told() -> None:
    body = {"id": "resp_0123456", "output": [{"type": "message", "id": "msg_0123456"}]}
    read = read_answer(answer_line(body), ENDPOINTS["/v1/responses"], "small")

    assert [(kept.object_id, kept.kind) for kept in read.kept] == [
        ("resp_0123456", "response"),
        ("msg_0123456", "item"),
    ]
    assert read_answer(answer_line(body, 500), ENDPOINTS["/v1/responses"], "small").kept == ()
    assert read_answer(answer_line(body), CHAT, "small").kept == ()


def test_files_are_called_as_the_account_calls_them_where_they_are_its_own() -> None:
    cited = [{"file_id": "file-theirs01"}, {"file_id": "file-other02"}, {"text": "file-theirs01"}]
    data = answer_line({"annotations": cited})

    assert files_named(data) == {"file-theirs01", "file-other02"}
    said = orjson.loads(name_files(data, {"file-theirs01": "file-ours"}))
    assert said["response"]["body"]["annotations"] == [
        {"file_id": "file-ours"},
        {"file_id": "file-other02"},
        {"text": "file-theirs01"},
    ]
    assert files_named(answer_line({"text": "file-theirs01"})) == frozenset()
