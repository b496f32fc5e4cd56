"""Thinking in requests to Anthropic's providers: by the model's style, below the limit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from engine.conversation import (
    Reasoning,
    ReasoningRequest,
    Signature,
    Text,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
)
from tests.engine.protocols.anthropic.test_encoding import HELLO, F, able, encode

BUDGET = {"reasoning": "budget"}
ADAPTIVE = {"reasoning": "adaptive", "efforts": ("low", "medium", "high", "max")}


@pytest.mark.parametrize(
    ("asked", "traits", "thinking", "effort"),
    [
        (ReasoningRequest(effort="low"), BUDGET, 1_024, None),
        (ReasoningRequest(effort="minimal"), BUDGET, 1_024, None),
        (ReasoningRequest(effort="medium"), {}, 8_192, None),
        (ReasoningRequest(effort="high"), BUDGET, 24_576, None),
        (ReasoningRequest(effort="max"), BUDGET | {"reasoning_budget_max": 30_000}, 30_000, None),
        (ReasoningRequest(budget_tokens=100), BUDGET, 1_024, None),
        (ReasoningRequest(budget_tokens=2_000), {}, 2_000, None),
        (ReasoningRequest(budget_tokens=-1), BUDGET, 8_192, None),
        (ReasoningRequest(adaptive=True), BUDGET, 8_192, None),
        (ReasoningRequest(effort="none"), BUDGET, "disabled", None),
        (ReasoningRequest(budget_tokens=0), {}, "disabled", None),
        (ReasoningRequest(budget_tokens=0), {"reasoning_off": False}, None, None),
        (ReasoningRequest(effort="none"), {"reasoning": "none"}, None, None),
        (ReasoningRequest(effort="high"), {"reasoning": "none"}, None, None),
        (ReasoningRequest(effort="high"), ADAPTIVE, "adaptive", "high"),
        (ReasoningRequest(effort="xhigh"), ADAPTIVE, "adaptive", "high"),
        (ReasoningRequest(effort="minimal"), ADAPTIVE, "adaptive", "low"),
        (ReasoningRequest(budget_tokens=2_000), ADAPTIVE, "adaptive", "low"),
        (ReasoningRequest(budget_tokens=9_000), ADAPTIVE, "adaptive", "medium"),
        (ReasoningRequest(budget_tokens=60_000), ADAPTIVE, "adaptive", "high"),
        (ReasoningRequest(budget_tokens=-1), ADAPTIVE, "adaptive", None),
        (ReasoningRequest(adaptive=True, effort="low"), {}, "adaptive", "low"),
        (ReasoningRequest(effort="medium"), {"reasoning": "effort"}, None, "medium"),
    ],
)
def test_thinking(
    asked: ReasoningRequest, traits: dict[str, Any], thinking: int | str | None, effort: str | None
) -> None:
    body, dropped = encode(replace(HELLO, reasoning=asked), able(**traits))
    said = body.get("thinking", {})
    assert said.get("budget_tokens", said.get("type")) == thinking
    assert body.get("output_config", {}).get("effort") == effort
    if isinstance(thinking, int):
        assert body["max_tokens"] > thinking
    asked_for_some = asked.effort != "none" and asked.budget_tokens != 0
    kept = thinking is not None or effort is not None
    refused_off = traits.get("reasoning_off") is False
    assert dropped == (("reasoning",) if refused_off or (asked_for_some and not kept) else ())


@pytest.mark.parametrize(("visible", "display"), [(True, "summarized"), (False, "omitted")])
def test_whether_thinking_is_to_be_seen(visible: bool, display: str) -> None:
    asked = ReasoningRequest(budget_tokens=2_000, visible=visible)
    assert encode(replace(HELLO, reasoning=asked))[0]["thinking"]["display"] == display


@pytest.mark.parametrize(
    ("named", "asked", "most", "limit", "expected"),
    [
        (500, ReasoningRequest(effort="low"), None, None, (1_524, 1_024)),
        (500, ReasoningRequest(budget_tokens=2_000), None, None, (2_500, 2_000)),
        (5_000, ReasoningRequest(budget_tokens=2_000), None, None, (5_000, 2_000)),
        (None, ReasoningRequest(effort="high"), None, None, (32_768, 24_576)),
        (None, ReasoningRequest(effort="high"), 64_000, None, (64_000, 24_576)),
        (500, ReasoningRequest(effort="high"), 20_000, None, (20_000, 19_999)),
        (None, ReasoningRequest(effort="low"), None, 1_500, (1_500, 1_024)),
        (None, ReasoningRequest(effort="high"), None, 1_500, (1_500, 1_499)),
        (None, ReasoningRequest(effort="high"), None, 1_024, (1_024, None)),
    ],
)
def test_the_limit_leaves_room_for_the_budget(
    named: int | None,
    asked: ReasoningRequest,
    most: int | None,
    limit: int | None,
    expected: tuple[int, int | None],
) -> None:
    body, dropped = encode(
        replace(HELLO, max_output_tokens=named, reasoning=asked),
        replace(able(output_max_tokens=most), output_limit=limit),
    )
    assert (body["max_tokens"], body.get("thinking", {}).get("budget_tokens")) == expected
    assert dropped == (("reasoning",) if expected[1] is None else ())


CALLED = (ToolCall("t", "f", "{}"),)
THOUGHT = (Reasoning("hm", Signature("anthropic", "ErUB")), *CALLED)
RESULT = Turn("user", (ToolResult("t", (Text("x"),)),))


@pytest.mark.parametrize(
    ("turns", "choice", "adaptive", "thinks"),
    [
        ((Turn("assistant", THOUGHT), RESULT), None, False, True),
        ((Turn("assistant", CALLED), RESULT), None, False, False),
        ((Turn("assistant", CALLED), RESULT), None, True, True),
        ((Turn("assistant", CALLED), RESULT, Turn("assistant", (Text("so"),)), *HELLO.turns),
         None, False, True),
        ((Turn("assistant", (Text("so"),)),), None, False, False),
        ((), ToolChoice("required"), False, False),
        ((), ToolChoice("required"), True, True),
        ((), ToolChoice("auto"), False, True),
    ],
)  # fmt: skip
def test_thinking_is_left_out_where_the_api_refuses_it(
    turns: tuple[Turn, ...], choice: ToolChoice | None, adaptive: bool, thinks: bool
) -> None:
    asked = ReasoningRequest(adaptive=True) if adaptive else ReasoningRequest(budget_tokens=2_000)
    body, dropped = encode(
        replace(
            HELLO,
            turns=HELLO.turns + turns,
            tools=(F,),
            tool_choice=choice,
            reasoning=asked,
        )
    )
    assert ("thinking" in body) is thinks
    assert dropped == (() if thinks else ("reasoning",))
