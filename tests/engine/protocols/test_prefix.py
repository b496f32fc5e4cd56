"""Requests to go on with an answer: its beginning is the assistant's last turn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from engine.capabilities import Capabilities
from engine.conversation import (
    Conversation,
    JsonObject,
    Native,
    NativeTool,
    ReasoningRequest,
    Text,
    Tool,
    ToolCall,
    Turn,
)
from engine.events import Protocol
from engine.parsing.jobs import Encode, Prepared, Target, do_here
from engine.protocols.codec import InexpressibleError
from engine.protocols.prefix import Prefix, continue_from
from engine.protocols.quirks import PLAIN
from engine.protocols.registry import codec_of
from tests.gateways import PROTOCOLS
from tests.joined import call_of

USER = Turn("user", (Text("Count."),))
ASKED = Conversation((USER,), max_output_tokens=100)
PREFIX = Prefix("one, two, ", 7)


def test_the_answer_so_far_is_the_last_turn() -> None:
    """Without the spaces at its end, which Anthropic refuses there."""
    continued = continue_from(ASKED, PREFIX)
    assert continued.turns == (USER, Turn("assistant", (Text("one, two,"),)))
    assert continued == replace(ASKED, turns=continued.turns, max_output_tokens=93)


def test_a_beginning_of_the_client_s_own_is_gone_on_with() -> None:
    begun = Turn("assistant", (Text("zero, "),))
    continued = continue_from(replace(ASKED, turns=(USER, begun)), PREFIX)
    assert continued.turns == (USER, Turn("assistant", (Text("zero, one, two,"),)))


def test_a_turn_without_text_gets_one() -> None:
    called = Turn("assistant", (ToolCall("call_1", "look_up", "{}"),))
    continued = continue_from(replace(ASKED, turns=(USER, called)), PREFIX)
    assert continued.turns[-1].parts == (*called.parts, Text("one, two,"))


@pytest.mark.parametrize(
    ("limit", "came", "left"), [(None, 7, None), (100, 99, 1), (100, 100, 1), (100, 140, 1)]
)
def test_what_is_left_of_the_output_limit(limit: int | None, came: int, left: int | None) -> None:
    continued = continue_from(replace(ASKED, max_output_tokens=limit), Prefix("one", came))
    assert continued.max_output_tokens == left


@pytest.mark.parametrize(
    "asked",
    [
        {"choices": 2},
        {"output_format": JsonObject()},
        {"top_logprobs": 0},
        {"modalities": ("text", "audio")},
        {"reasoning": ReasoningRequest(effort="low")},
        {"reasoning": ReasoningRequest(adaptive=True)},
        {"reasoning": ReasoningRequest(budget_tokens=-1)},
        {"tools": (NativeTool(Native("anthropic"), "web_search"),)},
    ],
    ids=lambda asked: next(iter(asked)),
)
def test_what_cannot_be_handed_on_in_the_middle_is_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(InexpressibleError) as caught:
        continue_from(replace(ASKED, **asked), PREFIX)
    assert [caught.value.field] == list(asked)


@pytest.mark.parametrize(
    "asked",
    [
        {"modalities": ("text",)},
        {"reasoning": ReasoningRequest(effort="none")},
        {"reasoning": ReasoningRequest(budget_tokens=0)},
        {"tools": (Tool("look_up"),)},
    ],
)
def test_what_says_nothing_of_the_middle_is_not(asked: dict[str, Any]) -> None:
    continued = continue_from(replace(ASKED, **asked), PREFIX)
    assert continued.turns[-1].role == "assistant"


# ---- as bodies --------------------------------------------------------------------------------


def target_of(provider: str) -> Target:
    capabilities = Capabilities(prefill=True)
    return Target(provider, "the-model", "o200k_base", capabilities, PLAIN, hides_reasoning=False)


def prepared(client: Protocol, provider: str, prefix: Prefix | None) -> Prepared:
    call = call_of(client, 100)
    made = do_here(call, lambda _: Encode((target_of(provider),), prefix=prefix))
    assert isinstance(made, Prepared)
    return made


@pytest.mark.parametrize("provider", PROTOCOLS)
@pytest.mark.parametrize("client", [*PROTOCOLS, "openai_completions"])
def test_every_pair_makes_a_body_of_it(client: Protocol, provider: Protocol) -> None:
    """Also where both speak one protocol: then it is translated all the same."""
    plain, made = prepared(client, provider, None), prepared(client, provider, PREFIX)
    text = "one, two,"
    document = orjson.loads(made.body) if isinstance(made.body, bytes) else {}
    codec = codec_of(provider)
    read = codec.parse_request(
        replace(
            call_of(client, 100),
            protocol=provider,
            body=orjson.dumps(document),
            model="the-model",
            stream=True,
        )
    )
    conversation = codec.decode_request(read)
    assert conversation.turns[-1] == Turn("assistant", (Text(text),))
    assert conversation.turns[:-1] == (Turn("user", (Text("Tell me more."),)),)
    assert conversation.max_output_tokens == made.max_output_tokens == 93
    assert made.input.count() > plain.input.count()
    assert made.bounds.input_tokens == plain.bounds.input_tokens + len(PREFIX.text)
    assert made.bounds.limits.output_max == 93
