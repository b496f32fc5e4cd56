"""A client's request as a canonical conversation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from engine.conversation import (
    Conversation,
    JsonSchema,
    Native,
    NativeTool,
    Tool,
    ToolChoice,
    Unexpressed,
)
from engine.protocols.anthropic.checks import Members, refuse
from engine.protocols.anthropic.marks import PROTOCOL, native
from engine.protocols.anthropic.reading import TurnReader
from engine.protocols.anthropic.reasoning import EFFORTS, read_reasoning
from engine.protocols.codec import InexpressibleError

_READ = (
    "model", "messages", "max_tokens", "stream", "system", "temperature", "top_p", "top_k",
    "stop_sequences", "metadata", "service_tier", "thinking", "output_config", "output_format",
    "tools", "tool_choice",
)  # fmt: skip

# Of the members read nowhere: what only tunes cost, speed or diagnosis.
_HARMLESS = frozenset({"cache_control", "speed", "diagnostics", "betas", "anthropic_version"})
# Said so, they say nothing.
_NOTHING: tuple[tuple[str, object], ...] = (
    ("speed", "standard"),
    ("mcp_servers", []),
    ("context_management", {}),
    ("context_management", {"edits": []}),
    ("container", {}),
    ("fallbacks", []),
)

NO_PARAMETERS = {"type": "object", "properties": {}}
"""The schema of a function without parameters, as Anthropic wants one."""

_TOOL_MEMBERS = ("type", "name", "description", "input_schema", "strict", "cache_control")


def decode_request(body: dict[str, Any]) -> Conversation:
    """See `codec.Codec.decode_request`."""
    document = Members(body, "")
    reader = TurnReader()
    turns = reader.turns(document)
    config = document.members("output_config") or Members({}, "output_config")
    effort = config.choice("effort", EFFORTS)
    reasoning = read_reasoning(document, effort)
    unexpressed = [*reader.unexpressed, *_beside(document, config)]
    if effort is not None and reasoning is not None and reasoning.effort is None:
        unexpressed.append(Unexpressed(config.at("effort"), harmless=True))
    max_tokens = document.whole("max_tokens", 0)
    if max_tokens == 0:  # elsewhere it is refused, or means no limit at all
        raise InexpressibleError(
            "max_tokens", "This model's provider cannot be asked for no answer."
        )
    choice, parallel = _tool_choice(document.members("tool_choice"))
    tools = tuple(_tool(tool, unexpressed) for tool in document.objects("tools"))
    metadata = document.members("metadata")
    return Conversation(
        turns=turns,
        max_output_tokens=max_tokens,
        temperature=document.number("temperature", 0, 1),
        top_p=document.number("top_p", 0, 1),
        top_k=document.whole("top_k", 0),
        stop=document.strings("stop_sequences"),
        reasoning=reasoning,
        output_format=_output_format(document, config),
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=parallel,
        end_user=None if metadata is None else metadata.optional_text("user_id"),
        service_tier=document.choice("service_tier", ("auto", "standard_only")),
        unexpressed=tuple(unexpressed),
    )


def _beside(document: Members, config: Members) -> Iterator[Unexpressed]:
    """Members without a canonical place. What is unknown may matter, so it is not harmless."""
    for name, value in document.rest(*_READ).items():
        if (name, value) not in _NOTHING:
            yield Unexpressed(name, name in _HARMLESS)
    for name in config.rest("effort", "format"):
        yield Unexpressed(config.at(name), harmless=False)
    if (metadata := document.members("metadata")) is not None:
        for name in metadata.rest("user_id"):
            yield Unexpressed(metadata.at(name), harmless=True)


def _output_format(document: Members, config: Members) -> JsonSchema | None:
    """`output_config.format`, or the top-level `output_format` of the beta before it."""
    said = config.members("format") or document.members("output_format")
    if said is None:
        return None
    if said.text("type") != "json_schema":
        refuse(said.at("type"), "must be json_schema")
    schema = said.object("schema")
    if schema is None:
        refuse(said.at("schema"), "Field required")
    return JsonSchema(schema)


def _tool(tool: Members, unexpressed: list[Unexpressed]) -> Tool | NativeTool:
    kind = tool.optional_text("type")
    if kind not in (None, "custom"):
        return NativeTool(Native(PROTOCOL, tool.rest()), str(kind))
    schema = tool.object("input_schema")
    if schema is None:
        refuse(tool.at("input_schema"), "Field required")
    extras = tool.rest(*_TOOL_MEMBERS)
    unexpressed.extend(
        Unexpressed(tool.at(name), harmless=True) for name, value in extras.items() if value
    )
    return Tool(
        tool.text("name"),
        description=tool.optional_text("description"),
        parameters=None if schema == NO_PARAMETERS else schema,
        strict=tool.flag("strict"),
        cache=tool.cache(),
        native=native(extras),
    )


_CHOICES = {
    "auto": ToolChoice("auto"),
    "any": ToolChoice("required"),
    "tool": ToolChoice("required"),
    "none": ToolChoice("none"),
}


def _tool_choice(said: Members | None) -> tuple[ToolChoice | None, bool | None]:
    """The choice, and False where calls are wanted one at a time."""
    if said is None:
        return None, None
    kind = said.choice("type", _CHOICES)
    if kind is None:
        refuse(said.at("type"), "Field required")
    choice = _CHOICES[kind]
    if kind == "tool":
        choice = replace(choice, names=(said.text("name"),))
    one_at_a_time = kind != "none" and said.flag("disable_parallel_tool_use")
    return choice, False if one_at_a_time else None
