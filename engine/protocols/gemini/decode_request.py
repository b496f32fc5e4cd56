"""A client's request as a canonical conversation.

Source: google-genai's `types.GenerateContentConfig` and what it writes for the Gemini API; what is
not known there is refused, since nobody can tell what leaving it out would change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

from engine.conversation import (
    Conversation,
    JsonObject,
    JsonSchema,
    NativeTool,
    SpeechOptions,
    Tool,
    ToolChoice,
    Unexpressed,
)
from engine.errors import InvalidRequestError
from engine.protocols.codec import ClientRequest
from engine.protocols.gemini.decode_contents import ContentReader
from engine.protocols.gemini.drawing import read_image_config
from engine.protocols.gemini.requests import prompt_of, whole
from engine.protocols.gemini.schema import to_json_schema
from engine.protocols.gemini.signatures import native
from engine.protocols.gemini.spelling import (
    enum,
    get,
    get_dict,
    get_dicts,
    get_text,
    key_of,
    members,
)
from engine.protocols.gemini.thinking import read_thinking

_READ: Final = frozenset(
    {
        "model",
        "contents",
        "systemInstruction",
        "tools",
        "toolConfig",
        "generationConfig",
        "labels",
        "serviceTier",
    }
)
_HARMLESS: Final = frozenset({"safetySettings", "store"})

_READ_CONFIG: Final = frozenset(
    {
        "temperature",
        "topP",
        "topK",
        "candidateCount",
        "maxOutputTokens",
        "stopSequences",
        "responseLogprobs",
        "logprobs",
        "presencePenalty",
        "frequencyPenalty",
        "seed",
        "responseMimeType",
        "responseSchema",
        "responseJsonSchema",
        "_responseJsonSchema",
        "responseModalities",
        "thinkingConfig",
        "imageConfig",
        "speechConfig",
    }
)
_HARMLESS_CONFIG: Final = frozenset({"mediaResolution", "enableEnhancedCivicAnswers"})

_MODES: Final[Mapping[str, Literal["auto", "none", "required"]]] = {
    "AUTO": "auto",
    "VALIDATED": "auto",
    "NONE": "none",
    "ANY": "required",
}
_HARMLESS_TOOL_CONFIG: Final = frozenset({"includeServerSideToolInvocations"})

_INT = 2**31


def decode_request(request: ClientRequest) -> Conversation:
    """The canonical form.

    Raises:
        InvalidRequestError: what Gemini would refuse.
    """
    prompt = prompt_of(request)
    config = get_dict(prompt, "generationConfig")
    reader = ContentReader()
    turns = reader.turns(prompt)
    unexpressed = [*reader.unexpressed, *_beside(prompt, config)]
    tools = tuple(_tools(prompt, unexpressed))
    modalities = tuple(enum(name).lower() for name in _strings(config, "responseModalities"))
    tier = enum(get(prompt, "serviceTier")).lower()
    labels = get_dict(prompt, "labels")
    thinking = get_dict(config, "thinkingConfig")
    image = None
    if get_dict(config, "imageConfig"):
        at = key_of(prompt, "generationConfig") or "generationConfig"
        image = read_image_config(config, at, unexpressed)
    return Conversation(
        turns=turns,
        choices=request.choices,
        max_output_tokens=request.max_output_tokens,
        temperature=_number(config, "temperature"),
        top_p=_number(config, "topP"),
        top_k=whole(config, "topK", 0, _INT - 1),
        stop=_strings(config, "stopSequences"),
        seed=whole(config, "seed", -_INT, _INT - 1),
        presence_penalty=_number(config, "presencePenalty"),
        frequency_penalty=_number(config, "frequencyPenalty"),
        top_logprobs=(whole(config, "logprobs", 0, 100) or 0)
        if get(config, "responseLogprobs") is True
        else None,
        reasoning=read_thinking(thinking) if thinking else None,
        output_format=_output_format(config, unexpressed),
        tools=tools,
        tool_choice=_tool_choice(get_dict(prompt, "toolConfig"), unexpressed),
        modalities=modalities if modalities not in ((), ("text",)) else None,
        metadata={key: str(value) for key, value in labels.items()} or None,
        service_tier=tier if tier not in ("", "unspecified") else None,
        image=image,
        speech=_speech(get_dict(config, "speechConfig"), unexpressed),
        unexpressed=tuple(unexpressed),
    )


def _speech(config: dict[str, Any], unexpressed: list[Unexpressed]) -> SpeechOptions | None:
    """The one voice that is wanted; several have no place elsewhere, and nobody else is told the
    language, which the text shows."""
    for name, spelled, _ in members(config):
        if name != "voiceConfig":
            path = f"generationConfig.speechConfig.{spelled}"
            unexpressed.append(Unexpressed(path, harmless=name == "languageCode"))
    voice = get_dict(get_dict(config, "voiceConfig"), "prebuiltVoiceConfig")
    named = get_text(voice, "voiceName")
    return SpeechOptions(voice=named) if named else None


def _beside(prompt: dict[str, Any], config: dict[str, Any]) -> Iterator[Unexpressed]:
    """Fields that are not read: dropped where that is harmless, else refused across protocols."""
    for name, spelled, _ in members(prompt):
        if name not in _READ:
            yield Unexpressed(spelled, name in _HARMLESS)
    at = key_of(prompt, "generationConfig")
    for name, spelled, _ in members(config):
        if name not in _READ_CONFIG and spelled not in _READ_CONFIG:
            yield Unexpressed(f"{at}.{spelled}", name in _HARMLESS_CONFIG)


def _number(config: dict[str, Any], name: str) -> float | None:
    value = get(config, name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidRequestError(f"'{name}' must be a number.", param=f"generationConfig.{name}")
    return float(value)


def _strings(config: dict[str, Any], name: str) -> tuple[str, ...]:
    value = get(config, name)
    if isinstance(value, str):
        return (value,)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InvalidRequestError(
            f"'{name}' must be a list of strings.", param=f"generationConfig.{name}"
        )
    return tuple(value)


def _output_format(
    config: dict[str, Any], unexpressed: list[Unexpressed]
) -> JsonObject | JsonSchema | None:
    schema = get(config, "responseJsonSchema")
    schema = schema if schema is not None else config.get("_responseJsonSchema")
    own = get(config, "responseSchema")
    mime_type = (get_text(config, "responseMimeType") or "").strip().lower()
    if mime_type not in ("", "application/json", "text/plain"):
        unexpressed.append(Unexpressed("generationConfig.responseMimeType", harmless=False))
    if schema is not None and own is not None:
        raise InvalidRequestError(
            "'responseSchema' and 'responseJsonSchema' exclude each other.",
            param="generationConfig.responseJsonSchema",
        )
    if isinstance(schema, dict):
        return JsonSchema(schema)
    if isinstance(own, dict):
        return JsonSchema(to_json_schema(own))
    return JsonObject() if mime_type == "application/json" else None


def _tools(prompt: dict[str, Any], unexpressed: list[Unexpressed]) -> Iterator[Tool | NativeTool]:
    for index, tool in enumerate(get_dicts(prompt, "tools")):
        for name, spelled, value in members(tool):
            if name != "functionDeclarations":
                yield NativeTool(native(tool={spelled: value}), name)
                continue
            for position, function in enumerate(get_dicts(tool, name)):
                path = f"tools[{index}].{spelled}[{position}]"
                yield _function(function, path, unexpressed)


def _function(function: dict[str, Any], path: str, unexpressed: list[Unexpressed]) -> Tool:
    kept: dict[str, Any] = {}
    for name, spelled, value in members(function):
        if name in ("response", "responseJsonSchema", "behavior"):
            kept[name] = value
            harmless = name != "behavior" or enum(value) in ("BLOCKING", "UNSPECIFIED")
            unexpressed.append(Unexpressed(f"{path}.{spelled}", harmless))
        elif name not in ("name", "description", "parameters", "parametersJsonSchema"):
            unexpressed.append(Unexpressed(f"{path}.{spelled}", harmless=False))
    schema = get(function, "parametersJsonSchema")
    own = get(function, "parameters")
    parameters = schema if isinstance(schema, dict) else None
    if parameters is None and isinstance(own, dict):
        parameters = to_json_schema(own)
    return Tool(
        name=get_text(function, "name") or "",
        description=get_text(function, "description") or None,
        parameters=parameters,
        native=native(**kept) if kept else None,
    )


def _tool_choice(config: dict[str, Any], unexpressed: list[Unexpressed]) -> ToolChoice | None:
    for name, spelled, _ in members(config):
        if name != "functionCallingConfig":
            harmless = name in _HARMLESS_TOOL_CONFIG
            unexpressed.append(Unexpressed(f"toolConfig.{spelled}", harmless))
    calling = get_dict(config, "functionCallingConfig")
    for name, spelled, value in members(calling):
        if name not in ("mode", "allowedFunctionNames"):
            harmless = name == "streamFunctionCallArguments" or value is False
            path = f"toolConfig.functionCallingConfig.{spelled}"
            unexpressed.append(Unexpressed(path, harmless))
    mode = enum(get(calling, "mode"))
    names = _strings(calling, "allowedFunctionNames")
    if mode in ("", "MODE_UNSPECIFIED"):
        return None
    if mode not in _MODES:
        raise InvalidRequestError(
            f"'mode' must be one of {', '.join(_MODES)}.",
            param="toolConfig.functionCallingConfig.mode",
        )
    if mode == "VALIDATED" and not names:  # a promise of more than AUTO's, like `strict`
        path = "toolConfig.functionCallingConfig.mode"
        unexpressed.append(Unexpressed(path, harmless=True))
    return ToolChoice(_MODES[mode], names or None)
