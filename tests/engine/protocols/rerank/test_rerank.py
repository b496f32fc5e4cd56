"""Rerank: what is asked, what it consumes, and the figures of those who offer it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engine.errors import InvalidRequestError
from engine.events import Call, Usage, UsageReport
from engine.protocols.codec import ClientRequest
from engine.protocols.rerank import CODEC
from tests import recordings


def parse(**document: Any) -> ClientRequest:
    body = orjson.dumps({"model": "m", "query": "q", "documents": ["a"]} | document)
    return CODEC.parse_request(Call(body, None, "openai", "rerank"))


def test_texts_are_the_query_and_the_documents() -> None:
    request = parse(query="who", documents=["one", {"text": "two"}, {"title": "three"}])
    assert list(CODEC.prompt_texts(request)) == ["who", "one", "two", ""]


@pytest.mark.parametrize(("documents", "searches"), [(1, 1), (100, 2), (1_000, 11)])
def test_what_it_can_consume(documents: int, searches: int) -> None:
    demand = parse(documents=["a"] * documents).demand
    assert demand is not None
    assert demand.pieces == {"requests": searches}
    assert demand.input_tokens > 2 * documents


@pytest.mark.parametrize(
    "wrong", [{"query": ""}, {"query": 5}, {"documents": []}, {"documents": "a"}, {"model": ""}]
)
def test_what_is_refused(wrong: dict[str, Any]) -> None:
    [name] = wrong
    with pytest.raises(InvalidRequestError) as refused:
        parse(**wrong)
    assert refused.value.param == name


@pytest.mark.parametrize(
    ("answer", "usage"),
    [
        ({"meta": {"billed_units": {"search_units": 2}}}, Usage(more={"requests": 2})),
        ({"meta": {"billed_units": {"search_units": 2.0}}}, Usage(more={"requests": 2})),
        ({"usage": {"total_tokens": 9}}, Usage(input_tokens=9)),
        ({"meta": {}}, None),
        ({"usage": {"total_tokens": -1}}, None),
    ],
)
def test_figures(answer: dict[str, Any], usage: Usage | None) -> None:
    events = CODEC.decode_response(orjson.dumps({"results": []} | answer))
    assert [each.usage for each in events if isinstance(each, UsageReport)] == (
        [] if usage is None else [usage]
    )
    with pytest.raises(ValueError, match="results"):
        CODEC.decode_response(orjson.dumps(answer))


@pytest.mark.parametrize("name", recordings.names("cohere-rerank", status=200))
def test_recorded_answers(name: str) -> None:
    *_, report = CODEC.decode_response(recordings.load(name).body)
    assert report == UsageReport(Usage(more={"requests": 1}))
