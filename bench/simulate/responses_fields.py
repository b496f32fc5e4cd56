"""The fields of a responses request but for its items, as the types of OpenAI's SDK have them.

What the simulated model acts on is checked to the last value; of the tools OpenAI runs, only which
fields there may be.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bench.simulate import openai_fields as chat
from bench.simulate.openai_fields import Check, decimal, integer, one_of, typed
from bench.simulate.openai_tools import NAME_PATTERN, TOOLS_MAX
from bench.simulate.responses_items import INPUT, open_record
from bench.simulate.shapes import (
    BOOLEAN,
    MAPPING,
    TEXT,
    Shape,
    array,
    either,
    literal,
    record,
    tagged,
    text,
)

INCLUDABLE: Final = (
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "reasoning.encrypted_content",
    "message.output_text.logprobs",
)
FIELDS: Final[Mapping[str, Check]] = {
    "access_programs": chat.OBJECT,
    "background": chat.BOOLEAN,
    "background_options": chat.OBJECT,
    "context_management": chat.OBJECTS,
    "conversation": chat.anything,
    "image": chat.OBJECT,
    "include": typed("an array of strings", list),
    "input": typed("a string or an array of objects", str, list),
    "instructions": chat.STRING,
    "max_output_tokens": integer(16),
    "max_tool_calls": integer(1),
    "metadata": chat.OBJECT,
    "model": chat.STRING,
    "moderation": chat.OBJECT,
    "parallel_tool_calls": chat.BOOLEAN,
    "previous_response_id": chat.STRING,
    "prompt": chat.OBJECT,
    "prompt_cache_key": chat.STRING,
    "prompt_cache_options": chat.OBJECT,
    "prompt_cache_retention": one_of("in_memory", "24h"),
    "reasoning": chat.OBJECT,
    "safety_identifier": chat.STRING,
    "service_tier": one_of("auto", "default", "flex", "scale", "priority", "fast", "ultrafast"),
    "store": chat.BOOLEAN,
    "stream": chat.BOOLEAN,
    "stream_options": chat.OBJECT,
    "temperature": decimal(0, 2),
    "text": chat.OBJECT,
    "tool_choice": chat.anything,
    "tools": chat.OBJECTS,
    "top_logprobs": integer(0, 20),
    "top_p": decimal(0, 1),
    "truncation": one_of("auto", "disabled"),
    "user": chat.STRING,
}
COUNTED: Final[Mapping[str, Check]] = {
    name: FIELDS[name]
    for name in (
        "conversation",
        "input",
        "instructions",
        "model",
        "parallel_tool_calls",
        "previous_response_id",
        "reasoning",
        "text",
        "tool_choice",
        "tools",
        "truncation",
    )
} | {"personality": chat.STRING}
"""The fields of the endpoint that counts the input."""

_NAME: Final = text(NAME_PATTERN)
FUNCTION_TOOL: Final = record(
    {
        "type": TEXT,
        "async": BOOLEAN,
        "name": _NAME,
        "parameters": MAPPING,
        "strict": BOOLEAN,
        "allowed_callers": array(literal("direct", "programmatic")),
        "defer_loading": BOOLEAN,
        "description": TEXT,
        "output_schema": MAPPING,
    },
    "name",
)
CUSTOM_TOOL: Final = record(
    {
        "type": TEXT,
        "async": BOOLEAN,
        "name": _NAME,
        "allowed_callers": array(literal("direct", "programmatic")),
        "defer_loading": BOOLEAN,
        "description": TEXT,
        "format": MAPPING,
    },
    "name",
)
_WEB: Final = frozenset({"type", "search_context_size", "user_location"})
TOOL_TYPES: Final[dict[str, frozenset[str]]] = {
    "file_search": frozenset(
        {"type", "vector_store_ids", "filters", "max_num_results", "ranking_options"}
    ),
    "computer": frozenset({"type"}),
    "computer_use_preview": frozenset({"type", "display_height", "display_width", "environment"}),
    **dict.fromkeys(
        ("web_search", "web_search_2025_08_26"), _WEB | {"external_web_access", "filters"}
    ),
    **dict.fromkeys(
        ("web_search_preview", "web_search_preview_2025_03_11"), _WEB | {"search_content_types"}
    ),
    "mcp": frozenset(
        {
            "type",
            "server_label",
            "allowed_callers",
            "allowed_tools",
            "authorization",
            "connector_id",
            "defer_loading",
            "headers",
            "require_approval",
            "server_description",
            "server_url",
            "tunnel_id",
        }
    ),
    "code_interpreter": frozenset({"type", "container", "allowed_callers"}),
    "programmatic_tool_calling": frozenset({"type"}),
    "image_generation": frozenset(
        {
            "type",
            "action",
            "background",
            "complexity",
            "frame_count",
            "frame_duration_ms",
            "input_fidelity",
            "input_image_mask",
            "model",
            "moderation",
            "output_compression",
            "output_format",
            "partial_images",
            "quality",
            "size",
            "svg",
        }
    ),
    "local_shell": frozenset({"type"}),
    "shell": frozenset({"type", "allowed_callers", "environment"}),
    "namespace": frozenset({"type", "description", "name", "tools"}),
    "tool_search": frozenset({"type", "description", "execution", "parameters"}),
    "apply_patch": frozenset({"type", "allowed_callers"}),
}
"""Tools that OpenAI runs, with the fields they may have."""
TOOLS: Final = array(
    tagged(
        "type",
        {"function": FUNCTION_TOOL, "custom": CUSTOM_TOOL}
        | {name: open_record(fields) for name, fields in TOOL_TYPES.items()},
    ),
    high=TOOLS_MAX,
)
_HOSTED: Final = record({"type": TEXT})
TOOL_CHOICE: Final = either(
    string=literal("none", "auto", "required"),
    object=tagged(
        "type",
        {
            "function": record({"type": TEXT, "name": TEXT}, "name"),
            "custom": record({"type": TEXT, "name": TEXT}, "name"),
            "mcp": record({"type": TEXT, "server_label": TEXT, "name": TEXT}, "server_label"),
            "allowed_tools": record(
                {"type": TEXT, "mode": literal("auto", "required"), "tools": array(MAPPING)},
                "mode",
                "tools",
            ),
            **{name: _HOSTED for name in TOOL_TYPES if name not in ("mcp", "namespace")},
        },
    ),
)
TEXT_CONFIG: Final = record(
    {
        "format": tagged(
            "type",
            {
                "text": record({"type": TEXT}),
                "json_object": record({"type": TEXT}),
                "json_schema": record(
                    {
                        "type": TEXT,
                        "name": _NAME,
                        "schema": MAPPING,
                        "description": TEXT,
                        "strict": BOOLEAN,
                    },
                    "name",
                    "schema",
                ),
            },
        ),
        "verbosity": literal("low", "medium", "high"),
    }
)
_SUMMARIES: Final = literal("auto", "concise", "detailed")
REASONING: Final = record(
    {
        "context": literal("auto", "current_turn", "all_turns"),
        "effort": literal("none", "minimal", "low", "medium", "high", "xhigh", "max"),
        "generate_summary": _SUMMARIES,
        "mode": TEXT,
        "summary": _SUMMARIES,
    }
)
NESTED: Final[Mapping[str, Shape]] = {
    "input": INPUT,
    "include": array(literal(*INCLUDABLE)),
    "tools": TOOLS,
    "tool_choice": TOOL_CHOICE,
    "text": TEXT_CONFIG,
    "reasoning": REASONING,
    "stream_options": record({"include_obfuscation": BOOLEAN}),
}
