"""The nested objects of an OpenAI chat request as closed shapes: messages, tools, formats."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bench.simulate.chat import Tool
from bench.simulate.errors import ApiError
from bench.simulate.openai_fields import refusal_of
from bench.simulate.shapes import (
    BOOLEAN,
    MAPPING,
    TEXT,
    Shape,
    Violation,
    anything,
    array,
    either,
    literal,
    nullable,
    record,
    tagged,
    text,
)

NAME_PATTERN: Final = "[a-zA-Z0-9_-]{1,64}"
TOOLS_MAX: Final = 128
_NAME: Final = text(NAME_PATTERN)
_TYPE: Final = TEXT
_CALL: Final = tagged(
    "type",
    {
        "function": record(
            {
                "id": TEXT,
                "type": _TYPE,
                "function": record(
                    {"name": _NAME, "arguments": TEXT, "parsed_arguments": anything},
                    "name",
                    "arguments",
                ),
                "index": anything,
            },
            "id",
            "function",
        ),
        "custom": record(
            {"id": TEXT, "type": _TYPE, "custom": record({"name": TEXT, "input": TEXT}, "name")},
            "id",
            "custom",
        ),
    },
)
_DETAIL: Final = literal("auto", "low", "high", "original")
_BREAKPOINT: Final = {"prompt_cache_breakpoint": anything}
PARTS: Final[dict[str, Shape]] = {
    "text": record({"type": _TYPE, "text": TEXT, **_BREAKPOINT}, "text"),
    "refusal": record({"type": _TYPE, "refusal": TEXT}, "refusal"),
    "image_url": record(
        {
            "type": _TYPE,
            "image_url": record({"url": TEXT, "detail": _DETAIL}, "url"),
            **_BREAKPOINT,
        },
        "image_url",
    ),
    "input_audio": record(
        {
            "type": _TYPE,
            "input_audio": record(
                {"data": TEXT, "format": literal("wav", "mp3")}, "data", "format"
            ),
            **_BREAKPOINT,
        },
        "input_audio",
    ),
    "file": record(
        {
            "type": _TYPE,
            "file": record({"file_data": TEXT, "file_id": TEXT, "filename": TEXT}),
            **_BREAKPOINT,
        },
        "file",
    ),
}
_OF_ROLE: Final = {
    "system": ("text",),
    "developer": ("text",),
    "tool": ("text",),
    "function": ("text",),
    "user": ("text", "image_url", "input_audio", "file"),
    "assistant": ("text", "refusal"),
}
"""The parts a role may have."""


def _content(role: str) -> Shape:
    parts = tagged("type", {name: PARTS[name] for name in _OF_ROLE[role]})
    return nullable(either(string=TEXT, array=array(parts, low=1)))


MESSAGES: Final[dict[str, Shape]] = {
    role: record({"role": TEXT, "content": _content(role), "name": TEXT, **more})
    for role, more in {
        "system": {},
        "developer": {},
        "user": {},
        "function": {},
        "tool": {"tool_call_id": TEXT},
        "assistant": {
            "tool_calls": array(_CALL, low=1, high=TOOLS_MAX),
            "function_call": record({"name": TEXT, "arguments": TEXT}, "name", "arguments"),
            "refusal": TEXT,
            "audio": record({"id": TEXT}, "id"),
            "annotations": array(MAPPING),
            "reasoning_content": TEXT,
            "parsed": anything,
        },
    }.items()
}
"""`annotations` and `reasoning_content` are of answers; clients send them back as they got them,
and OpenAI's SDK with what it made of them: `index`, `parsed`, `parsed_arguments`."""
_FUNCTION: Final = record(
    {"name": _NAME, "description": TEXT, "parameters": MAPPING, "strict": BOOLEAN}, "name"
)
TOOLS: Final = array(
    tagged(
        "type",
        {
            "function": record({"type": _TYPE, "function": _FUNCTION}, "function"),
            "custom": record(
                {
                    "type": _TYPE,
                    "custom": record(
                        {"name": _NAME, "description": TEXT, "format": MAPPING}, "name"
                    ),
                },
                "custom",
            ),
        },
    ),
    low=1,
    high=TOOLS_MAX,
)
_NAMED: Final = record({"name": TEXT}, "name")
TOOL_CHOICE: Final = either(
    string=literal("none", "auto", "required"),
    object=tagged(
        "type",
        {
            "function": record({"type": _TYPE, "function": _NAMED}, "function"),
            "custom": record({"type": _TYPE, "custom": _NAMED}, "custom"),
            "allowed_tools": record(
                {
                    "type": _TYPE,
                    "allowed_tools": record(
                        {"mode": literal("auto", "required"), "tools": array(MAPPING)},
                        "mode",
                        "tools",
                    ),
                },
                "allowed_tools",
            ),
        },
    ),
)
RESPONSE_FORMAT: Final = tagged(
    "type",
    {
        "text": record({"type": _TYPE}),
        "json_object": record({"type": _TYPE}),
        "json_schema": record(
            {
                "type": _TYPE,
                "json_schema": record(
                    {"name": _NAME, "description": TEXT, "schema": MAPPING, "strict": BOOLEAN},
                    "name",
                ),
            },
            "json_schema",
        ),
    },
)
_NESTED: Final[Mapping[str, Shape]] = {
    "tools": TOOLS,
    "tool_choice": TOOL_CHOICE,
    "response_format": RESPONSE_FORMAT,
}
ANY_JSON: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {"answer": {"type": "string"}},
    "required": ["answer"],
}


