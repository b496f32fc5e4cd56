"""The body of a messages request as closed shapes, as the types of Anthropic's SDK have it."""

from __future__ import annotations

from typing import Final

from bench.simulate.shapes import (
    BOOLEAN,
    MAPPING,
    TEXT,
    Shape,
    anything,
    array,
    either,
    integer,
    literal,
    nullable,
    number,
    record,
    tagged,
    text,
)

ID_PATTERN: Final = "[a-zA-Z0-9_-]+"
NAME_PATTERN: Final = "[a-zA-Z0-9_-]{1,128}"
BUDGET_MIN: Final = 1_024

_TYPE: Final = TEXT
_CACHE: Final = record({"type": literal("ephemeral"), "ttl": literal("5m", "1h")}, "type")
_DISPLAY: Final = literal("summarized", "omitted")
_CALLER: Final = record({"type": _TYPE, "tool_id": TEXT}, "type")


def _block(fields: dict[str, Shape], *required: str) -> Shape:
    return record({"type": _TYPE, "cache_control": _CACHE, **fields}, "type", *required)


_CITATIONS: Final = array(MAPPING)
TEXT_BLOCK: Final = _block({"text": TEXT, "citations": _CITATIONS}, "text")
_IMAGE_SOURCE: Final = tagged(
    "type",
    {
        "base64": record(
            {
                "type": _TYPE,
                "media_type": literal("image/jpeg", "image/png", "image/gif", "image/webp"),
                "data": text(low=1),
            },
            "media_type",
            "data",
        ),
        "url": record({"type": _TYPE, "url": TEXT}, "url"),
        "file": record({"type": _TYPE, "file_id": TEXT}, "file_id"),
    },
)
_TRANSFORMATIONS: Final = record({"oversized_image": literal("downsize", "error")})
IMAGE_BLOCK: Final = _block(
    {"source": _IMAGE_SOURCE, "transformations": _TRANSFORMATIONS}, "source"
)
_DOCUMENT_SOURCE: Final = tagged(
    "type",
    {
        "base64": record(
            {"type": _TYPE, "media_type": literal("application/pdf"), "data": text(low=1)},
            "media_type",
            "data",
        ),
        "text": record(
            {"type": _TYPE, "media_type": literal("text/plain"), "data": TEXT},
            "media_type",
            "data",
        ),
        "content": record(
            {
                "type": _TYPE,
                "content": either(
                    string=TEXT,
                    array=array(tagged("type", {"text": TEXT_BLOCK, "image": IMAGE_BLOCK})),
                ),
            },
            "content",
        ),
        "url": record({"type": _TYPE, "url": TEXT}, "url"),
        "file": record({"type": _TYPE, "file_id": TEXT}, "file_id"),
    },
)
_CITED: Final = record({"enabled": BOOLEAN})
DOCUMENT_BLOCK: Final = _block(
    {"source": _DOCUMENT_SOURCE, "citations": _CITED, "context": TEXT, "title": TEXT}, "source"
)
_SEARCH_RESULT: Final = _block(
    {"content": array(TEXT_BLOCK), "source": TEXT, "title": TEXT, "citations": _CITED},
    "content",
    "source",
    "title",
)
_REFERENCE: Final = _block({"tool_name": TEXT}, "tool_name")
_RESULT_CONTENT: Final = tagged(
    "type",
    {
        "text": TEXT_BLOCK,
        "image": IMAGE_BLOCK,
        "document": DOCUMENT_BLOCK,
        "search_result": _SEARCH_RESULT,
        "tool_reference": _REFERENCE,
        "browser_state": MAPPING,
    },
)
_RUN_RESULT: Final = _block(
    {"tool_use_id": text(ID_PATTERN), "content": anything, "caller": _CALLER},
    "tool_use_id",
    "content",
)
RUN_RESULTS: Final = (
    "web_search_tool_result",
    "web_fetch_tool_result",
    "code_execution_tool_result",
    "bash_code_execution_tool_result",
    "text_editor_code_execution_tool_result",
    "tool_search_tool_result",
)
"""Results of tools that Anthropic runs; what is in them is taken as it is."""
BLOCKS: Final[dict[str, Shape]] = {
    "text": TEXT_BLOCK,
    "image": IMAGE_BLOCK,
    "document": DOCUMENT_BLOCK,
    "search_result": _SEARCH_RESULT,
    "thinking": record(
        {"type": _TYPE, "thinking": TEXT, "signature": TEXT}, "thinking", "signature"
    ),
    "redacted_thinking": record({"type": _TYPE, "data": TEXT}, "data"),
    "tool_use": _block(
        {
            "id": text(ID_PATTERN),
            "name": text(low=1, high=200),
            "input": MAPPING,
            "caller": _CALLER,
            "toolset_name": TEXT,
        },
        "id",
        "name",
        "input",
    ),
    "tool_result": _block(
        {
            "tool_use_id": text(ID_PATTERN),
            "content": either(string=TEXT, array=array(_RESULT_CONTENT)),
            "is_error": BOOLEAN,
            "toolset_name": TEXT,
        },
        "tool_use_id",
    ),
    "server_tool_use": _block(
        {"id": text(ID_PATTERN), "name": TEXT, "input": MAPPING, "caller": _CALLER},
        "id",
        "name",
        "input",
    ),
    "container_upload": _block({"file_id": TEXT}, "file_id"),
    **dict.fromkeys(RUN_RESULTS, _RUN_RESULT),
}
BETA_BLOCKS: Final[dict[str, Shape]] = dict.fromkeys(
    (
        "advisor_tool_result",
        "compaction",
        "fallback",
        "mcp_tool_result",
        "mcp_tool_use",
        "tool_addition",
        "tool_removal",
    ),
    MAPPING,
)
_SCHEMA: Final = tagged("type", {"object": MAPPING})
CUSTOM_TOOL: Final = record(
    {
        "type": nullable(literal("custom")),
        "name": text(NAME_PATTERN),
        "description": TEXT,
        "input_schema": _SCHEMA,
        "allowed_callers": array(TEXT),
        "cache_control": _CACHE,
        "defer_loading": BOOLEAN,
        "eager_input_streaming": BOOLEAN,
        "input_examples": array(MAPPING),
        "strict": BOOLEAN,
    },
    "name",
    "input_schema",
)
_CHOICE: Final = {"type": _TYPE, "disable_parallel_tool_use": BOOLEAN}
TOOL_CHOICE: Final = tagged(
    "type",
    {
        "auto": record(_CHOICE),
        "any": record(_CHOICE),
        "tool": record(_CHOICE | {"name": TEXT}, "name"),
        "none": record({"type": _TYPE}),
    },
)
THINKING: Final = tagged(
    "type",
    {
        "enabled": record(
            {"type": _TYPE, "budget_tokens": integer(BUDGET_MIN), "display": _DISPLAY},
            "budget_tokens",
        ),
        "disabled": record({"type": _TYPE}),
        "adaptive": record({"type": _TYPE, "display": _DISPLAY}),
    },
)
_FORMAT: Final = record({"type": literal("json_schema"), "schema": MAPPING}, "type", "schema")
OUTPUT_CONFIG: Final = record(
    {"effort": literal("low", "medium", "high", "xhigh", "max"), "format": _FORMAT}
)


