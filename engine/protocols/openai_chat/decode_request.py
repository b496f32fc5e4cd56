"""A client's request as a canonical conversation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from engine.conversation import (
    CacheHint,
    Conversation,
    Effort,
    JsonObject,
    JsonSchema,
    Native,
    NativeTool,
    ReasoningRequest,
    Tool,
    ToolChoice,
    Unexpressed,
)
from engine.protocols.codec import ClientRequest
from engine.protocols.fields import dict_of, text_of
from engine.protocols.openai_chat.calls import NAME
from engine.protocols.openai_chat.decode_messages import MessageReader
from engine.protocols.openai_values import number, stop_of, string, whole, wrong

_EFFORTS = frozenset(get_args(Effort))

# Read elsewhere in this module, or by parsing.
_READ = frozenset(
    {
        "model",
        "messages",
        "stream",
        "stream_options",
        "max_tokens",
        "max_completion_tokens",
        "n",
        "temperature",
        "top_p",
        "top_k",
        "stop",
        "seed",
        "presence_penalty",
        "frequency_penalty",
        "logprobs",
        "top_logprobs",
        "reasoning_effort",
        "reasoning",
        "thinking",
        "verbosity",
        "response_format",
        "tools",
        "tool_choice",
        "functions",
        "function_call",
        "parallel_tool_calls",
        "modalities",
        "audio",
        "user",
        "safety_identifier",
        "metadata",
        "service_tier",
    }
)
# What a model answers the same without.
_HARMLESS = frozenset(
    {"store", "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options"}
)


def decode_request(request: ClientRequest) -> Conversation:
    """The canonical form; what is not said, or said as its default, is None.

    Raises:
        InvalidRequestError: what OpenAI would refuse.
    """
    document = request.document
    reader = MessageReader()
    turns = reader.read(document["messages"])
    unexpressed = [*reader.unexpressed, *_unexpressed(document)]
    return Conversation(
        turns=turns,
        choices=request.choices,
        max_output_tokens=request.max_output_tokens,
        temperature=number(document, "temperature", 0, 2),
        top_p=number(document, "top_p", 0, 1),
        top_k=whole(document, "top_k"),
        stop=stop_of(document.get("stop")),
        seed=whole(document, "seed"),
        presence_penalty=number(document, "presence_penalty", -2, 2) or None,
        frequency_penalty=number(document, "frequency_penalty", -2, 2) or None,
        top_logprobs=_top_logprobs(document),
        reasoning=_reasoning(document),
        verbosity=string(document, "verbosity"),
        output_format=_output_format(document.get("response_format")),
        tools=tuple(_tools(document)),
        tool_choice=_tool_choice(document),
        parallel_tool_calls=False if document.get("parallel_tool_calls") is False else None,
        modalities=_modalities(document.get("modalities")),
        end_user=string(document, "safety_identifier") or string(document, "user"),
        metadata=_metadata(document.get("metadata")),
        service_tier=string(document, "service_tier"),
        unexpressed=tuple(unexpressed),
    )


def _unexpressed(document: dict[str, Any]) -> Iterator[Unexpressed]:
    for name, value in document.items():
        # An empty object may ask for something (`web_search_options`), other empty values do not.
        if name in _READ or (not value and not isinstance(value, dict)) or name == "logit_bias":
            continue
        yield Unexpressed(name, harmless=name in _HARMLESS)
    if document.get("logit_bias"):
        yield Unexpressed("logit_bias", harmless=False)
    if document.get("audio") and "audio" in (_modalities(document.get("modalities")) or ()):
        yield Unexpressed("audio", harmless=False)
    if dict_of(document.get("stream_options")).get("include_obfuscation"):
        yield Unexpressed("stream_options.include_obfuscation", harmless=True)


def _top_logprobs(document: dict[str, Any]) -> int | None:
    top = whole(document, "top_logprobs")
    if document.get("logprobs") is True:
        if top is not None and not 0 <= top <= 20:
            raise wrong("top_logprobs", "must be a whole number from 0 to 20")
        return top or 0
    if top:
        raise wrong("top_logprobs", "needs 'logprobs' to be true")
    return None


def _reasoning(document: dict[str, Any]) -> ReasoningRequest | None:
    """`reasoning_effort`; or `reasoning` as OpenRouter takes it, `thinking` as DeepSeek does."""
    effort = document.get("reasoning_effort")
    fields, thinking = document.get("reasoning"), document.get("thinking")
    if isinstance(fields, dict) and fields:
        effort = fields.get("effort", effort)
        budget = whole(fields, "max_tokens")
        if fields.get("enabled") is False:
            budget = 0
        visible = False if fields.get("exclude") is True else None
        return ReasoningRequest(
            None if budget is not None else _effort(effort), budget, visible=visible
        )
    if isinstance(thinking, dict) and thinking and effort is None:
        budget = whole(thinking, "budget_tokens")
        match thinking.get("type"):
            case "disabled":
                return ReasoningRequest(budget_tokens=0)
            case "adaptive" | "auto":
                return ReasoningRequest(adaptive=True)
            case "enabled":
                return ReasoningRequest(budget_tokens=-1 if budget is None else budget)
            case _:
                raise wrong("thinking.type", "must be 'enabled', 'disabled' or 'adaptive'")
    level = _effort(effort)
    return None if level is None else ReasoningRequest(level)


def _effort(value: object) -> Effort | None:
    if value is None:
        return None
    for effort in get_args(Effort):
        if effort == value:
            return effort  # type: ignore[no-any-return]
    raise wrong("reasoning_effort", f"must be one of {', '.join(get_args(Effort))}")


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
            said = dict_of(fields.get("json_schema"))
            schema = said.get("schema")
            if schema is not None and not isinstance(schema, dict):
                raise wrong("response_format.json_schema.schema", "must be an object")
            strict = said.get("strict")
            return JsonSchema(
                {} if schema is None else schema,
                text_of(said.get("name")) or None,
                text_of(said.get("description")) or None,
                strict if isinstance(strict, bool) else None,
            )
    raise wrong("response_format.type", "must be 'text', 'json_object' or 'json_schema'")


def _tools(document: dict[str, Any]) -> Iterator[Tool | NativeTool]:
    for path, read in (("tools", _tool), ("functions", _function)):
        tools = document.get(path)
        if tools is not None and not isinstance(tools, list):
            raise wrong(path, "must be an array")
        for index, tool in enumerate(tools or ()):
            if not isinstance(tool, dict):
                raise wrong(f"{path}[{index}]", "must be an object")
            yield read(tool, f"{path}[{index}]")


def _tool(tool: dict[str, Any], path: str) -> Tool | NativeTool:
    if tool.get("type", "function") != "function":
        kind = text_of(tool.get("type"))
        own_name = text_of(dict_of(tool.get(kind)).get("name"))
        return NativeTool(Native(NAME, tool), f"{kind}: {own_name}" if own_name else kind or path)
    cache = tool.get("cache_control")
    hint = CacheHint(text_of(cache.get("ttl")) or None) if isinstance(cache, dict) else None
    return _function(dict_of(tool.get("function")), f"{path}.function", hint)


def _function(function: dict[str, Any], path: str, cache: CacheHint | None = None) -> Tool:
    name = function.get("name")
    if not isinstance(name, str) or not name:
        raise wrong(f"{path}.name", "must be the name of a function")
    parameters = function.get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        raise wrong(f"{path}.parameters", "must be a JSON schema")
    strict = function.get("strict")
    return Tool(
        name,
        text_of(function.get("description")) or None,
        parameters,
        strict if isinstance(strict, bool) else None,
        cache,
    )


def _tool_choice(document: dict[str, Any]) -> ToolChoice | None:
    choice = document.get("tool_choice")
    if choice is None and (legacy := document.get("function_call")) is not None:
        choice = legacy if isinstance(legacy, str) else {"type": "function", "function": legacy}
    match choice:
        case None:
            return None
        case "auto" | "none" | "required":
            return ToolChoice(choice)
        case "any":  # Mistral
            return ToolChoice("required")
        case {"type": "function" | "custom" as kind}:
            name = text_of(dict_of(choice.get(kind)).get("name"))
            if name:
                return ToolChoice("required", (name,))
        case {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [*tools]}}:
            names = tuple(filter(None, map(_tool_name, tools)))
            if mode in ("auto", "required") and len(names) == len(tools):
                return ToolChoice(mode, names)
    raise wrong("tool_choice", "must be 'auto', 'none', 'required' or name tools")


def _tool_name(tool: object) -> str:
    fields = dict_of(tool)
    return text_of(dict_of(fields.get(text_of(fields.get("type")))).get("name"))


def _modalities(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise wrong("modalities", "must be an array of strings")
    names = tuple(item.lower() for item in value)
    return None if names in ((), ("text",)) else names


def _metadata(value: object) -> dict[str, str] | None:
    if value is None or value == {}:
        return None
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise wrong("metadata", "must be an object of strings")
    return value
