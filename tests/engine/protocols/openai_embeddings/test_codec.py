"""OpenAI's embeddings: what is asked, what it consumes, answers read with and without vectors."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engine.capabilities import UNKNOWN
from engine.conversation import Conversation, EmbeddingOptions, Text, Turn
from engine.errors import InvalidRequestError, UpstreamError, UpstreamRejectedError
from engine.events import Call, Event, Usage, UsageReport, Vector
from engine.protocols.codec import (
    ClientRequest,
    Identity,
    InexpressibleError,
    UpstreamTarget,
)
from engine.protocols.openai_embeddings import CODEC
from engine.protocols.openai_embeddings.vectors import pack
from engine.protocols.skim import PARSED_MAX_BYTES
from tests import recordings

WHO = Identity("req_1", "a-model", 0)


def parse(**document: Any) -> ClientRequest:
    return CODEC.parse_request(Call(orjson.dumps({"model": "m"} | document), None, "openai"))


def usage_in(events: Any) -> Usage | None:
    return next((each.usage for each in events if isinstance(each, UsageReport)), None)


def vectors_in(events: Any) -> list[Vector]:
    return [each for each in events if isinstance(each, Vector)]


@pytest.mark.parametrize(
    ("given", "texts", "tokens"),
    [
        ("one", ["one"], 0),
        ("", [""], 0),
        (["one", "two"], ["one", "two"], 0),
        ([15339, 1917], [], 2),
        ([[1], [2, 3]], [], 3),
        (["one", [1, 2]], None, 0),
        ([1, "one"], None, 0),
        ([1.5], None, 0),
        ([True], None, 0),
        ([[-1]], None, 0),
        ([], None, 0),
        ([[]], None, 0),
        ({"text": "one"}, None, 0),
        (None, None, 0),
    ],
)
def test_inputs(given: object, texts: list[str] | None, tokens: int) -> None:
    if texts is None:
        with pytest.raises(InvalidRequestError, match="'input'") as refused:
            parse(input=given)
        assert refused.value.param == "input"
        return
    request = parse(input=given, dimensions=5, user="u")
    assert list(CODEC.prompt_texts(request)) == texts
    assert CODEC.prompt_overhead_tokens(request) == tokens
    sent = orjson.loads(CODEC.encode_verbatim(request, "upstream", None))
    assert sent == {"model": "upstream", "input": given, "dimensions": 5, "user": "u"}
    demand = request.demand
    assert demand is not None
    assert demand.output_tokens == 0
    assert demand.input_tokens >= max(tokens, len("".join(texts))), "a token is a byte at least"


@pytest.mark.parametrize(
    "wrong", [{"dimensions": 0}, {"dimensions": "5"}, {"dimensions": True}, {"encoding_format": 5}]
)
def test_what_is_refused(wrong: dict[str, Any]) -> None:
    [name] = wrong
    with pytest.raises(InvalidRequestError) as refused:
        parse(input="a", **wrong)
    assert refused.value.param == name


def test_what_another_protocol_is_told() -> None:
    request = parse(input=["one", "two"], dimensions=5, user="u", extra=1)
    conversation = CODEC.decode_request(request)
    assert [turn.parts for turn in conversation.turns] == [(Text("one"),), (Text("two"),)]
    assert conversation.embedding == EmbeddingOptions(dimensions=5)
    assert [(lost.field, lost.harmless) for lost in conversation.unexpressed] == [("extra", True)]
    with pytest.raises(InexpressibleError, match="tokens in the place of text"):
        CODEC.decode_request(parse(input=[1, 2]))
    with pytest.raises(InexpressibleError, match="encoding_format"):
        CODEC.decode_request(parse(input="a", encoding_format="int8"))


def test_what_is_asked_for_another_protocol() -> None:
    turns = (Turn("user", (Text("one"),)), Turn("user", (Text("two"),)))
    target = UpstreamTarget("upstream", UNKNOWN, stream=False)
    options = EmbeddingOptions(dimensions=5, task="CLUSTERING")
    encoded = CODEC.encode_request(Conversation(turns, embedding=options), target)
    assert orjson.loads(encoded.body) == {
        "model": "upstream",
        "input": ["one", "two"],
        "encoding_format": "float",
        "dimensions": 5,
    }
    assert encoded.operation == "embed"
    several = Conversation((Turn("user", (Text("one"), Text("two"))),))
    with pytest.raises(InexpressibleError, match="one part"):
        CODEC.encode_request(several, target)


FOLDERS = ["openai-embeddings", "mistral-embeddings"]
ANSWERS = [
    name
    for folder in FOLDERS
    for name in recordings.names(folder, status=200)
    if not isinstance(name, str) or "usage-" not in name
]


@pytest.mark.parametrize("name", ANSWERS)
def test_recorded_answers_say_the_same_without_their_vectors(name: str) -> None:
    body = recordings.load(name).body
    whole, skimmed = CODEC.decode_response(body), CODEC.skim_response(body)
    document = orjson.loads(body)
    assert usage_in(whole) == usage_in(skimmed)
    assert usage_in(whole) == Usage(input_tokens=document["usage"]["prompt_tokens"])
    assert [each.index for each in vectors_in(whole)] == list(range(len(document["data"])))
    assert not vectors_in(skimmed)


def test_usage_wherever_it_stands() -> None:
    data = b'"data":[{"object":"embedding","index":0,"embedding":[%s]}]'
    for count in (3, PARSED_MAX_BYTES):
        vector = data % b",".join([b"0.5"] * count)
        for body in (
            b'{"usage":{"prompt_tokens":7,"total_tokens":7},%s}' % vector,
            b'{"object":"list",%s,"usage":{"total_tokens":7}}\n' % vector,
        ):
            assert usage_in(CODEC.skim_response(body)) == Usage(input_tokens=7)
        assert usage_in(CODEC.skim_response(b"{%s}" % vector)) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"usage":{"prompt_tokens":1}}',
        b'{"data":5}',
        b'["data",{"usage":{}}]',
        b'{"data":"%s"' % (b"a" * PARSED_MAX_BYTES),
        b'{"other":"%s"}' % (b"a" * PARSED_MAX_BYTES),
    ],
)
def test_what_is_no_answer(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - in several words
        CODEC.skim_response(body)


@pytest.mark.parametrize(
    "vector", [None, [], [None], ["1"], [True], "AAA", "A===", pack([1.0])[:-1] + "!"]
)
def test_what_is_no_vector(vector: object) -> None:
    body = orjson.dumps({"data": [{"index": 0, "embedding": vector}]})
    with pytest.raises(ValueError):  # noqa: PT011 - in several words
        CODEC.decode_response(body)


def test_providers_that_take_their_time_send_white_space_meanwhile() -> None:
    vector = b'"data":[{"embedding":[%b0.5]}]' % (b"0.5," * 20_000)
    body = b'{%b,"usage":{"prompt_tokens":7}}' % vector
    for padded in (b"\n" * 1_000 + body, body + b" \r\n" * 1_000):
        assert usage_in(CODEC.skim_response(padded)) == Usage(input_tokens=7)


def test_an_error_in_a_good_answer() -> None:
    for read in (CODEC.decode_response, CODEC.skim_response):
        with pytest.raises(UpstreamRejectedError, match="overloaded"):
            read(b'{"error": {"message": "overloaded"}}')


def told(events: list[Event], **wanted: Any) -> dict[str, Any]:
    request = CODEC.answered(parse(input="a", **wanted))
    document: dict[str, Any] = orjson.loads(CODEC.encode_response(events, request, WHO))
    return document


def test_answers_of_another_protocol() -> None:
    found: list[Event] = [Vector(1, [0.0, 2.0]), Vector(0, [3.0, 4.0])]
    answer = told(found)
    assert [one["embedding"] for one in answer["data"]] == [[3.0, 4.0], [0.0, 2.0]]
    assert "usage" not in answer
    packed = told([*found, UsageReport(Usage(input_tokens=3))], encoding_format="base64")
    assert packed["data"][0]["embedding"] == pack([3.0, 4.0])
    assert packed["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    short = told(found, dimensions=2)
    assert [one["embedding"] for one in short["data"]] == [[0.6, 0.8], [0.0, 1.0]]


def test_usage_that_is_billed_where_none_is_reported() -> None:
    without = orjson.dumps(told([Vector(0, [1.0])]))
    with_usage = CODEC.add_usage(without, {"input_tokens": 4})
    assert orjson.loads(with_usage)["usage"] == {"prompt_tokens": 4, "total_tokens": 4}
    assert CODEC.add_usage(with_usage, {"input_tokens": 5}) == with_usage


@pytest.mark.parametrize("found", [[], [Vector(1, [1.0])], [Vector(0, [1.0]), Vector(0, [1.0])]])
def test_vectors_that_are_missing(found: list[Event]) -> None:
    with pytest.raises(UpstreamError, match="missing"):
        told(found)
