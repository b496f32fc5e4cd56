"""The input items of a responses request as closed shapes, as the types of OpenAI's SDK have it.

What the simulated model reads is checked to the last value; of the items that tools leave behind
which OpenAI runs, only which fields there may be.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bench.simulate.openai_tools import NAME_PATTERN
from bench.simulate.shapes import (
    BOOLEAN,
    MAPPING,
    TEXT,
    Path,
    Shape,
    Violation,
    anything,
    array,
    either,
    literal,
    record,
    tagged,
    text,
)

_NAME: Final = text(NAME_PATTERN)
_CALL_ID: Final = text(low=1, high=64)
_STATUS: Final = literal("in_progress", "completed", "incomplete")
_CACHED: Final = {"prompt_cache_breakpoint": anything}


def _own_id(prefix: str) -> Shape:
    """The id of an item of an answer that comes back."""

    def check(path: Path, value: Any) -> Any:
        TEXT(path, value)
        if not value.startswith(prefix):
            raise Violation(path, "prefix", prefix, value)
        return value

    return check


INPUT_PARTS: Final[dict[str, Shape]] = {
    "input_text": record({"type": TEXT, "text": TEXT, **_CACHED}, "text"),
    "input_image": record(
        {
            "type": TEXT,
            "detail": literal("low", "high", "auto", "original"),
            "file_id": TEXT,
            "image_url": TEXT,
            **_CACHED,
        }
    ),
    "input_file": record(
        {
            "type": TEXT,
            "detail": literal("auto", "low", "high"),
            "file_data": TEXT,
            "file_id": TEXT,
            "file_url": TEXT,
            "filename": TEXT,
            **_CACHED,
        }
    ),
}
OUTPUT_PARTS: Final[dict[str, Shape]] = {
    "output_text": record(
        {"type": TEXT, "text": TEXT, "annotations": array(MAPPING), "logprobs": array(MAPPING)},
        "text",
    ),
    "refusal": record({"type": TEXT, "refusal": TEXT}, "refusal"),
}
_PHASE: Final = literal("commentary", "final_answer")


def _message(parts: Mapping[str, Shape], **more: Shape) -> Shape:
    content = either(string=TEXT, array=array(tagged("type", parts)))
    return record(
        {"type": TEXT, "role": TEXT, "status": _STATUS, "content": content, **more}, "content"
    )


MESSAGES: Final[dict[str, Shape]] = {
    **dict.fromkeys(("user", "system", "developer"), _message(INPUT_PARTS, phase=_PHASE)),
    "assistant": _message(OUTPUT_PARTS, id=_own_id("msg"), phase=_PHASE),
}
_RESULT: Final = either(string=TEXT, array=array(tagged("type", INPUT_PARTS)))
_SUMMARY: Final = record({"type": literal("summary_text"), "text": TEXT}, "type", "text")
_THOUGHT: Final = record({"type": literal("reasoning_text"), "text": TEXT}, "type", "text")
ITEMS: Final[dict[str, Shape]] = {
    "message": tagged("role", MESSAGES),
    "function_call": record(
        {
            "type": TEXT,
            "id": _own_id("fc"),
            "async": BOOLEAN,
            "arguments": TEXT,
            "call_id": _CALL_ID,
            "caller": MAPPING,
            "name": _NAME,
            "namespace": TEXT,
            "status": _STATUS,
        },
        "arguments",
        "call_id",
        "name",
    ),
    "function_call_output": record(
        {
            "type": TEXT,
            "id": TEXT,
            "call_id": _CALL_ID,
            "caller": MAPPING,
            "name": TEXT,
            "namespace": TEXT,
            "output": _RESULT,
            "status": _STATUS,
        },
        "call_id",
        "output",
    ),
    "custom_tool_call": record(
        {
            "type": TEXT,
            "id": _own_id("ctc"),
            "async": BOOLEAN,
            "call_id": _CALL_ID,
            "caller": MAPPING,
            "input": TEXT,
            "name": _NAME,
            "namespace": TEXT,
            "status": _STATUS,
        },
        "call_id",
        "input",
        "name",
    ),
    "custom_tool_call_output": record(
        {"type": TEXT, "id": TEXT, "call_id": _CALL_ID, "caller": MAPPING, "output": _RESULT},
        "call_id",
        "output",
    ),
    "reasoning": record(
        {
            "type": TEXT,
            "id": _own_id("rs"),
            "summary": array(_SUMMARY),
            "content": array(_THOUGHT),
            "encrypted_content": TEXT,
            "status": _STATUS,
        },
        "summary",
    ),
    "item_reference": record({"type": TEXT, "id": TEXT}, "id"),
}
"""The items the simulated model reads."""
_CALL: Final = frozenset({"type", "id", "call_id", "caller", "status"})
OTHER_ITEMS: Final[dict[str, frozenset[str]]] = {
    "file_search_call": frozenset({"type", "id", "queries", "status", "results"}),
    "computer_call": frozenset(
        {"type", "id", "call_id", "pending_safety_checks", "status", "action", "actions"}
    ),
    "computer_call_output": frozenset(
        {"type", "id", "call_id", "output", "acknowledged_safety_checks", "status"}
    ),
    "web_search_call": frozenset({"type", "id", "action", "status"}),
    "tool_search_call": frozenset({"type", "id", "call_id", "arguments", "execution", "status"}),
    "tool_search_output": frozenset({"type", "id", "call_id", "tools", "execution", "status"}),
    "additional_tools": frozenset({"type", "id", "role", "tools"}),
    "configuration_update": frozenset({"type", "id", "reasoning", "text"}),
    "compaction": frozenset({"type", "id", "encrypted_content"}),
    "compaction_trigger": frozenset({"type", "id"}),
    "image_generation_call": frozenset(
        {
            "type",
            "id",
            "action",
            "background",
            "error",
            "output_format",
            "quality",
            "result",
            "revised_prompt",
            "size",
            "status",
            "svg_usage",
        }
    ),
    "code_interpreter_call": frozenset({"type", "id", "code", "container_id", "outputs", "status"}),
    "local_shell_call": frozenset({"type", "id", "action", "call_id", "status"}),
    "local_shell_call_output": frozenset({"type", "id", "output", "status"}),
    "shell_call": _CALL | {"action", "environment"},
    "shell_call_output": _CALL | {"output", "max_output_length"},
    "apply_patch_call": _CALL | {"operation"},
    "apply_patch_call_output": _CALL | {"output"},
    "mcp_list_tools": frozenset({"type", "id", "server_label", "tools", "error"}),
    "mcp_approval_request": frozenset({"type", "id", "arguments", "name", "server_label"}),
    "mcp_approval_response": frozenset({"type", "id", "approval_request_id", "approve", "reason"}),
    "mcp_call": frozenset(
        {
            "type",
            "id",
            "approval_request_id",
            "arguments",
            "error",
            "name",
            "output",
            "server_label",
            "status",
        }
    ),
    "program": frozenset({"type", "id", "call_id", "code", "fingerprint"}),
    "program_output": frozenset({"type", "id", "call_id", "result", "status"}),
}
"""Items of tools that OpenAI runs, with the fields they may have."""


def open_record(fields: frozenset[str]) -> Shape:
    """An object with these keys and no others, whatever their values."""
    return record(dict.fromkeys(fields, anything) | {"type": TEXT})


INPUT: Final = either(
    string=TEXT,
    array=array(
        tagged(
            "type",
            ITEMS | {name: open_record(fields) for name, fields in OTHER_ITEMS.items()},
            default="message",
        )
    ),
)
