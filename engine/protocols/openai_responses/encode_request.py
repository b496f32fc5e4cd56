"""A canonical conversation as a request to a provider of this protocol."""

from __future__ import annotations

from typing import Any

from engine.capabilities import Capabilities
from engine.conversation import (
    Conversation,
    JsonObject,
    JsonSchema,
    NativeTool,
    ReasoningRequest,
    Tool,
    ToolChoice,
)
from engine.protocols.codec import Encoded, InexpressibleError, UpstreamTarget, no_such_tool
from engine.protocols.fields import write_json
from engine.protocols.openai_responses.decode_request import LOGPROBS
from engine.protocols.openai_responses.encode_items import ItemWriter
from engine.protocols.openai_responses.marks import own
from engine.protocols.openai_responses.parsing import LIMIT
from engine.protocols.openai_shared import checked_tools, effort_of, nearest_effort, tool_fields

_LIMIT_MIN = 16  # "integer below minimum value", says OpenAI of less
_TOP_LOGPROBS_MAX = 20
_TEMPERATURE_MAX = 2
_TIERS = frozenset({"auto", "default", "flex", "scale", "priority", "fast"})
_VERBOSITIES = frozenset({"low", "medium", "high"})
_NO_PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}}

_LEFT_OUT = ("seed", "top_k")
_REFUSED: tuple[tuple[str, str], ...] = (
    ("presence_penalty", "has no presence penalty here"),
    ("frequency_penalty", "has no frequency penalty here"),
    ("stop", "has no stop sequences here"),
)


def encode_request(conversation: Conversation, target: UpstreamTarget) -> Encoded:
    """The body: what is not said is left out, and the provider's own default holds. Nothing is
    stored with the provider; its thinking is asked for in a form that can be sent back.

    Raises:
        InexpressibleError: this protocol or model cannot say it.
    """
    capabilities = target.capabilities
    writer = ItemWriter(capabilities)
    document: dict[str, Any] = {
        "model": target.model,
        "input": writer.write(conversation.turns),
        "store": False,
    }
    dropped = writer.dropped
    dropped |= _check(conversation)
    if target.stream:
        document["stream"] = True
    raised = _raised(conversation, target)
    limits = (raised or conversation.max_output_tokens, target.output_limit)
    if (limit := min((n for n in limits if n is not None), default=None)) is not None:
        document[LIMIT] = limit
    if raised is not None:
        dropped.add("max_output_tokens")
    document |= _sampling(conversation, capabilities)
    tools = [_tool(tool, dropped) for tool in checked_tools(conversation, capabilities)]
    document |= tool_fields(conversation, tools, _tool_choice)
    if reasoning := _reasoning(conversation.reasoning, capabilities, dropped):
        document["reasoning"] = reasoning
    if text := _text(conversation, capabilities, dropped):
        document["text"] = text
    if include := _include(conversation, capabilities):
        document["include"] = include
    document |= _harmless(conversation, dropped)
    for name in target.quirks.refuses & document.keys():
        del document[name]
        dropped.add(_CANONICAL.get(name, name))
    return Encoded(write_json(document), tuple(sorted(dropped - _UNSAID)), raised)


def _raised(conversation: Conversation, target: UpstreamTarget) -> int | None:
    """The limit, where the client's is below the least that there is, as of those who only ask
    whether a model answers."""
    named, funds = conversation.max_output_tokens, target.output_limit
    if named is None or named >= _LIMIT_MIN or (funds is not None and funds < _LIMIT_MIN):
        return None
    return _LIMIT_MIN


_CANONICAL = {"user": "end_user"}
_UNSAID = frozenset({"store", "include"})
"""What no client has asked for."""


def _check(conversation: Conversation) -> set[str]:
    """What is left out; raises for what cannot be said."""
    if conversation.choices > 1:
        raise InexpressibleError("choices", "This model gives one answer at a time.")
    for name, problem in _REFUSED:
        if getattr(conversation, name):
            raise InexpressibleError(name, f"This model's provider {problem}.")
    if set(conversation.modalities or ()) - {"text"}:
        raise InexpressibleError("modalities", "This model's provider is asked for text only.")
    return {name for name in _LEFT_OUT if getattr(conversation, name) is not None}


