"""A client's request as a canonical conversation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from engine.conversation import (
    Conversation,
    JsonObject,
    JsonSchema,
    NativeTool,
    ReasoningRequest,
    Tool,
    ToolChoice,
    Unexpressed,
)
from engine.protocols.codec import ClientRequest
from engine.protocols.fields import dict_of, text_of
from engine.protocols.openai_responses.decode_items import ItemReader
from engine.protocols.openai_responses.marks import native
from engine.protocols.openai_shared import read_effort
from engine.protocols.openai_values import number, string, wrong

LOGPROBS = "message.output_text.logprobs"

# Read elsewhere in this module, or by parsing.
_READ = frozenset(
    {
        "model",
        "input",
        "instructions",
        "stream",
        "stream_options",
        "max_output_tokens",
        "temperature",
        "top_p",
        "top_logprobs",
        "include",
        "reasoning",
        "text",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "user",
        "safety_identifier",
        "metadata",
        "service_tier",
    }
)
# What a model answers the same without. The limit of calls is one of the provider's own tools.
_HARMLESS = frozenset(
    {
        "store",
        "truncation",
        "max_tool_calls",
        "prompt_cache_key",
        "prompt_cache_retention",
        "prompt_cache_options",
    }
)
# Said, they ask for what is done anyway.
_DEFAULTS = {"truncation": "disabled", "reasoning.mode": "standard", "reasoning.context": "auto"}
_SUMMARIES = frozenset({"auto", "concise", "detailed"})
_REASONING = frozenset({"effort", "summary", "generate_summary", "context", "mode"})


def decode_request(request: ClientRequest) -> Conversation:
    """The canonical form; what is not said, or said as its default, is None.

    Raises:
        InvalidRequestError: what OpenAI would refuse.
    """
    document = request.document
    reader = ItemReader()
    turns = reader.read(string(document, "instructions"), document["input"])
    tool_choice, unknown_choice = _tool_choice(document.get("tool_choice"))
    unexpressed = [*reader.unexpressed, *unknown_choice, *_unexpressed(document)]
    text = _members(document, "text")
    return Conversation(
        turns=turns,
        max_output_tokens=request.max_output_tokens,
        temperature=number(document, "temperature", 0, 2),
        top_p=number(document, "top_p", 0, 1),
        top_logprobs=_top_logprobs(document),
        reasoning=_reasoning(_members(document, "reasoning")),
        verbosity=text_of(text.get("verbosity")) or None,
        output_format=_output_format(text.get("format")),
        tools=tuple(_tools(document.get("tools"))),
        tool_choice=tool_choice,
        parallel_tool_calls=False if document.get("parallel_tool_calls") is False else None,
        end_user=string(document, "safety_identifier") or string(document, "user"),
        metadata=_metadata(document.get("metadata")),
        service_tier=string(document, "service_tier"),
        unexpressed=tuple(unexpressed),
    )


def _unexpressed(document: dict[str, Any]) -> Iterator[Unexpressed]:
    for name, value in document.items():
        # An empty object may ask for something, other empty values do not.
        if name in _READ or (not value and not isinstance(value, dict)):
            continue
        if _DEFAULTS.get(name) != value:
            yield Unexpressed(name, harmless=name in _HARMLESS)
    for parent, known in (("reasoning", _REASONING), ("text", {"format", "verbosity"})):
        for name, value in dict_of(document.get(parent)).items():
            if value and name not in known:
                yield Unexpressed(f"{parent}.{name}", harmless=False)
    reasoning = dict_of(document.get("reasoning"))
    for name, harmless in (("mode", False), ("context", True)):
        path = f"reasoning.{name}"
        if reasoning.get(name) and reasoning[name] != _DEFAULTS[path]:
            yield Unexpressed(path, harmless)
    if dict_of(document.get("stream_options")).get("include_obfuscation"):
        yield Unexpressed("stream_options.include_obfuscation", harmless=True)


def _members(document: dict[str, Any], name: str) -> dict[str, Any]:
    value = document.get(name)
    if value is not None and not isinstance(value, dict):
        raise wrong(name, "must be an object")
    return value or {}


def _top_logprobs(document: dict[str, Any]) -> int | None:
    top, include = document.get("top_logprobs"), document.get("include")
    if include is not None and not isinstance(include, list):
        raise wrong("include", "must be an array")
    if top is not None and (isinstance(top, bool) or not isinstance(top, int)):
        raise wrong("top_logprobs", "must be a whole number from 0 to 20")
    if not 0 <= (top or 0) <= 20:
        raise wrong("top_logprobs", "must be a whole number from 0 to 20")
    return (top or 0) if LOGPROBS in (include or ()) else None


def _reasoning(fields: dict[str, Any]) -> ReasoningRequest | None:
    effort = read_effort(fields.get("effort"), "reasoning.effort")
    summary = fields.get("summary") or fields.get("generate_summary")
    if summary is not None and text_of(summary) not in _SUMMARIES:
        raise wrong("reasoning.summary", f"must be one of {', '.join(sorted(_SUMMARIES))}")
    visible = True if summary else None
    return ReasoningRequest(effort, visible=visible) if effort or visible else None


def _output_format(value: object) -> JsonObject | JsonSchema | None:
    fields = dict_of(value)
    match fields.get("type"):
        case None if not value:
            return None
        case "text":
            return None
        case "json_object":
            return JsonObject()
        case "json_schema":
            schema, strict = fields.get("schema"), fields.get("strict")
            if schema is not None and not isinstance(schema, dict):
                raise wrong("text.format.schema", "must be an object")
            return JsonSchema(
                {} if schema is None else schema,
                text_of(fields.get("name")) or None,
                text_of(fields.get("description")) or None,
                strict if isinstance(strict, bool) else None,
            )
    raise wrong("text.format.type", "must be 'text', 'json_object' or 'json_schema'")


def _tools(tools: object) -> Iterator[Tool | NativeTool]:
    if tools is not None and not isinstance(tools, list):
        raise wrong("tools", "must be an array")
    for index, tool in enumerate(tools or ()):
        if not isinstance(tool, dict):
            raise wrong(f"tools[{index}]", "must be an object")
        yield _tool(tool, f"tools[{index}]")


# `allowed_callers` and the like are about what a provider's own tools may call.
_TOOL_FIELDS = frozenset({"type", "name", "description", "parameters", "strict"})


def _tool(tool: dict[str, Any], path: str) -> Tool | NativeTool:
    kind = text_of(tool.get("type"))
    if kind != "function" or any(tool[name] for name in tool if name not in _TOOL_FIELDS):
        own_name = text_of(tool.get("name"))
        label = f"{kind}: {own_name}" if own_name else kind or path
        return NativeTool(native({"tool": tool}), label)
    name = tool.get("name")
    if not isinstance(name, str) or not name:
        raise wrong(f"{path}.name", "must be the name of a function")
    parameters, strict = tool.get("parameters"), tool.get("strict")
    if parameters is not None and not isinstance(parameters, dict):
        raise wrong(f"{path}.parameters", "must be a JSON schema")
    return Tool(
        name,
        text_of(tool.get("description")) or None,
        parameters,
        strict if isinstance(strict, bool) else None,
    )


def _tool_choice(choice: object) -> tuple[ToolChoice | None, list[Unexpressed]]:
    """The choice; or that it names what is no function."""
    match choice:
        case None:
            return None, []
        case "auto" | "none" | "required":
            return ToolChoice(choice), []
        case {"type": "function", "name": str(name)} if name:
            return ToolChoice("required", (name,)), []
        case {"type": "allowed_tools", "mode": "auto" | "required" as mode, "tools": [*tools]}:
            named = [tool for tool in tools if isinstance(tool, dict)]
            names = tuple(text_of(tool.get("name")) for tool in named)
            functions = all(tool.get("type") == "function" for tool in named)
            if functions and all(names) and len(names) == len(tools):
                return ToolChoice(mode, names), []
            return None, [Unexpressed("tool_choice.tools", harmless=False)]
        case {"type": str(kind)} if kind not in ("function", "allowed_tools"):
            return None, [Unexpressed("tool_choice", harmless=False)]
    raise wrong("tool_choice", "must be 'auto', 'none', 'required' or name tools")


def _metadata(value: object) -> dict[str, str] | None:
    if value is None or value == {}:
        return None
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise wrong("metadata", "must be an object of strings")
    return value
