"""Requests of legacy completions: what is taken, sent on, translated, refused."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engine.capabilities import UNKNOWN
from engine.conversation import Text
from engine.errors import InvalidRequestError
from engine.events import Call
from engine.protocols import anthropic, gemini, openai_chat
from engine.protocols.codec import ClientRequest, Codec, InexpressibleError, UpstreamTarget
from engine.protocols.openai_completions import CODEC
from engine.protocols.quirks import Quirks
from tests import recordings


def parse(**fields: Any) -> ClientRequest:
    document = {"model": "m", "prompt": "Once upon", **fields}
    return CODEC.parse_request(Call(orjson.dumps(document), None))


def sent(request: ClientRequest, output_limit: int | None = None, **quirks: Any) -> dict[str, Any]:
    body = CODEC.encode_verbatim(request, "up", output_limit, Quirks(**quirks))
    document: dict[str, Any] = orjson.loads(body)
    return document


def test_an_answer_is_short_unless_told() -> None:
    assert parse().max_output_tokens == 16
    assert parse(max_tokens=None).max_output_tokens == 16
    assert parse(max_tokens=0).max_output_tokens == 0
    assert parse(max_tokens=300).max_output_tokens == 300


@pytest.mark.parametrize(
    ("prompt", "more", "choices", "texts", "tokens"),
    [
        ("a", {}, 1, ["a"], 0),
        (None, {}, 1, [""], 0),
        (["a", "b"], {}, 2, ["a", "b"], 0),
        (["a", "b"], {"n": 3}, 6, ["a", "b"], 0),
        (["a"], {"n": 2, "best_of": 5}, 5, ["a"], 0),
        ([1, 2, 3], {}, 1, [], 3),
        ([[1, 2], [3]], {"suffix": "z"}, 2, ["z"], 3),
    ],
)
def test_prompts_of_all_kinds(
    prompt: object, more: dict[str, Any], choices: int, texts: list[str], tokens: int
) -> None:
    request = parse(prompt=prompt, **more)
    assert request.choices == choices
    assert list(CODEC.prompt_texts(request)) == texts
    assert CODEC.prompt_overhead_tokens(request) == tokens


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"model": ""}, "model"),
        ({"prompt": []}, "prompt"),
        ({"prompt": {}}, "prompt"),
        ({"prompt": [1, "a"]}, "prompt"),
        ({"prompt": [[]]}, "prompt"),
        ({"prompt": [True]}, "prompt"),
        ({"prompt": ["a"] * 2_049}, "prompt"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"n": 0}, "n"),
        ({"best_of": "2"}, "best_of"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": []}, "stream_options"),
    ],
)
def test_what_the_gateway_relies_on_is_checked(wrong: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        parse(**wrong)
    assert caught.value.param == param


def test_the_document_is_sent_on_with_few_edits() -> None:
    given = {"suffix": "z", "echo": True, "best_of": 2, "logit_bias": {"5": -1}, "unknown": 1}
    document = {"model": "up", "prompt": "Once upon", **given}
    assert sent(parse(**given)) == document | {"max_tokens": 16}
    assert sent(parse(**given, max_tokens=9)) == document | {"max_tokens": 9}
    assert sent(parse(max_tokens=9), 5)["max_tokens"] == 5
    assert sent(parse(max_tokens=9), 50)["max_tokens"] == 9


def test_usage_is_asked_for_on_every_stream() -> None:
    assert sent(parse(stream=True))["stream_options"] == {"include_usage": True}
    options = {"include_usage": False, "x": 1}
    asked = {"include_usage": True, "x": 1}
    assert sent(parse(stream=True, stream_options=options))["stream_options"] == asked
    assert "stream_options" not in sent(parse(stream=True), include_usage=False)
    assert "stream_options" not in sent(parse())


def test_a_prompt_is_what_a_user_says() -> None:
    request = parse(
        prompt=["Once upon"],
        n=2,
        best_of=2,
        temperature=0.5,
        top_p=0.9,
        stop="x",
        seed=3,
        presence_penalty=1,
        frequency_penalty=0,
        logprobs=2,
        user="u",
        echo=False,
        suffix=None,
        logit_bias={},
    )
    conversation = CODEC.decode_request(request)
    [turn] = conversation.turns
    assert (turn.role, turn.parts) == ("user", (Text("Once upon"),))
    assert (conversation.choices, conversation.max_output_tokens) == (2, 16)
    assert (conversation.temperature, conversation.top_p) == (0.5, 0.9)
    assert (conversation.stop, conversation.seed) == (("x",), 3)
    assert (conversation.presence_penalty, conversation.frequency_penalty) == (1, None)
    assert (conversation.top_logprobs, conversation.end_user) == (2, "u")
    assert conversation.unexpressed == ()


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"logprobs": 6}, "logprobs"),
        ({"stop": [1]}, "stop"),
        ({"user": 5}, "user"),
    ],
)
def test_what_a_conversation_cannot_be(wrong: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        CODEC.decode_request(parse(**wrong))
    assert caught.value.param == param


@pytest.mark.parametrize(
    "said", [{"suffix": "z"}, {"echo": True}, {"best_of": 3}, {"logit_bias": {"5": 1}}, {"x": 1}]
)
def test_what_a_conversation_has_no_place_for(said: dict[str, Any]) -> None:
    [lost] = CODEC.decode_request(parse(**said)).unexpressed
    assert (lost.field, lost.harmless) == (next(iter(said)), False)


@pytest.mark.parametrize(
    ("provider", "expected"),
    [
        (
            openai_chat.CODEC,
            {
                "messages": [{"role": "user", "content": "Once upon"}],
                "max_tokens": 16,
                "stop": ["x"],
            },
        ),
        (
            anthropic.CODEC,
            {
                "messages": [{"role": "user", "content": [{"type": "text", "text": "Once upon"}]}],
                "max_tokens": 16,
                "stop_sequences": ["x"],
            },
        ),
        (
            gemini.CODEC,
            {
                "contents": [{"role": "user", "parts": [{"text": "Once upon"}]}],
                "generationConfig": {"maxOutputTokens": 16, "stopSequences": ["x"]},
            },
        ),
    ],
    ids=("openai_chat", "anthropic", "gemini"),
)
def test_translated(provider: Codec, expected: dict[str, Any]) -> None:
    conversation = CODEC.decode_request(parse(stop="x"))
    target = UpstreamTarget("up", UNKNOWN, stream=False)
    document = orjson.loads(provider.encode_request(conversation, target).body)
    kept = {name: document.get(name) for name in expected}
    assert kept == expected


@pytest.mark.parametrize("asked", [{"n": 2}, {"presence_penalty": 1}, {"logprobs": 1}])
def test_what_a_target_cannot_say_is_refused_by_its_name_here(asked: dict[str, Any]) -> None:
    conversation = CODEC.decode_request(parse(**asked))
    with pytest.raises(InexpressibleError) as caught:
        anthropic.CODEC.encode_request(conversation, UpstreamTarget("up", UNKNOWN, stream=False))
    error = orjson.loads(CODEC.encode_error(caught.value))["error"]
    assert error["param"] == next(iter(asked))


@pytest.mark.parametrize("name", recordings.names("openai-completions"))
def test_recorded_requests_are_sent_on_as_they_were(name: str) -> None:
    document = recordings.load(name).request
    if not isinstance(document, dict):
        pytest.skip("no request was recorded")
    request = CODEC.parse_request(Call(orjson.dumps(document), None))
    expected: dict[str, Any] = {"max_tokens": 16, **document, "model": "up"}
    if request.stream:
        expected["stream_options"] = {"include_usage": True}
    assert sent(request) == expected
