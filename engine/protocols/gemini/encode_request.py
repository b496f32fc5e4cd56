"""A canonical conversation as a request to Gemini."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from engine.capabilities import Capabilities
from engine.conversation import (
    Conversation,
    JsonSchema,
    Tool,
    ToolChoice,
)
from engine.errors import InvalidRequestError
from engine.protocols.codec import Encoded, InexpressibleError, UpstreamTarget, no_such_tool
from engine.protocols.gemini.drawing import drawn, image_config
from engine.protocols.gemini.encode_contents import ContentWriter
from engine.protocols.gemini.signatures import own_fields
from engine.protocols.gemini.spelling import dump_json
from engine.protocols.gemini.thinking import encode_thinking

_CHOICES_MAX: Final = 8
_STOPS_MAX: Final = 5
_TEMPERATURE_MAX: Final = 2.0
_INT = 2**31

_TIERS: Final[Mapping[str, str | None]] = {
    "flex": "flex",
    "priority": "priority",
    "standard": "standard",
    "auto": None,
    "default": None,
    "standard_only": None,
}
"""Tiers by the names of all protocols; None is what Gemini does unasked."""

_LEFT_OUT: Final = ("verbosity", "end_user", "metadata")

_SCALARS: Final[Mapping[str, str]] = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
}
_DEFAULTS: Final[Mapping[str, float]] = {
    "temperature": 1.0,
    "top_p": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
}
"""What a model without sampling does anyway; penalties of 0 are never said."""


def encode_request(conversation: Conversation, target: UpstreamTarget) -> Encoded:
    """The body for Gemini; model and streaming are in the path.

    Raises:
        InexpressibleError: Gemini or this model cannot say it.
        InvalidRequestError: nested deeper than can be written.
    """
    _check(conversation, target.capabilities)
    dropped = [one.field for one in conversation.unexpressed]
    dropped += [name for name in _LEFT_OUT if getattr(conversation, name) is not None]
    writer = ContentWriter(conversation.turns, target.capabilities)
    body = writer.write()
    body |= _tools(conversation, dropped)
    if config := _config(conversation, target, dropped):
        body["generationConfig"] = config
    if conversation.service_tier is not None:
        tier = _TIERS.get(conversation.service_tier)
        if tier is not None:
            body["serviceTier"] = tier
        elif conversation.service_tier not in _TIERS:
            dropped.append("service_tier")
    only = conversation.image is not None and conversation.modalities == ("image",)
    demand = drawn(conversation) if only else None
    try:
        return Encoded(
            dump_json(body), tuple(dict.fromkeys([*dropped, *writer.dropped])), demand=demand
        )
    except ValueError:
        raise InvalidRequestError("The body is nested too deeply (over 254 levels).") from None


def _check(conversation: Conversation, capabilities: Capabilities) -> None:
    for one in conversation.unexpressed:
        if not one.harmless:
            raise InexpressibleError(
                one.field, f"'{one.field}' cannot be translated to this model's provider."
            )
    if conversation.choices > _CHOICES_MAX:
        raise InexpressibleError("choices", f"This model gives at most {_CHOICES_MAX} answers.")
    if conversation.parallel_tool_calls is False and conversation.tools:
        raise InexpressibleError(
            "parallel_tool_calls", "This model cannot be held to one call at a time."
        )
    if conversation.tools and capabilities.tools is False:
        raise InexpressibleError("tools", "This model calls no tools.")
    if isinstance(conversation.output_format, JsonSchema) and capabilities.json_schema is False:
        raise InexpressibleError("output_format", "This model cannot be held to a JSON schema.")
    last = conversation.turns[-1] if conversation.turns else None
    if last is not None and last.role == "assistant" and capabilities.prefill is False:
        raise InexpressibleError(
            "turns", "This model does not continue a message of the assistant; end with the user's."
        )
    _check_stop(conversation.stop, capabilities)
    temperature = conversation.temperature
    if temperature is not None and not 0 <= temperature <= _TEMPERATURE_MAX:
        raise InexpressibleError(
            "temperature", f"This model's temperature is from 0 to {_TEMPERATURE_MAX:g}."
        )


def _check_stop(stop: tuple[str, ...], capabilities: Capabilities) -> None:
    if stop and capabilities.stop is False:
        raise InexpressibleError("stop", "This model takes no stop sequences.")
    if len(stop) > _STOPS_MAX:
        raise InexpressibleError("stop", f"This model takes at most {_STOPS_MAX} stop sequences.")


def _config(
    conversation: Conversation, target: UpstreamTarget, dropped: list[str]
) -> dict[str, Any]:
    """`generationConfig`."""
    config = _sampling(conversation, target.capabilities, dropped)
    limits = [
        limit
        for limit in (conversation.max_output_tokens, target.output_limit)
        if limit is not None
    ]
    if limits:
        config["maxOutputTokens"] = min(limits)
    if conversation.choices > 1:
        config["candidateCount"] = conversation.choices
    if conversation.stop:
        config["stopSequences"] = list(conversation.stop)
    if conversation.seed is not None:
        if -_INT <= conversation.seed < _INT:
            config["seed"] = conversation.seed
        else:
            dropped.append("seed")
    if conversation.top_logprobs is not None:
        config["responseLogprobs"] = True
        if conversation.top_logprobs:
            config["logprobs"] = conversation.top_logprobs
    if conversation.output_format is not None:
        config["responseMimeType"] = "application/json"
        if isinstance(conversation.output_format, JsonSchema):
            config["responseJsonSchema"] = conversation.output_format.schema
            if conversation.output_format.description is not None:
                dropped.append("output_format.description")
    if conversation.modalities is not None and conversation.modalities != ("text",):
        config["responseModalities"] = [name.upper() for name in conversation.modalities]
    if (speech := conversation.speech) is not None and speech.voice is not None:
        voice = {"prebuiltVoiceConfig": {"voiceName": speech.voice}}
        config["speechConfig"] = {"voiceConfig": voice}
    if conversation.image is not None and (image := image_config(conversation.image, dropped)):
        config["imageConfig"] = image
    if thinking := encode_thinking(conversation.reasoning, target.capabilities, dropped):
        config["thinkingConfig"] = thinking
    return config


def _sampling(
    conversation: Conversation, capabilities: Capabilities, dropped: list[str]
) -> dict[str, Any]:
    config: dict[str, Any] = {}
    for name, spelled in _SCALARS.items():
        value = getattr(conversation, name)
        if value is None or (name.endswith("penalty") and value == 0):
            continue
        if capabilities.sampling is not False:
            config[spelled] = value
        elif name == "top_k":
            dropped.append(name)
        elif value != _DEFAULTS[name]:
            raise InexpressibleError(name, f"This model takes no '{name}' but its default.")
    return config


def _tools(conversation: Conversation, dropped: list[str]) -> dict[str, Any]:
    """`tools` and `toolConfig`."""
    functions: list[dict[str, Any]] = []
    tools: list[dict[str, Any]] = []
    for index, tool in enumerate(conversation.tools):
        if isinstance(tool, Tool):
            if not functions:
                tools.append({"functionDeclarations": functions})
            functions.append(_function(tool, dropped))
            continue
        kept = own_fields(tool.native)
        if kept is None:
            raise no_such_tool(f"tools[{index}]", tool.label)
        tools.append(dict(kept["tool"]))
    choice = conversation.tool_choice
    out: dict[str, Any] = {"tools": tools} if tools else {}
    if choice is not None and functions:
        out["toolConfig"] = {"functionCallingConfig": _calling(choice)}
    return out


def _function(tool: Tool, dropped: list[str]) -> dict[str, Any]:
    if tool.cache is not None:
        dropped.append("cache")
    if tool.strict:
        dropped.append("tools.strict")
    function: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.parameters:
        function["parametersJsonSchema"] = tool.parameters
    return function | (own_fields(tool.native) or {})


def _calling(choice: ToolChoice) -> dict[str, Any]:
    """`functionCallingConfig`. A choice among some is VALIDATED, AUTO takes no names."""
    names = {"allowedFunctionNames": list(choice.names)} if choice.names is not None else {}
    match choice.mode:
        case "none":
            return {"mode": "NONE"}
        case "required":
            return {"mode": "ANY"} | names
        case "auto":
            return {"mode": "VALIDATED" if names else "AUTO"} | names