_RUN: Final = frozenset(
    {"type", "name", "allowed_callers", "cache_control", "defer_loading", "strict"}
)
_CLIENT_RUN: Final = _RUN | {"input_examples"}
_WEB: Final = _RUN | {"allowed_domains", "blocked_domains", "max_uses"}
_SEARCH: Final = _WEB | {"user_location"}
_FETCH: Final = _WEB | {"citations", "max_content_tokens"}
_TOOLSET: Final = frozenset({"type", "allowed_callers", "cache_control", "configs"})
_SCREEN: Final = _CLIENT_RUN | {"display_height_px", "display_number", "display_width_px"}
TOOL_TYPES: Final[dict[str, frozenset[str]]] = {
    "bash_20250124": _CLIENT_RUN,
    "browser_toolset_20260801": _TOOLSET,
    "code_execution_20250522": _RUN,
    "code_execution_20250825": _RUN,
    "code_execution_20260120": _RUN,
    "code_execution_20260521": _RUN,
    "computer_toolset_20260801": _TOOLSET,
    "memory_20250818": _CLIENT_RUN,
    "text_editor_20250124": _CLIENT_RUN,
    "text_editor_20250429": _CLIENT_RUN,
    "text_editor_20250728": _CLIENT_RUN | {"max_characters"},
    "tool_search_tool_bm25": _RUN,
    "tool_search_tool_bm25_20251119": _RUN,
    "tool_search_tool_regex": _RUN,
    "tool_search_tool_regex_20251119": _RUN,
    "web_fetch_20250910": _FETCH,
    "web_fetch_20260209": _FETCH,
    "web_fetch_20260309": _FETCH | {"use_cache"},
    "web_fetch_20260318": _FETCH | {"use_cache", "response_inclusion"},
    "web_search_20250305": _SEARCH,
    "web_search_20260209": _SEARCH,
    "web_search_20260318": _SEARCH | {"response_inclusion"},
}
"""Tools that Anthropic runs or defines, by versioned type, with their keys."""
BETA_TOOL_TYPES: Final[dict[str, frozenset[str]]] = {
    "advisor_20260301": _RUN | {"caching", "max_tokens", "max_uses", "model"},
    "bash_20241022": _CLIENT_RUN,
    "computer_20241022": _SCREEN,
    "computer_20250124": _SCREEN,
    "computer_20251124": _SCREEN | {"enable_zoom"},
    "mcp_toolset": frozenset(
        {"type", "cache_control", "configs", "default_config", "mcp_server_name"}
    ),
    "text_editor_20241022": _CLIENT_RUN,
}


