"""Gemini's embeddings: what is asked, in either spelling, and answers with and without usage."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engine.capabilities import UNKNOWN
from engine.conversation import Conversation, EmbeddingOptions, Text, Turn
from engine.errors import InvalidRequestError, NotFoundError
from engine.events import Call, Event, Operation, Usage, UsageReport, Vector
from engine.protocols.codec import ClientRequest, Identity, InexpressibleError, UpstreamTarget
from engine.protocols.gemini_embeddings import CODEC
from tests import recordings

WHO = Identity("req_1", "a-model", 0)
ONE = {"content": {"parts": [{"text": "one"}]}}
TWO = {"content": {"parts": [{"text": "two"}]}}


def parse(document: dict[str, Any], operation: Operation = "embed_batch") -> ClientRequest:
    call = Call(orjson.dumps(document), None, "gemini", operation, model="models/asked")
    return CODEC.parse_request(call)


def batch(*wanted: Any) -> ClientRequest:
    return parse({"requests": list(wanted)})


def test_one_content_and_several() -> None:
    one = parse(ONE | {"title": "of it", "model": "models/asked"}, "embed")
    assert list(CODEC.prompt_texts(one)) == ["of it", "one"]
    sent = orjson.loads(CODEC.encode_verbatim(one, "upstream", None))
    assert sent == ONE | {"title": "of it"}
    two = batch(ONE | {"model": "models/asked"}, TWO | {"task_type": "CLUSTERING"})
    assert (two.model, list(CODEC.prompt_texts(two))) == ("asked", ["one", "two"])
    sent = orjson.loads(CODEC.encode_verbatim(two, "upstream", None))
    named = {"model": "models/upstream"}
    assert sent == {"requests": [ONE | named, TWO | {"task_type": "CLUSTERING"} | named]}


@pytest.mark.parametrize(
    ("operation", "path"),
    [("embed", "/models/m:embedContent"), ("embed_batch", "/models/m:batchEmbedContents")],
)
def test_paths(operation: Operation, path: str) -> None:
    assert CODEC.path("m", operation, stream=False, array=False) == path


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({}, "requests[0].content"),
        ({"content": {"parts": []}}, "requests[0].content"),
        ({"content": {"parts": ["text"]}}, "requests[0].content"),
        ({"content": "text"}, "requests[0].content"),
        (ONE | {"outputDimensionality": 0}, "requests[0].outputDimensionality"),
        (
            {"content": {"parts": [{"file_data": {"file_uri": "files/abc"}}]}},
            "requests[0].contents[0].parts[0].file_data.file_uri",
        ),
        ("text", "requests"),
    ],
)
def test_what_is_refused(wanted: Any, field: str) -> None:
    with pytest.raises((InvalidRequestError, NotFoundError)) as refused:
        batch(wanted)
    assert refused.value.param is not None
    assert refused.value.param.startswith(field.partition(".contents")[0])
    with pytest.raises(InvalidRequestError):
        batch()


def test_what_another_protocol_is_told() -> None:
    wanted = {"output_dimensionality": 5, "taskType": "CLUSTERING"}
    conversation = CODEC.decode_request(batch(ONE | wanted, TWO | wanted))
    assert [turn.parts for turn in conversation.turns] == [(Text("one"),), (Text("two"),)]
    assert conversation.embedding == EmbeddingOptions(dimensions=5)
    assert [(lost.field, lost.harmless) for lost in conversation.unexpressed] == [
        ("taskType", True)
    ]
    with pytest.raises(InexpressibleError, match="as long as one another"):
        CODEC.decode_request(batch(ONE, TWO | wanted))
    image = {"content": {"parts": [{"inlineData": {"mimeType": "image/png", "data": "AA=="}}]}}
    with pytest.raises(InexpressibleError, match="text only"):
        CODEC.decode_request(batch(image))


def test_what_is_asked_for_another_protocol() -> None:
    turns = (Turn("user", (Text("one"),)), Turn("user", (Text("two"),)))
    asked = Conversation(turns, end_user="u", embedding=EmbeddingOptions(dimensions=5))
    encoded = CODEC.encode_request(asked, UpstreamTarget("upstream", UNKNOWN, stream=False))
    more = {"model": "models/upstream", "outputDimensionality": 5}
    assert orjson.loads(encoded.body) == {"requests": [ONE | more, TWO | more]}
    assert (encoded.operation, encoded.dropped) == ("embed_batch", ("end_user",))


@pytest.mark.parametrize("name", recordings.names("gemini-batchEmbedContents", status=200))
def test_recorded_answers_say_the_same_without_their_vectors(name: str) -> None:
    body = recordings.load(name).body
    document = orjson.loads(body)
    whole, skimmed = CODEC.decode_response(body), CODEC.skim_response(body)
    found = [each.values for each in whole if isinstance(each, Vector)]
    assert found == [one["values"] for one in document["embeddings"]]
    reported = document.get("usageMetadata", {}).get("promptTokenCount")
    for events in (whole, skimmed):
        usages = [each.usage for each in events if isinstance(each, UsageReport)]
        assert usages == ([] if reported is None else [Usage(input_tokens=reported)])


@pytest.mark.parametrize("operation", ["embed", "embed_batch"])
def test_answers_of_another_protocol(operation: Operation) -> None:
    request = parse(ONE if operation == "embed" else {"requests": [ONE]}, operation)
    events: list[Event] = [Vector(0, [0.5, 1.0])]
    body = CODEC.encode_response(events, CODEC.answered(request), WHO)
    values = {"values": [0.5, 1.0]}
    expected = {"embedding": values} if operation == "embed" else {"embeddings": [values]}
    assert orjson.loads(body) == expected
    told = orjson.loads(CODEC.add_usage(body, {"input_tokens": 3}))
    assert told["usageMetadata"]["promptTokenCount"] == 3
    assert CODEC.decode_response(orjson.dumps(told))[1] == events[0]


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"embeddings":[]}', b'{"embeddings":[{}]}'])
def test_what_is_no_answer(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - in several words
        CODEC.decode_response(body)
