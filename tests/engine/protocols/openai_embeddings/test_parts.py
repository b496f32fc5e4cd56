"""Answers to the parts of a request, put together without parsing their vectors."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import orjson
import pytest

from engine.capabilities import Capabilities
from engine.errors import InvalidRequestError
from engine.events import Call
from engine.parsing.prompts import Counted, InputShare
from engine.parsing.shares import REQUESTS_MAX, requests_of
from engine.protocols.codec import ClientRequest
from engine.protocols.gemini_embeddings import CODEC as GEMINI
from engine.protocols.openai_embeddings import CODEC as OPENAI

SPACED = b"""{
  "object": "list",
  "data": [
    {"object": "embedding", "index": 0, "embedding": [0.5, -1e-05]},
    {"object": "embedding", "embedding": "AACAPw==", "index" : 1}
  ],
  "model": "m", "warnings": [],
  "usage": {"prompt_tokens": 3, "details": [{"kind": "text"}]}
}
"""
DETAILS = b'"usageMetadata":{"promptTokenCount":3,"promptTokenDetails":[{"tokenCount":3}]}'
VALUES = b'{"embeddings":[{"values":[0.5,1]},{"values":[2]}],%b}' % DETAILS


def parse(inputs: list[Any]) -> ClientRequest:
    return OPENAI.parse_request(Call(orjson.dumps({"model": "m", "input": inputs}), None, "openai"))


def test_as_many_requests_as_are_needed() -> None:
    inputs = ["a", "b", "c", "d", "e"]
    found = requests_of(OPENAI, parse(inputs), Capabilities(inputs_max=2))
    assert [each.document["input"] for each in found] == [["a", "b"], ["c", "d"], ["e"]]
    assert [each.inputs for each in found] == [2, 2, 1]
    [whole] = requests_of(OPENAI, parse(inputs), Capabilities(inputs_max=5))
    assert whole.document["input"] == inputs
    [unknown] = requests_of(OPENAI, parse(inputs), Capabilities())
    assert unknown.document["input"] == inputs
    [one] = requests_of(OPENAI, parse([1, 2, 3]), Capabilities(inputs_max=2))
    assert one.document["input"] == [1, 2, 3], "the tokens of one"
    with pytest.raises(InvalidRequestError, match=f"takes {REQUESTS_MAX} inputs") as refused:
        requests_of(OPENAI, parse(["a"] * (REQUESTS_MAX + 1)), Capabilities(inputs_max=1))
    assert refused.value.param == "input"


def test_a_count_is_divided_without_a_rest() -> None:
    cuts = [0, 7, 19, 30]
    shares = [InputShare(Counted(11), start, end, 30) for start, end in pairwise(cuts)]
    assert sum(share.count() for share in shares) == 11


def test_openais_are_numbered_anew() -> None:
    first, second = OPENAI.items_of(SPACED, 2, 0), OPENAI.items_of(SPACED, 2, 12)
    answer = orjson.loads(OPENAI.joined([first, second], SPACED))
    assert [one["index"] for one in answer["data"]] == [0, 1, 12, 13]
    assert [one["embedding"] for one in answer["data"]] == [[0.5, -1e-05], "AACAPw=="] * 2
    assert answer | {"data": None} == {
        "object": "list",
        "model": "m",
        "warnings": [],
        "data": None,
    }


def test_geminis_stand_one_behind_another() -> None:
    items = GEMINI.items_of(VALUES, 2, 0)
    answer = orjson.loads(GEMINI.joined([items, items], VALUES))
    assert answer == {"embeddings": [{"values": [0.5, 1]}, {"values": [2]}] * 2}
    told = orjson.loads(GEMINI.add_usage(orjson.dumps(answer), {"input_tokens": 6}))
    assert told["usageMetadata"]["promptTokenCount"] == 6


@pytest.mark.parametrize(
    "body",
    [
        SPACED.replace(b', "index" : 1', b""),
        SPACED.replace(b'"index": 0', b'"index": null'),
        SPACED.replace(b'"data"', b'"items"'),
        SPACED.replace(b'"data"', b'"of": {"data"'),
        b'{"data": {}}',
        b"",
    ],
)
def test_what_is_not_of_so_many_inputs(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - in several words
        OPENAI.items_of(body, 2, 0)
    with pytest.raises(ValueError, match="2 vectors for 3 inputs"):
        OPENAI.items_of(SPACED, 3, 0)
    with pytest.raises(ValueError, match="2 vectors for 1 inputs"):
        GEMINI.items_of(VALUES, 1, 0)