def _tools(types: dict[str, frozenset[str]]) -> Shape:
    shapes = {name: record(dict.fromkeys(keys, anything)) for name, keys in types.items()}
    return array(tagged("type", {"custom": CUSTOM_TOOL, **shapes}, default="custom"))


def _messages(blocks: dict[str, Shape]) -> Shape:
    content = either(string=TEXT, array=array(tagged("type", blocks)))
    message = {"role": literal("user", "assistant", "system"), "content": content}
    return array(record(message, "role", "content"), low=1)


FIELDS: Final[dict[str, Shape]] = {
    "model": text(low=1),
    "messages": _messages(BLOCKS),
    "max_tokens": integer(1),
    "cache_control": _CACHE,
    "container": either(string=TEXT, object=MAPPING),
    "inference_geo": TEXT,
    "metadata": record({"user_id": text(high=256)}),
    "output_config": OUTPUT_CONFIG,
    "service_tier": literal("auto", "standard_only"),
    "stop_sequences": array(text(r"(?s:.*\S.*)")),
    "stream": BOOLEAN,
    "system": either(string=TEXT, array=array(TEXT_BLOCK)),
    "temperature": number(0, 1),
    "thinking": THINKING,
    "tool_choice": TOOL_CHOICE,
    "tools": _tools(TOOL_TYPES),
    "top_k": integer(0),
    "top_p": number(0, 1),
}
BETA_FIELDS: Final[dict[str, Shape]] = FIELDS | {
    "messages": _messages(BLOCKS | BETA_BLOCKS),
    "tools": _tools(TOOL_TYPES | BETA_TOOL_TYPES),
    "context_management": MAPPING,
    "diagnostics": anything,
    "fallback_credit_token": TEXT,
    "fallbacks": anything,
    "mcp_servers": array(MAPPING),
    "output_format": _FORMAT,
    "speed": literal("standard", "fast"),
}
"""With `anthropic-beta`; what only betas have is taken as it is."""
COUNTED_ONLY: Final = frozenset(
    {
        "inference_geo",
        "max_tokens",
        "metadata",
        "service_tier",
        "stop_sequences",
        "stream",
        "temperature",
        "top_k",
        "top_p",
        "container",
    }
)
"""What the endpoint that counts tokens does not take."""
