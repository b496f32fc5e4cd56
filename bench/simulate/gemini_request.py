"""A generateContent request, checked as Gemini checks it, reduced to what is acted on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from bench.simulate.chat import ChatRequest, ReasoningShown, Signed, Tool
from bench.simulate.directives import find_directives
from bench.simulate.errors import ApiError
from bench.simulate.gemini_fields import COUNT_REQUEST, PART_DATA, REQUEST
from bench.simulate.gemini_media import media_maker, media_units
from bench.simulate.shapes import Path, Violation
from bench.simulate.signatures import CALL, THOUGHT, Signer, call_content

SKIP_SIGNATURE: Final = frozenset(
    {"skip_thought_signature_validator", "context_engineering_is_the_way_to_go"}
)
"""What Google lets stand in the place of a signature for calls that are not its own."""
_EMPTY_SCHEMA: Final[Mapping[str, Any]] = {"type": "object", "properties": {}}
_ANY_JSON: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {"answer": {"type": "string"}},
    "required": ["answer"],
}
_SNAKE: Final = re.compile(r"(?<=[a-z0-9])([A-Z])")


def parse_generate_request(
    body: bytes, signer: Signer, *, model: str, method: str, as_array: bool
) -> ChatRequest:
    """Check a request body as Gemini does.

    Raises:
        ApiError: 400, with the API's own message.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ApiError(f"Invalid JSON payload received. {error.msg}") from None
    try:
        if method == "countTokens":
            counted = COUNT_REQUEST((), document)
            request = counted.get("generateContentRequest") or counted
            request.setdefault("contents", [])
        else:
            request = REQUEST((), document)
    except Violation as violation:
        raise refusal_of(violation) from None
    contents = request["contents"]
    turns = _turns(contents)
    _check_turns(turns)
    _check_options(request)
    signed = _check_signatures(turns, signer)
    config = request.get("generationConfig") or {}
    try:
        material = [model, contents, request.get("systemInstruction"), config.get("seed")]
        seed_material = orjson.dumps(material, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        raise ApiError("Invalid JSON payload received. It is nested too deeply.") from None
    return _reduced(
        request,
        turns,
        model=model,
        stream=method == "streamGenerateContent",
        as_array=as_array,
        seed_material=seed_material,
        signed=signed,
    )


def _reduced(
    request: Mapping[str, Any],
    turns: list[dict[str, Any]],
    *,
    model: str,
    stream: bool,
    as_array: bool,
    seed_material: bytes,
    signed: Signed | None,
) -> ChatRequest:
    config = request.get("generationConfig") or {}
    place = _last_text_place(turns)
    tools = tuple(_tools(request))
    units = media_units(request["contents"])
    tokens = units.get("input_image_tokens", 0) + units.get("input_audio_tokens", 0)
    said = "" if place is None else "".join(_of(turns[place], "text"))
    calling = (request.get("toolConfig") or {}).get("functionCallingConfig") or {}
    mode, allowed = calling.get("mode", "AUTO"), calling.get("allowedFunctionNames")
    usable = tuple(tool for tool in tools if allowed is None or tool.name in allowed)
    return ChatRequest(
        model=model,
        texts=tuple(_all_texts(request)),
        framing_tokens=3 * len(request["contents"]) + tokens,
        seed_material=seed_material,
        directives=None if place is None else find_directives(_first_text(turns[place])),
        stream=stream,
        choices=config.get("candidateCount", 1),
        max_output_tokens=config.get("maxOutputTokens"),
        tools=usable,
        may_call=bool(usable) and mode != "NONE",
        forced=tuple(tool.name for tool in usable) if mode == "ANY" else (),
        rounds=sum(bool(_of(turn, "functionResponse")) for turn in turns[place or 0 :]),
        reasoning=_shown(config),
        answer_schema=_answer_schema(config),
        signatures=signed,
        as_array=as_array,
        units=units,
        make=media_maker(config, said),
    )


def _shown(config: Mapping[str, Any]) -> ReasoningShown:
    thinking = config.get("thinkingConfig") or {}
    return "text" if thinking.get("includeThoughts") else "signature"


def _answer_schema(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if config.get("responseMimeType", "text/plain") == "text/plain":
        return None
    found = config.get("responseSchema") or config.get("responseJsonSchema")
    return found if isinstance(found, dict) else _ANY_JSON


# -- what the shapes cannot say --------------------------------------------------------------------


def _of(content: Mapping[str, Any], key: str) -> list[Any]:
    """What the parts of a content have under a key."""
    return [part[key] for part in content.get("parts") or () if key in part]


def _turns(contents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The contents, those of one role in a row as one: a streamed turn comes back in pieces."""
    turns: list[dict[str, Any]] = []
    for index, content in enumerate(contents):
        role = content.get("role") or "user"
        if role not in ("user", "model", "function"):
            raise ApiError("Please use a valid role: user, model.")
        _check_parts(f"contents[{index}]", content)
        role = "model" if role == "model" else "user"
        if turns and turns[-1]["role"] == role:
            turns[-1]["parts"] += content["parts"]
        else:
            turns.append({"role": role, "parts": [*content["parts"]]})
    return turns


def _check_turns(turns: list[dict[str, Any]]) -> None:
    """The calls of a turn are answered in the next."""
    calls: list[dict[str, Any]] = []
    for turn in turns:
        answers, made = _of(turn, "functionResponse"), _of(turn, "functionCall")
        if made and turn["role"] != "model":
            raise ApiError("Function call parts are only allowed in content with role 'model'.")
        if answers and turn["role"] == "model":
            raise ApiError("Function response parts are not allowed in content with role 'model'.")
        if answers or calls:
            _check_answers(calls, answers)
        calls = made
    if calls:
        raise ApiError(_UNANSWERED)
    if turns and turns[0]["role"] == "model" and _of(turns[0], "functionCall"):
        raise ApiError(
            "Please ensure that function call turn comes immediately after a user turn or after a "
            "function response turn."
        )


def _check_parts(where: str, content: Mapping[str, Any]) -> None:
    parts = content.get("parts") or []
    if not parts:
        raise ApiError(
            f"* GenerateContentRequest.{where}.parts: contents.parts must not be empty.\n"
        )
    for place, part in enumerate(parts):
        named = [name for name in PART_DATA if name in part]
        if not named and "thoughtSignature" not in part:
            raise ApiError(
                f"* GenerateContentRequest.{where}.parts[{place}].data: required oneof field "
                "'data' must have one initialized field\n"
            )
        if len(named) > 1:
            raise ApiError(
                f"Invalid value at '{camel_to_snake(where)}.parts[{place}]' (oneof), oneof field "
                f"'data' is already set. Cannot set '{camel_to_snake(named[1])}'"
            )


_UNANSWERED: Final = (
    "Please ensure that the number of function response parts is equal to the number of function "
    "call parts of the function call turn."
)


def _check_answers(calls: list[dict[str, Any]], answers: list[dict[str, Any]]) -> None:
    if len(calls) != len(answers):
        raise ApiError(_UNANSWERED)
    if sorted(call["name"] for call in calls) != sorted(answer["name"] for answer in answers):
        raise ApiError(
            "Please ensure that the function responses have the names of the function calls."
        )
    ids = {call["id"] for call in calls if call.get("id")}
    for answer in answers:
        if answer.get("id") and ids and answer["id"] not in ids:
            raise ApiError("Please ensure that the id of a function response is that of its call.")


def _check_options(request: Mapping[str, Any]) -> None:
    config = request.get("generationConfig") or {}
    thinking = config.get("thinkingConfig") or {}
    if "thinkingBudget" in thinking and "thinkingLevel" in thinking:
        raise ApiError(
            "You can only set only one of thinking budget and thinking level. "
            "Please set one of them to be null."
        )
    has_schema = "responseSchema" in config or "responseJsonSchema" in config
    if "responseSchema" in config and "responseJsonSchema" in config:
        raise ApiError("Only one of response_schema and response_json_schema may be set.")
    if has_schema and config.get("responseMimeType", "text/plain") == "text/plain":
        raise ApiError(
            "Response schema is only supported with response_mime_type application/json."
        )
    if "logprobs" in config and not config.get("responseLogprobs"):
        raise ApiError("Logprobs is set but response_logprobs is not.")
    _check_tools(request)


def _check_tools(request: Mapping[str, Any]) -> None:
    names: list[str] = []
    for tool in request.get("tools") or ():
        for declaration in tool.get("functionDeclarations") or ():
            if "parameters" in declaration and "parametersJsonSchema" in declaration:
                raise ApiError(
                    f"Only one of parameters and parameters_json_schema of the function "
                    f"{declaration['name']} may be set."
                )
            names.append(declaration["name"])
            _check_schema(declaration.get("parameters"), declaration["name"])
    for name in names:
        if names.count(name) > 1:
            raise ApiError(f"Duplicate function declaration found: {name}")
    calling = (request.get("toolConfig") or {}).get("functionCallingConfig") or {}
    for name in calling.get("allowedFunctionNames") or ():
        if name not in names:
            raise ApiError(f"The allowed function name {name} is not declared.")
    if calling.get("allowedFunctionNames") and calling.get("mode") not in ("ANY", "VALIDATED"):
        raise ApiError("Allowed function names are only supported with mode ANY or VALIDATED.")
    if calling.get("mode") == "ANY" and not names:
        raise ApiError("Function calling mode is ANY but no function declarations are provided.")


def _check_schema(schema: Mapping[str, Any] | None, name: str) -> None:
    """The parameters of a function are an object."""
    if schema is None:
        return
    where = f"* GenerateContentRequest.tools[0].function_declarations[{name}].parameters"
    if schema.get("type") != "OBJECT":
        raise ApiError(f"{where}.type: should be OBJECT\n")


def _check_signatures(turns: list[dict[str, Any]], signer: Signer) -> Signed | None:
    """Signatures are ours; each step of the current turn has one at its first call."""
    place = _last_text_place(turns) or 0
    found: set[Signed] = set()
    for index, turn in enumerate(turns):
        awaited = index > place
        for part in turn["parts"]:
            signature = part.get("thoughtSignature")
            if signature is not None:
                found.add(_verified(signature, part, signer))
            call = part.get("functionCall")
            if call is None:
                continue
            if awaited and signature is None:
                raise ApiError(
                    "Function call is missing a thought_signature in functionCall parts. This is "
                    "required for tools to work correctly, and missing thought_signature may lead "
                    "to degraded model performance. Additional data, function call "
                    f"`default_api:{call['name']}` , position {index + 1}. Please refer to "
                    "https://ai.google.dev/gemini-api/docs/thought-signatures for more details."
                )
            awaited = False
    return "skipped" if "skipped" in found else "verified" if found else None


def _verified(signature: str, part: Mapping[str, Any], signer: Signer) -> Signed:
    if signature in SKIP_SIGNATURE:
        return "skipped"
    what, content = THOUGHT, b""
    if (call := part.get("functionCall")) is not None:
        what, content = CALL, call_content(call["name"], call.get("args"))
    if not signer.verify(signature, what, content):
        raise ApiError("Corrupted thought signature.")
    return "verified"


# -- reading ---------------------------------------------------------------------------------------


def _tools(request: Mapping[str, Any]) -> Iterator[Tool]:
    for tool in request.get("tools") or ():
        for declaration in tool.get("functionDeclarations") or ():
            schema = declaration.get("parameters") or declaration.get("parametersJsonSchema")
            yield Tool(declaration["name"], schema if isinstance(schema, dict) else _EMPTY_SCHEMA)


def _last_text_place(turns: list[dict[str, Any]]) -> int | None:
    """The last turn of a user that says something."""
    for index in range(len(turns) - 1, -1, -1):
        if turns[index]["role"] == "user" and _of(turns[index], "text"):
            return index
    return None


def _first_text(turn: Mapping[str, Any]) -> str:
    return "".join(_of(turn, "text")[:1])


def _all_texts(request: Mapping[str, Any]) -> Iterator[str]:
    for content in [*request["contents"], request.get("systemInstruction") or {}]:
        for part in content.get("parts") or ():
            if "text" in part:
                yield part["text"]
            for name, key in (("functionCall", "args"), ("functionResponse", "response")):
                if name in part:
                    yield part[name]["name"]
                    yield orjson.dumps(part[name].get(key)).decode()
    for tool in request.get("tools") or ():
        yield orjson.dumps(tool).decode()


def camel_to_snake(name: str) -> str:
    """`inlineData` → `inline_data`."""
    return _SNAKE.sub(lambda found: f"_{found[1].lower()}", name)


def _where(path: Path) -> str:
    """As Google names a place: `contents[0].parts[1].inline_data`."""
    steps = [f"[{step}]" if isinstance(step, int) else f".{camel_to_snake(step)}" for step in path]
    return "".join(steps).removeprefix(".")


def refusal_of(violation: Violation, kind: str = "GenerateContentRequest") -> ApiError:
    """What does not fit the shape of a request of this kind, in the words of the API."""
    path, expected = violation.path, violation.expected
    where = _where(path)
    shown = orjson.dumps(violation.value, default=str).decode()[:200]
    match violation.problem:
        case "extra":
            parent = _where(path[:-1])
            place = f" at '{parent}'" if parent else ""
            name = f'"{path[-1]}"{place}'
            return ApiError(
                f"Invalid JSON payload received. Unknown name {name}: Cannot find field."
            )
        case "missing":
            last = camel_to_snake(str(path[-1]))
            return ApiError(f"* {kind}.{where}: {last} is not specified\n")
        case "type" | "value" | "pattern":
            return ApiError(f"Invalid value at '{where}' ({expected}), {shown}")
        case _:
            return ApiError(f"* {kind}.{where}: the value {shown} is not {expected}\n")
