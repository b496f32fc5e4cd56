"""What the tools of a run cost beside tokens."""

from __future__ import annotations

from typing import Any

import pytest

from engine.protocols.openai_runs.reading import units_of


def step(*kinds: str, status: str = "completed") -> dict[str, Any]:
    calls = [{"id": f"call_{kind}", "type": kind} for kind in kinds]
    return {"status": status, "step_details": {"type": "tool_calls", "tool_calls": calls}}


WRITTEN = {"status": "completed", "step_details": {"type": "message_creation"}}


@pytest.mark.parametrize(
    ("steps", "units"),
    [
        ([], {}),
        ([WRITTEN, step("function")], {}),
        ([step("file_search"), step("file_search")], {}),
        ([step("code_interpreter"), WRITTEN, step("code_interpreter")], {"code_sessions": 1}),
        ([step("file_search", "code_interpreter")], {"code_sessions": 1}),
        ([step("code_interpreter", status="failed")], {}),
    ],
)
def test_code_is_one_session_and_searches_cost_nothing(
    steps: list[dict[str, Any]], units: dict[str, int]
) -> None:
    assert units_of(steps) == units
