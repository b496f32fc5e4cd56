"""What one request can consume at most, by its bytes and what it asks for."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engine.bounds import asked_to_reason, bounds_of, expected_input_tokens
from engine.capabilities import Capabilities
from engine.demand import Demand
from engine.events import Call
from engine.protocols.registry import client_codec

THINKS = Capabilities(reasoning="budget", reasoning_off=True, output_max_tokens=8_000)


def of_gemini(config: dict[str, Any], spelling: str = "generationConfig") -> int | None:
    """What is held for the output of a model that thinks unseen, asked in Gemini's protocol."""
    body = {"contents": [{"role": "user", "parts": [{"text": "Hi."}]}], spelling: config}
    call = Call(orjson.dumps(body), None, "gemini", model="m", stream=True)
    request = client_codec("gemini").parse_request(call)
    bounds = bounds_of(
        request,
        len(call.body),
        max_output_tokens=request.max_output_tokens,
        capabilities=THINKS,
        hides_reasoning=True,
    )
    return bounds.output_tokens


@pytest.mark.parametrize(
    ("spelling", "config"),
    [
        ("generationConfig", {"thinkingConfig": {"thinkingBudget": 100}}),
        ("generation_config", {"thinking_config": {"thinking_budget": 100}}),
        ("generation_config", {"thinkingConfig": {"thinking_level": "high"}}),
    ],
)
def test_thinking_is_held_for_in_either_spelling(spelling: str, config: dict[str, Any]) -> None:
    assert of_gemini(config, spelling) == 8_000
    assert of_gemini({}, spelling) is None, "it does not think unasked"


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({}, None),
        ({"reasoning_effort": "none"}, False),
        ({"reasoning": {"effort": "low"}}, True),
        ({"thinking": {"type": "disabled"}}, False),
        ({"thinking": {"type": "adaptive"}}, True),
        ({"generation_config": {"thinking_config": {"thinking_budget": 0}}}, False),
    ],
)
def test_who_asks_for_thinking(document: dict[str, Any], expected: bool | None) -> None:
    assert asked_to_reason(document) is expected


def test_media_are_expected_by_the_piece() -> None:
    assert expected_input_tokens(400, {}) == 100
    assert expected_input_tokens(400, {"image": 2}) == 400 + 2 * 2_048
    assert expected_input_tokens(400, {"video": 2}, window=1_000) == 1_400
    assert expected_input_tokens(10**7, {"image": 1}) == 2_048 + 4_096


def test_a_model_that_draws_while_it_chats_is_paid_for_pictures_too() -> None:
    call = Call(
        orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi."}]}), None
    )
    request = client_codec("openai_chat").parse_request(call)
    for serves, held in ((None, None), ({"chat"}, None), ({"chat", "image"}, 1)):
        bounds = bounds_of(
            request,
            len(call.body),
            max_output_tokens=None,
            capabilities=Capabilities(serves=frozenset(serves) if serves else None),  # type: ignore[arg-type]
            hides_reasoning=False,
        )
        assert bounds.pieces.get("images") == held
        assert ("images" in bounds.limits.more_max) is (held is not None)


def test_what_is_no_chat_says_what_it_can_consume() -> None:
    call = Call(orjson.dumps({"input": "Hi."}), None, "openai", "moderate")
    request = client_codec("openai", "moderate").parse_request(call)
    demand = Demand(100, 0, 10, {"characters": 30}, {"characters": 30}, "high")
    bounds = bounds_of(
        request,
        len(call.body),
        max_output_tokens=0,
        capabilities=Capabilities(context_window_tokens=1),
        hides_reasoning=False,
        demand=demand,
    )
    assert (bounds.input_tokens, bounds.output_tokens, bounds.service_tier) == (100, 0, "high")
    assert bounds.pieces == {"characters": 30, "requests": 1}
    assert bounds.limits.more_max == {"characters": 30}
