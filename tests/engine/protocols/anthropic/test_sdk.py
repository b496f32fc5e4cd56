"""The judge itself: that the types of the SDK, read as closed, catch what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engine.protocols.anthropic import sdk

GOOD: dict[str, Any] = {
    "model": "m",
    "max_tokens": 1,
    "messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}],
    "tools": [{"name": "f", "input_schema": {"type": "object"}}],
    "thinking": {"type": "enabled", "budget_tokens": 1024},
}


def test_a_good_request_has_no_problems() -> None:
    assert sdk.request_problems(GOOD) == []
    assert sdk.request_problems(GOOD | {"stream": True}) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"max_tokens": "1"},
        {"max_tokens": True},
        {"unknown": 1},
        {"stream": 1},
        {"messages": [{"role": "tool", "content": "x"}]},
        {"messages": [{"role": "user"}]},
        {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "extra": 1}]}]},
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]},
        {"tools": [{"name": "f"}]},
        {"tools": [{"name": "f", "input_schema": {"type": "object"}, "strict": "yes"}]},
        {"thinking": {"type": "enabled"}},
        {"tool_choice": {"type": "tool"}},
        {"stop_sequences": "x"},
        {"output_config": {"effort": "huge"}},
    ],
)
def test_a_planted_fault_is_found(changes: dict[str, Any]) -> None:
    assert sdk.request_problems(GOOD | changes) != []


def test_a_missing_member_is_found() -> None:
    for name in ("model", "max_tokens", "messages"):
        assert sdk.request_problems({k: v for k, v in GOOD.items() if k != name}) != []
