"""What the tools of a run cost beside tokens."""

from __future__ import annotations

from typing import Any

import pytest

from engine.protocols.openai_runs.reading import code_begun_s


def step(*kinds: str, status: str = "completed", at: object = 1_800_000_000) -> dict[str, Any]:
    calls = [{"id": f"call_{kind}", "type": kind} for kind in kinds]
    details = {"type": "tool_calls", "tool_calls": calls}
    return {"status": status, "created_at": at, "step_details": details}


WRITTEN = {"status": "completed", "created_at": 7, "step_details": {"type": "message_creation"}}
CODE = "code_interpreter"


@pytest.mark.parametrize(
    ("steps", "begun_s"),
    [
        ([], None),
        ([WRITTEN, step("function")], None),
        ([step("file_search"), step("file_search")], None),
        ([step(CODE, at=5), WRITTEN, step(CODE, at=9)], 5),
        ([step("file_search", CODE)], 1_800_000_000),
        ([step(CODE, status="failed")], None),
        ([step(CODE, at=None)], 0),
        ([step(CODE, at=True)], 0),
        ([step(CODE, at=10**30)], 0),
    ],
)
def test_code_begins_with_the_first_step_that_ran_some(
    steps: list[dict[str, Any]], begun_s: int | None
) -> None:
    assert code_begun_s(steps) == begun_s
