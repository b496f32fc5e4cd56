"""A canonical conversation as the body for a provider that speaks Anthropic's protocol."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from engine.capabilities import Capabilities
from engine.conversation import Conversation, JsonObject, JsonSchema, NativeTool, Tool
from engine.errors import InvalidRequestError
from engine.protocols.anthropic.decoding import NO_PARAMETERS
from engine.protocols.anthropic.hosting import ENVELOPES
from engine.protocols.anthropic.marks import cache_control, own_fields
from engine.protocols.anthropic.reasoning import BUDGET_MIN_TOKENS, Thinking, plan_thinking
from engine.protocols.anthropic.writing import Written, write_turns
from engine.protocols.codec import Encoded, InexpressibleError, UpstreamTarget, no_such_tool

MAX_TOKENS_DEFAULT = 8_192
"""`max_tokens` has to be said; this where neither the client nor the model's limit does."""

FIELD_NAMES: Mapping[str, str] = {
    "turns": "messages",
    "turns.system": "messages.system",
    "turns.reasoning": "messages.thinking",
    "choices": "n",
    "max_output_tokens": "max_tokens",
    "stop": "stop_sequences",
    "reasoning": "thinking",
    "output_format": "output_config.format",
    "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
    "end_user": "metadata.user_id",
    "cache": "cache_control",
}
"""`Conversation`'s fields in this protocol's spelling."""

_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_TIERS = {"auto": "auto", "default": "standard_only", "standard_only": "standard_only"}

_LEFT_OUT = ("seed", "verbosity", "metadata")
_REFUSED: tuple[tuple[str, str], ...] = (
    ("presence_penalty", "has no presence penalty"),
    ("frequency_penalty", "has no frequency penalty"),
)


def encode_request(conversation: Conversation, target: UpstreamTarget) -> Encoded:
    """See `codec.Codec.encode_request`."""
    dropped = _check(conversation, target.capabilities)
    written = write_turns(conversation.turns)
    if not written.messages:
        raise InexpressibleError("turns", "This model needs at least one message of the user.")
    _check_prefill(written, target.capabilities)
    thinking = _thinking(conversation, written, target)
    limit, thinking = _limit(conversation, thinking, target)
    document: dict[str, Any] = {
        "model": target.model,
        "max_tokens": limit,
        "messages": written.messages,
    }
    if written.system:
        document["system"] = _system(written.system)
    if target.stream:
        document["stream"] = True
    document |= _sampling(conversation, thinking, target.capabilities, dropped)
    document |= _tools(conversation, target.capabilities, dropped)
    if thinking.thinking is not None:
        document["thinking"] = thinking.thinking
    if config := _output_config(conversation, thinking, target.capabilities):
        document["output_config"] = config
    if conversation.end_user is not None:
        document["metadata"] = {"user_id": conversation.end_user}
    if conversation.service_tier in _TIERS:
        document["service_tier"] = _TIERS[conversation.service_tier]
    if thinking.dropped:
        dropped.append("reasoning")
    for name in target.quirks.refuses & document.keys():
        del document[name]
        dropped.append(name)
    if target.quirks.hosting is not None:
        ENVELOPES[target.quirks.hosting].put_around(document)
    try:
        body = orjson.dumps(document)
    except orjson.JSONEncodeError:
        raise InvalidRequestError("The body is nested too deeply (over 254 levels).") from None
    named = conversation.max_output_tokens
    raised = limit if named is not None and limit > named else None
    return Encoded(body, tuple(dict.fromkeys(dropped + written.dropped)), raised)


