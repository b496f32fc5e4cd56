"""A canonical conversation as a request to a provider of this protocol."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, get_args

from engine.capabilities import Capabilities
from engine.conversation import (
    Conversation,
    Effort,
    JsonObject,
    JsonSchema,
    NativeTool,
    ReasoningRequest,
    Tool,
    ToolChoice,
)
from engine.protocols.codec import Encoded, InexpressibleError, UpstreamTarget, no_such_tool
from engine.protocols.fields import write_json
from engine.protocols.openai_chat.calls import NAME
from engine.protocols.openai_chat.encode_messages import MessageWriter
from engine.protocols.openai_shared import checked_tools, tool_fields

_CANONICAL = {"user": "end_user"}
"""What `_harmless` writes under another name than `Conversation`'s."""

_STOP_MAX = 4
_TOP_LOGPROBS_MAX = 20
_TIERS = frozenset({"auto", "default", "flex", "scale", "priority", "fast"})
_VERBOSITIES = frozenset({"low", "medium", "high"})

# Budgets of thinking by Google's own map of effort to budget for Gemini 2.5.
_BUDGETS: dict[Effort, int] = {"low": 1_024, "medium": 8_192, "high": 24_576}
_LADDER: tuple[Effort, ...] = get_args(Effort)

# OpenAI's own names. All of its models know `max_completion_tokens`, and its reasoning models know
# nothing else; many other servers know `max_tokens` only, and some pass over what they do not know.
_OPENAI_MODEL = re.compile(r"(?:[\w.-]+/)?(?:gpt-\d|o\d|chatgpt|codex|ft:)")


def encode_request(conversation: Conversation, target: UpstreamTarget) -> Encoded:
    """The body: what is not said is left out, and the provider's own default holds.

    Raises:
        InexpressibleError: this protocol or model cannot say it.
    """
    capabilities = target.capabilities
    writer = MessageWriter(capabilities)
    document: dict[str, Any] = {
        "model": target.model,
        "messages": writer.write(conversation.turns),
    }
    dropped = writer.dropped
    if target.stream:
        document["stream"] = True
        if target.quirks.include_usage:
            document["stream_options"] = {"include_usage": True}
    if (limit := _limit(conversation, target)) is not None:
        document[_limit_name(target)] = limit
    document |= _sampling(conversation, capabilities)
    document |= _answers(conversation)
    tools = [_tool(tool, dropped) for tool in checked_tools(conversation, capabilities)]
    document |= tool_fields(conversation, tools, _tool_choice)
    document |= _reasoning(conversation.reasoning, capabilities, dropped)
    document |= _format(conversation, capabilities)
    for name, value in _harmless(conversation, dropped).items():
        if name in target.quirks.refuses:
            dropped.add(_CANONICAL.get(name, name))
        else:
            document[name] = value
    return Encoded(write_json(document), tuple(sorted(dropped)))


def _limit(conversation: Conversation, target: UpstreamTarget) -> int | None:
    limits = (conversation.max_output_tokens, target.output_limit)
    return min((limit for limit in limits if limit is not None), default=None)


def _limit_name(target: UpstreamTarget) -> str:
    if (only := target.quirks.output_limit_field) is not None:
        return only
    thinks = target.capabilities.reasoning == "effort"
    if thinks or _OPENAI_MODEL.match(target.model):
        return "max_completion_tokens"
    return "max_tokens"


def _sampling(conversation: Conversation, capabilities: Capabilities) -> dict[str, Any]:
    said: dict[str, float | None] = {
        "temperature": conversation.temperature,
        "top_p": conversation.top_p,
        "presence_penalty": conversation.presence_penalty or None,
        "frequency_penalty": conversation.frequency_penalty or None,
    }
    document = {name: value for name, value in said.items() if value is not None}
    if capabilities.sampling is False:
        for name, value in document.items():
            if value != 1:
                raise InexpressibleError(name, f"This model does not take '{name}'.")
        document = {}
    for name, bound in (("temperature", 2), ("presence_penalty", 2), ("frequency_penalty", 2)):
        if abs(document.get(name, 0)) > bound:
            raise InexpressibleError(name, f"This model's provider takes '{name}' up to {bound}.")
    if conversation.stop:
        if capabilities.stop is False:
            raise InexpressibleError("stop", "This model does not take stop sequences.")
        if len(conversation.stop) > _STOP_MAX:
            raise InexpressibleError(
                "stop", f"This model's provider takes at most {_STOP_MAX} stop sequences."
            )
        return document | {"stop": list(conversation.stop)}
    return document