def check_nested(request: Mapping[str, Any]) -> None:
    """Check tools, their choice, the format and each message, whose role is known to be one.

    Raises:
        ApiError: 400, naming the place.
    """
    try:
        for name, shape in _NESTED.items():
            if request.get(name) is not None:
                shape((name,), request[name])
        for index, message in enumerate(request["messages"]):
            MESSAGES[message["role"]](("messages", index), message)
    except Violation as violation:
        raise refusal_of(violation) from None
    choice = request.get("tool_choice")
    if choice is not None and not request.get("tools"):
        raise ApiError(
            "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are "
            "specified.",
            param="tool_choice",
        )
    if isinstance(choice, dict) and choice["type"] in ("function", "custom"):
        kind = choice["type"]
        name = choice[kind]["name"]
        declared = [(tool.name, tool.custom) for tool in tools_of(request)]
        if (name, kind == "custom") not in declared:
            raise ApiError(
                f"Tool choice '{kind}' with name '{name}' not found in 'tools' parameter.",
                param="tool_choice",
            )
    if request.get("parallel_tool_calls") is not None and not request.get("tools"):
        raise ApiError(
            "Invalid value for 'parallel_tool_calls': 'parallel_tool_calls' is only allowed when "
            "'tools' are specified.",
            param="parallel_tool_calls",
        )


def tools_of(request: Mapping[str, Any]) -> list[Tool]:
    """The functions and custom tools that are declared."""
    empty = {"type": "object", "properties": {}}
    return [
        Tool(tool["custom"]["name"], {}, custom=True)
        if tool["type"] == "custom"
        else Tool(tool["function"]["name"], tool["function"].get("parameters") or empty)
        for tool in request.get("tools") or ()
    ]


def forced_tools(request: Mapping[str, Any]) -> tuple[str, ...]:
    """The tools of which one has to be called."""
    match request.get("tool_choice"):
        case "required":
            return tuple(tool.name for tool in tools_of(request))
        case {"type": "function", "function": {"name": name}}:
            return (name,)
        case {"type": "custom", "custom": {"name": name}}:
            return (name,)
        case {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": tools}}:
            named = [tool.get("function") or tool.get("custom") or {} for tool in tools]
            return tuple(tool["name"] for tool in named if "name" in tool)
    return ()


def answer_schema(request: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The schema the text has to have."""
    match request.get("response_format"):
        case {"type": "json_schema", "json_schema": {"schema": dict() as schema}}:
            return schema
        case {"type": "json_schema" | "json_object"}:
            return ANY_JSON
    return None