def _sampling(conversation: Conversation, capabilities: Capabilities) -> dict[str, Any]:
    said = {"temperature": conversation.temperature, "top_p": conversation.top_p}
    document: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
    if capabilities.sampling is False:
        for name, value in document.items():
            if value != 1:
                raise InexpressibleError(name, f"This model does not take '{name}'.")
        return {}
    if document.get("temperature", 0) > _TEMPERATURE_MAX:
        raise InexpressibleError("temperature", "This model's provider takes it up to 2.")
    return document


def _include(conversation: Conversation, capabilities: Capabilities) -> list[str]:
    include = []
    if capabilities.reasoning not in (None, "none"):  # others refuse to be asked for it
        include.append("reasoning.encrypted_content")
    if conversation.top_logprobs is not None:
        include.append(LOGPROBS)
    return include


def _tool(tool: Tool | NativeTool, dropped: set[str]) -> dict[str, Any]:
    if isinstance(tool, NativeTool):
        said = own(tool.native).get("tool")
        if said is None:
            raise no_such_tool("tools", tool.label)
        return dict(said)
    if tool.cache is not None:
        dropped.add("cache")
    parameters = tool.parameters
    if parameters is not None and parameters.get("type") == "object":
        parameters = {"properties": {}, **parameters}  # OpenAI takes no object without them
    function: dict[str, Any] = {
        "type": "function",
        "name": tool.name,
        "parameters": _NO_PARAMETERS if parameters is None else parameters,
        # Left out it would be true here, as nowhere else.
        "strict": tool.strict is True,
    }
    if tool.description is not None:
        function["description"] = tool.description
    return function


def _tool_choice(choice: ToolChoice) -> str | dict[str, Any]:
    names = choice.names
    if choice.mode == "none" or names is None:
        return choice.mode
    if choice.mode == "required" and len(names) == 1:
        return {"type": "function", "name": names[0]}
    tools = [{"type": "function", "name": name} for name in names]
    return {"type": "allowed_tools", "mode": choice.mode, "tools": tools}


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
    effort = "none" if off else effort_of(request)
    if effort == "none" and capabilities.reasoning_off is False:  # then as little as can be
        dropped.add("reasoning")
        effort = "minimal" if capabilities.efforts else None
    said: dict[str, Any] = {}
    if effort is not None:
        said["effort"] = nearest_effort(effort, capabilities.efforts)
    if not off and _is_shown(request):
        said["summary"] = "auto"
    return said


def _is_shown(request: ReasoningRequest) -> bool:
    """Whether its client expects to see it: where thinking has a budget or is adaptive, it is shown
    unless that is declined; where it has an effort, only to who asks."""
    by_default = request.adaptive or bool(request.budget_tokens)
    return by_default if request.visible is None else request.visible


def _text(
    conversation: Conversation, capabilities: Capabilities, dropped: set[str]
) -> dict[str, Any]:
    text: dict[str, Any] = {}
    match conversation.output_format:
        case JsonObject():
            text["format"] = {"type": "json_object"}
        case JsonSchema() as said:
            if capabilities.json_schema is False:
                raise InexpressibleError(
                    "output_format", "This model cannot be held to a JSON schema."
                )
            name = said.name or "answer"
            fields: dict[str, Any] = {"type": "json_schema", "name": name, "schema": said.schema}
            if said.description is not None:
                fields["description"] = said.description
            if said.strict is not None:
                fields["strict"] = said.strict
            text["format"] = fields
    if (verbosity := conversation.verbosity) is not None:
        if verbosity in _VERBOSITIES:
            text["verbosity"] = verbosity
        else:
            dropped.add("verbosity")
    return text


def _harmless(conversation: Conversation, dropped: set[str]) -> dict[str, Any]:
    """What changes no answer: sent where this protocol has it, else dropped."""
    document: dict[str, Any] = {}
    if (top := conversation.top_logprobs) is not None:
        if top > _TOP_LOGPROBS_MAX:
            raise InexpressibleError(
                "top_logprobs", f"This model's provider takes at most {_TOP_LOGPROBS_MAX}."
            )
        document["top_logprobs"] = top
    if conversation.metadata:
        document["metadata"] = dict(conversation.metadata)
    if conversation.end_user is not None:
        document["user"] = conversation.end_user
    if (tier := conversation.service_tier) is not None:
        if tier in _TIERS:
            document["service_tier"] = tier
        else:
            dropped.add("service_tier")
    return document