def _answers(conversation: Conversation) -> dict[str, Any]:
    """How many answers, and what of their tokens."""
    document: dict[str, Any] = {}
    if conversation.choices > 1:
        document["n"] = conversation.choices
    if (top := conversation.top_logprobs) is not None:
        if top > _TOP_LOGPROBS_MAX:
            raise InexpressibleError(
                "top_logprobs", f"This model's provider takes at most {_TOP_LOGPROBS_MAX}."
            )
        document |= {"logprobs": True} | ({"top_logprobs": top} if top else {})
    if conversation.modalities is not None and set(conversation.modalities) != {"text"}:
        raise InexpressibleError("modalities", "This model's provider is asked for text only.")
    return document


def _tool(tool: Tool | NativeTool, dropped: set[str]) -> dict[str, Any]:
    if isinstance(tool, NativeTool):
        if tool.native.protocol != NAME:
            raise no_such_tool("tools", tool.label)
        return dict(tool.native.fields)
    if tool.cache is not None:
        dropped.add("cache")
    parameters = tool.parameters
    if parameters is not None and parameters.get("type") == "object":
        parameters = {"properties": {}, **parameters}  # OpenAI takes no object without them
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": parameters,
        "strict": tool.strict,
    }
    said = {name: value for name, value in function.items() if value is not None}
    return {"type": "function", "function": said}


def _tool_choice(choice: ToolChoice) -> str | dict[str, Any]:
    names = choice.names
    if choice.mode == "none" or names is None:
        return choice.mode
    if choice.mode == "required" and len(names) == 1:
        return {"type": "function", "function": {"name": names[0]}}
    tools = [{"type": "function", "function": {"name": name}} for name in names]
    return {"type": "allowed_tools", "allowed_tools": {"mode": choice.mode, "tools": tools}}


def _reasoning(
    request: ReasoningRequest | None, capabilities: Capabilities, dropped: set[str]
) -> dict[str, Any]:
    if request is None:
        return {}
    off = request.effort == "none" or request.budget_tokens == 0
    if capabilities.reasoning == "none":
        if not off:
            dropped.add("reasoning")
        return {}
    effort = "none" if off else _effort_of(request)
    if effort == "none" and capabilities.reasoning_off is False:  # then as little as can be
        dropped.add("reasoning")
        effort = "minimal" if capabilities.efforts else None
    if effort is None:  # the model chooses anyway
        return {}
    return {"reasoning_effort": nearest_effort(effort, capabilities.efforts)}


def _effort_of(request: ReasoningRequest) -> Effort | None:
    budget = request.budget_tokens
    if request.effort is not None or budget is None or budget < 0:
        return request.effort
    return min(_BUDGETS, key=lambda level: abs(_BUDGETS[level] - budget))


def nearest_effort(effort: Effort, known: tuple[Effort, ...] | None) -> Effort:
    """The level itself, or the nearest one that the model knows, the lower of two."""
    if not known or effort in known or effort == "none":
        return effort
    at = _LADDER.index(effort)
    levels: Sequence[Effort] = [level for level in known if level != "none"] or known
    return min(levels, key=lambda level: (abs(_LADDER.index(level) - at), _LADDER.index(level)))


def _format(conversation: Conversation, capabilities: Capabilities) -> dict[str, Any]:
    match conversation.output_format:
        case None:
            return {}
        case JsonObject():
            return {"response_format": {"type": "json_object"}}
        case JsonSchema() as said:
            if capabilities.json_schema is False:
                raise InexpressibleError(
                    "output_format", "This model cannot be held to a JSON schema."
                )
            fields: dict[str, Any] = {"name": said.name or "answer", "schema": said.schema}
            if said.description is not None:
                fields["description"] = said.description
            if said.strict is not None:
                fields["strict"] = said.strict
            return {"response_format": {"type": "json_schema", "json_schema": fields}}


def _harmless(conversation: Conversation, dropped: set[str]) -> dict[str, Any]:
    """What changes no answer: sent where this protocol has it, else dropped."""
    document: dict[str, Any] = {}
    if conversation.top_k is not None:
        dropped.add("top_k")
    if conversation.seed is not None:
        document["seed"] = conversation.seed
    if conversation.metadata:
        document["metadata"] = dict(conversation.metadata)
    if conversation.end_user is not None:
        document["user"] = conversation.end_user
    if (verbosity := conversation.verbosity) is not None:
        if verbosity in _VERBOSITIES:
            document["verbosity"] = verbosity
        else:
            dropped.add("verbosity")
    if (tier := conversation.service_tier) is not None:
        if tier in _TIERS:
            document["service_tier"] = tier
        else:
            dropped.add("service_tier")
    return document