def _check(conversation: Conversation, capabilities: Capabilities) -> list[str]:
    """What is left out; raises for what cannot be said."""
    for unexpressed in conversation.unexpressed:
        if not unexpressed.harmless:
            raise InexpressibleError(
                unexpressed.field,
                f"'{unexpressed.field}' cannot be translated to this model's provider.",
            )
    if conversation.choices > 1:
        raise InexpressibleError("choices", "This model gives one answer at a time.")
    for name, problem in _REFUSED:
        if getattr(conversation, name):
            raise InexpressibleError(name, f"This model's provider {problem}.")
    if conversation.top_logprobs is not None:
        raise InexpressibleError("top_logprobs", "This model's provider gives no logprobs.")
    if set(conversation.modalities or ()) - {"text"}:
        raise InexpressibleError("modalities", "This model answers in text only.")
    if isinstance(conversation.output_format, JsonObject):
        raise InexpressibleError(
            "output_format", "This model has no JSON mode without a schema; give a JSON schema."
        )
    if isinstance(conversation.output_format, JsonSchema) and capabilities.json_schema is False:
        raise InexpressibleError("output_format", "This model cannot be held to a JSON schema.")
    if capabilities.system is False and any(turn.role == "system" for turn in conversation.turns):
        raise InexpressibleError("turns.system", "This model takes no system messages.")
    dropped = [unexpressed.field for unexpressed in conversation.unexpressed]
    dropped.extend(name for name in _LEFT_OUT if getattr(conversation, name) is not None)
    if conversation.service_tier is not None and conversation.service_tier not in _TIERS:
        dropped.append("service_tier")
    return dropped


def _check_prefill(written: Written, capabilities: Capabilities) -> None:
    if capabilities.prefill is False and written.messages[-1]["role"] == "assistant":
        raise InexpressibleError(
            "turns", "This model does not continue a message of the assistant; end with the user's."
        )


