"""Moderations: what is asked, what it can consume, what an answer says."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engine.capabilities import Capabilities
from engine.errors import InvalidRequestError, UpstreamRejectedError
from engine.events import Begin, Call, Finish
from engine.protocols.codec import ClientRequest
from engine.protocols.openai_moderations import CODEC
from engine.protocols.registry import client_codec, upstream_codec
from engine.routing.explain import misfit
from engine.routing.values import Asked
from tests import recordings


def parse(**document: Any) -> ClientRequest:
    call = Call(orjson.dumps(document), None, "openai", "moderate")
    codec = client_codec(call.protocol, call.operation)
    assert codec is CODEC
    return codec.parse_request(call)


@pytest.mark.parametrize(
    ("given", "texts"),
    [
        ("one", ["one"]),
        (["one", "two"], ["one", "two"]),
        ([{"type": "text", "text": "one"}], ["one"]),
        ([{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}], [""]),
    ],
)
def test_inputs(given: object, texts: list[str]) -> None:
    request = parse(input=given)
    assert list(CODEC.prompt_texts(request)) == texts
    assert request.model == "omni-moderation-latest", "as OpenAI has it where none is named"
    sent = orjson.loads(CODEC.encode_verbatim(request, "upstream", None))
    assert sent == {"input": given, "model": "upstream"}


@pytest.mark.parametrize(
    "given", [None, 1, [], ["one", 2], [{"type": "audio"}], [{}], ["a"] * 2_049]
)
def test_what_is_no_input(given: object) -> None:
    with pytest.raises(InvalidRequestError, match="'input' must be") as refused:
        parse(input=given)
    assert refused.value.param == "input"


def test_what_it_can_consume() -> None:
    demand = parse(input="twelve chars").demand
    assert demand is not None
    assert (demand.output_tokens, demand.expected_input_tokens) == (0, 3)
    assert demand.input_tokens >= 12, "a token is a byte at least"


@pytest.mark.parametrize("name", recordings.names("openai-moderations", status=200))
def test_recorded_answers(name: str) -> None:
    if "usage-" in name:
        pytest.skip("another endpoint's")
    begin, finish = CODEC.decode_response(recordings.load(name).body)
    assert isinstance(begin, Begin)
    assert begin.id is not None
    assert begin.id.startswith("modr-")
    assert isinstance(finish, Finish)


def test_what_is_no_answer() -> None:
    with pytest.raises(ValueError, match="results"):
        CODEC.decode_response(b'{"id": "modr-1"}')
    with pytest.raises(UpstreamRejectedError, match="overloaded"):
        CODEC.decode_response(b'{"error": {"message": "overloaded"}}')


def test_nobody_else_has_it() -> None:
    assert upstream_codec(CODEC.name, "openai", frozenset()) is CODEC
    assert upstream_codec(CODEC.name, "anthropic", frozenset()) is None


@pytest.mark.parametrize(
    ("serves", "service", "words"),
    [
        (None, "moderate", ""),
        ({"moderate"}, "moderate", ""),
        ({"chat"}, "moderate", "does not do 'moderate'"),
        ({"embed"}, "chat", "does not do 'chat'"),
        ({"image"}, "chat", ""),
    ],
)
def test_who_is_planned(serves: set[Any] | None, service: Any, words: str) -> None:
    capabilities = Capabilities(serves=None if serves is None else frozenset(serves))
    assert misfit(capabilities, Asked("m", service=service)) == words