def _system(blocks: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    match blocks:
        case [{"type": "text", "text": str(text), **rest}] if not rest:
            return text
        case _:
            return blocks


# Thinking and the limit of the output.


def _thinking(conversation: Conversation, written: Written, target: UpstreamTarget) -> Thinking:
    """The plan, unless the conversation forbids a budget of thinking in this call: a tool is
    forced, the answer is begun already, or the calls being answered were made without thinking
    blocks (those of another provider). Adaptive thinking has none of these rules (recorded with
    `tool_choice` any; docs.claude.com, 'Adaptive thinking')."""
    plan = plan_thinking(conversation.reasoning, target.capabilities)
    choice = conversation.tool_choice
    forced = choice is not None and choice.mode == "required" and bool(conversation.tools)
    if plan.budget_tokens and (forced or _last_answer_lacks_thinking(written.messages)):
        return replace(plan, thinking=None, budget_tokens=0, dropped=True)
    return plan


def _last_answer_lacks_thinking(messages: list[dict[str, Any]]) -> bool:
    said = [message for message in messages if message["role"] == "assistant"]
    if not said:
        return False
    blocks = said[-1]["content"]
    begun = messages[-1]["role"] == "assistant"
    answered = messages[-1]["content"][0]["type"] == "tool_result"
    return (begun or answered) and blocks[0]["type"] not in ("thinking", "redacted_thinking")


def _limit(
    conversation: Conversation, thinking: Thinking, target: UpstreamTarget
) -> tuple[int, Thinking]:
    """`max_tokens`, and thinking with a budget that stays below it.

    A limit that a client named beside an effort is for what it sees: the budget comes on top.
    """
    most = target.capabilities.output_max_tokens
    named = conversation.max_output_tokens
    budget = thinking.budget_tokens
    limit = named if named is not None else most or MAX_TOKENS_DEFAULT
    if budget and (limit <= budget or (named is not None and thinking.wished)):
        limit += budget
    if most is not None and named != limit:
        limit = max(min(limit, most), named or 0)
    if target.output_limit is not None:
        limit = min(limit, target.output_limit)
    if not budget or budget < limit:
        return limit, thinking
    if limit <= BUDGET_MIN_TOKENS:
        return limit, replace(thinking, thinking=None, budget_tokens=0, dropped=True)
    members = (thinking.thinking or {}) | {"budget_tokens": limit - 1}
    return limit, replace(thinking, thinking=members, budget_tokens=limit - 1)


def _output_config(
    conversation: Conversation, thinking: Thinking, capabilities: Capabilities
) -> dict[str, Any]:
    config: dict[str, Any] = {}
    if thinking.effort is not None:
        config["effort"] = thinking.effort
    if isinstance(wanted := conversation.output_format, JsonSchema):
        schema = dict(wanted.schema)
        if wanted.description and "description" not in schema:
            schema["description"] = wanted.description
        config["format"] = {"type": "json_schema", "schema": schema}
    return config


# Sampling.


def _sampling(
    conversation: Conversation,
    thinking: Thinking,
    capabilities: Capabilities,
    dropped: list[str],
) -> dict[str, Any]:
    document: dict[str, Any] = {}
    temperature, top_p = conversation.temperature, conversation.top_p
    if temperature is not None and not 0 <= temperature <= 1:
        raise InexpressibleError("temperature", "This model's temperature ranges from 0 to 1.")
    fixed = capabilities.sampling is False
    why = "This model's" if fixed else "While it thinks, this model's"
    if (fixed or thinking.on) and temperature not in (None, 1):
        raise InexpressibleError("temperature", f"{why} temperature is always 1.")
    if fixed and top_p not in (None, 1):
        raise InexpressibleError("top_p", "This model's top_p is always 1.")
    if thinking.on and top_p is not None and top_p < 0.95:
        raise InexpressibleError("top_p", f"{why} top_p ranges from 0.95 to 1.")
    if not fixed and temperature is not None:
        document["temperature"] = temperature
    # Newer models refuse both together, so the default of the one is not said beside the other.
    if not fixed and top_p is not None and not (top_p == 1 and temperature is not None):
        document["top_p"] = top_p
    if conversation.top_k is not None:
        if fixed or thinking.on:
            dropped.append("top_k")
        else:
            document["top_k"] = conversation.top_k
    if conversation.stop:
        document["stop_sequences"] = _stop(conversation.stop, capabilities)
    return document


def _stop(stop: tuple[str, ...], capabilities: Capabilities) -> list[str]:
    if capabilities.stop is False:
        raise InexpressibleError("stop", "This model takes no stop sequences.")
    if not all(sequence.strip() for sequence in stop):
        raise InexpressibleError(
            "stop", "This model's stop sequences must hold more than whitespace."
        )
    return list(stop)


# Tools.


def _tools(
    conversation: Conversation, capabilities: Capabilities, dropped: list[str]
) -> dict[str, Any]:
    if not conversation.tools:
        return {}
    if capabilities.tools is False:
        raise InexpressibleError("tools", "This model calls no tools.")
    choice = conversation.tool_choice
    names = None if choice is None or choice.names is None else frozenset(choice.names)
    tools = [
        _tool(tool, f"tools[{index}]", capabilities, dropped)
        for index, tool in enumerate(conversation.tools)
    ]
    if names is not None and not _is_one_forced(conversation):
        tools = [tool for tool in tools if tool.get("name") in names]
    if names is not None and not any(tool.get("name") in names for tool in tools):
        raise InexpressibleError("tool_choice", "The tools of 'tool_choice' are not in 'tools'.")
    document: dict[str, Any] = {"tools": tools}
    if wanted := _choice(conversation):
        document["tool_choice"] = wanted
    return document


def _is_one_forced(conversation: Conversation) -> bool:
    choice = conversation.tool_choice
    return (
        choice is not None
        and choice.mode == "required"
        and choice.names is not None
        and len(choice.names) == 1
    )


def _choice(conversation: Conversation) -> dict[str, Any]:
    choice = conversation.tool_choice
    single = conversation.parallel_tool_calls is False
    parallel = {"disable_parallel_tool_use": True} if single else {}
    if choice is None:
        return {"type": "auto"} | parallel if single else {}
    if choice.mode == "none":
        return {"type": "none"}
    if choice.mode == "auto":
        return {"type": "auto"} | parallel
    if choice.names is not None and len(choice.names) == 1:
        return {"type": "tool", "name": choice.names[0]} | parallel
    return {"type": "any"} | parallel


def _tool(
    tool: Tool | NativeTool, path: str, capabilities: Capabilities, dropped: list[str]
) -> dict[str, Any]:
    if isinstance(tool, NativeTool):
        own = own_fields(tool.native)
        if not own:
            raise no_such_tool(path, tool.label)
        return own
    if not _TOOL_NAME.fullmatch(tool.name):
        raise InexpressibleError(
            f"{path}.name",
            "This model's names of tools are letters, digits, _ and -, at most 128.",
        )
    document: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        document["description"] = tool.description
    document["input_schema"] = {"type": "object"} | dict(tool.parameters or NO_PARAMETERS)
    if capabilities.json_schema is not False and tool.strict is not None:
        document["strict"] = tool.strict
    elif tool.strict:
        dropped.append("tools.strict")
    return document | own_fields(tool.native) | cache_control(tool.cache)
