"""What OpenAI's chat endpoint accepts, as a table, and the errors it answers otherwise.

Messages, types and codes are those of the API, as recorded or as its SDKs' users report them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from bench.simulate.directives import find_directives

N_MAX = 128
STOP_MAX = 4
MESSAGES_MAX = 100_000


class ApiError(Exception):
    """An error answer in OpenAI's shape."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.kind = kind
        self.param = param
        self.code = code
        self.headers = headers

    def to_json(self) -> dict[str, Any]:
        """The error object."""
        return {
            "error": {
                "message": self.message,
                "type": self.kind,
                "param": self.param,
                "code": self.code,
            }
        }


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A valid chat request, reduced to what the simulated provider acts on."""

    model: str
    stream: bool
    include_usage: bool
    choices: int
    max_output_tokens: int | None
    texts: tuple[str, ...]
    """Every text that counts as input: contents, roles, names, tool calls."""
    framing_tokens: int
    """3 a message, 1 a name, 3 to prime the answer."""
    seed_material: bytes
    directives: str | None


Check = Callable[[str, Any], None]


def _kind_of(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case str():
            return "a string"
        case int():
            return "an integer"
        case float():
            return "a decimal"
        case list():
            return "an array"
        case _:
            return "an object"


def _wrong_type(name: str, expected: str, value: Any) -> ApiError:
    return ApiError(
        f"Invalid type for '{name}': expected {expected}, but got {_kind_of(value)} instead.",
        param=name,
        code="invalid_type",
    )


def _typed(expected: str, *types: type) -> Check:
    def check(name: str, value: Any) -> None:
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise _wrong_type(name, expected, value)

    return check


def _bounded(word: str, types: tuple[type, ...], low: float | None, high: float | None) -> Check:
    typed = _typed(f"{'an' if word == 'integer' else 'a'} {word}", *types)

    def check(name: str, value: Any) -> None:
        typed(name, value)
        for bound, beyond, side, sign in (
            (low, low is not None and value < low, ("below", "minimum", "min"), ">="),
            (high, high is not None and value > high, ("above", "maximum", "max"), "<="),
        ):
            if beyond:
                where, limit, short = side
                raise ApiError(
                    f"Invalid '{name}': {word} {where} {limit} value. "
                    f"Expected a value {sign} {bound}, but got {value} instead.",
                    param=name,
                    code=f"{word}_{where}_{short}_value",
                )

    return check


def _decimal(low: float, high: float) -> Check:
    return _bounded("decimal", (int, float), low, high)


def _integer(low: int | None = None, high: int | None = None) -> Check:
    return _bounded("integer", (int,), low, high)


def _one_of(*values: str) -> Check:
    listed = ", ".join(f"'{value}'" for value in values[:-1]) + f", and '{values[-1]}'"

    def check(name: str, value: Any) -> None:
        if not isinstance(value, str):
            raise _wrong_type(name, "a string", value)
        if value not in values:
            raise ApiError(
                f"Invalid value: '{value}'. Supported values are: {listed}.",
                param=name,
                code="invalid_value",
            )

    return check


def _stop(name: str, value: Any) -> None:
    if isinstance(value, str):
        return
    _typed("a string or an array of strings", list)(name, value)
    if len(value) > STOP_MAX:
        raise ApiError(
            f"Invalid '{name}': array too long. Expected an array with maximum length {STOP_MAX}, "
            f"but got an array with length {len(value)} instead.",
            param=name,
            code="array_above_max_length",
        )
    for index, item in enumerate(value):
        _typed("a string", str)(f"{name}[{index}]", item)


def _anything(_name: str, _value: Any) -> None:
    """Accepted as it is: nothing here depends on it."""


_BOOLEAN = _typed("a boolean", bool)
_STRING = _typed("a string", str)
_OBJECT = _typed("an object", dict)
_OBJECTS = _typed("an array of objects", list)

FIELDS: Final[Mapping[str, Check]] = {
    "messages": _OBJECTS,
    "model": _STRING,
    "audio": _OBJECT,
    "frequency_penalty": _decimal(-2, 2),
    "function_call": _anything,
    "functions": _OBJECTS,
    "logit_bias": _OBJECT,
    "logprobs": _BOOLEAN,
    "max_completion_tokens": _integer(1),
    "max_tokens": _integer(1),
    "metadata": _OBJECT,
    "modalities": _typed("an array of strings", list),
    "moderation": _OBJECT,
    "n": _integer(1, N_MAX),
    "parallel_tool_calls": _BOOLEAN,
    "prediction": _OBJECT,
    "presence_penalty": _decimal(-2, 2),
    "prompt_cache_key": _STRING,
    "prompt_cache_options": _OBJECT,
    "prompt_cache_retention": _STRING,
    "reasoning_effort": _one_of("none", "minimal", "low", "medium", "high", "xhigh", "max"),
    "response_format": _OBJECT,
    "safety_identifier": _STRING,
    "seed": _integer(),
    "service_tier": _one_of("auto", "default", "flex", "scale", "priority", "fast"),
    "stop": _stop,
    "store": _BOOLEAN,
    "stream": _BOOLEAN,
    "stream_options": _OBJECT,
    "temperature": _decimal(0, 2),
    "tool_choice": _anything,
    "tools": _OBJECTS,
    "top_logprobs": _integer(0, 20),
    "top_p": _decimal(0, 1),
    "user": _STRING,
    "verbosity": _one_of("low", "medium", "high"),
    "web_search_options": _OBJECT,
}
_STREAM_OPTIONS: Final[Mapping[str, Check]] = {
    "include_usage": _BOOLEAN,
    "include_obfuscation": _BOOLEAN,
}
_ROLE = _one_of("system", "assistant", "user", "function", "tool", "developer")
_PART = _one_of("text", "image_url", "input_audio", "refusal", "audio", "file")

_NOT_JSON = (
    "We could not parse the JSON body of your request. (HINT: This likely means you aren't using "
    "your HTTP library correctly. The OpenAI API expects a JSON payload, but what was sent was not "
    "valid JSON. If you have trouble figuring out how to fix this, please contact us through our "
    "help center at help.openai.com.)"
)


def parse_chat_request(body: bytes) -> ChatRequest:
    """Check a request body as OpenAI does.

    Raises:
        ApiError: 400, with the API's own message, param and code.
    """
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise ApiError(_NOT_JSON) from None
    if not isinstance(request, dict):
        raise ApiError(_NOT_JSON)
    _check_fields(request)
    messages = request["messages"]
    texts, framing_tokens = _check_messages(messages)
    options = request.get("stream_options") or {}
    limits = [request.get(name) for name in ("max_completion_tokens", "max_tokens")]
    try:
        seed_material = orjson.dumps(
            [request["model"], messages, request.get("seed")], option=orjson.OPT_SORT_KEYS
        )
    except orjson.JSONEncodeError:  # nested deeper than 254
        raise ApiError(_NOT_JSON) from None
    return ChatRequest(
        model=request["model"],
        stream=bool(request.get("stream")),
        include_usage=bool(options.get("include_usage")),
        choices=request.get("n") or 1,
        max_output_tokens=next((limit for limit in limits if limit is not None), None),
        texts=tuple(texts),
        framing_tokens=framing_tokens,
        seed_material=seed_material,
        directives=find_directives(_last_user_text(messages)),
    )


def _check_fields(request: dict[str, Any]) -> None:
    if request.get("model") in (None, ""):
        raise ApiError("you must provide a model parameter")
    if request.get("messages") is None:
        raise _missing("messages")
    for name, value in request.items():
        check = FIELDS.get(name)
        if check is None:
            raise ApiError(f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
        if value is not None:
            check(name, value)
    options = request.get("stream_options")
    if options is not None:
        if not request.get("stream"):
            raise ApiError(
                "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
                param="stream_options",
            )
        for name, value in options.items():
            path = f"stream_options.{name}"
            if name not in _STREAM_OPTIONS:
                raise ApiError(
                    f"Unknown parameter: '{path}'.", param=path, code="unknown_parameter"
                )
            if value is not None:
                _STREAM_OPTIONS[name](path, value)
    if request.get("max_tokens") is not None and request.get("max_completion_tokens") is not None:
        raise ApiError(
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
            code="invalid_parameter_combination",
        )


def _check_messages(messages: list[Any]) -> tuple[list[str], int]:
    """Check each message; give the texts that count as input and the tokens of their framing."""
    if not messages or len(messages) > MESSAGES_MAX:
        short = not messages
        raise ApiError(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, "
            "but got an empty array instead."
            if short
            else f"Invalid 'messages': array too long. Expected an array with maximum length "
            f"{MESSAGES_MAX}, but got an array with length {len(messages)} instead.",
            param="messages",
            code="empty_array" if short else "array_above_max_length",
        )
    texts: list[str] = []
    framing_tokens = 3
    awaited: set[str] = set()
    for index, message in enumerate(messages):
        path = f"messages[{index}]"
        _OBJECT(path, message)
        if "role" not in message:
            raise _missing(f"{path}.role")
        role = message["role"]
        _ROLE(f"{path}.role", role)
        _check_turn(index, message, awaited)
        framing_tokens += 3
        texts.append(role)
        texts.extend(_content_texts(path, message))
        name = message.get("name")
        if name is not None:
            _STRING(f"{path}.name", name)
            texts.append(name)
            framing_tokens += 1
        for call in message.get("tool_calls") or ():
            for function in (call.get("function"), call.get("custom")):
                if isinstance(function, dict):
                    texts.extend(text for text in function.values() if isinstance(text, str))
    if awaited:
        raise _unanswered(len(messages), awaited)
    return texts, framing_tokens


def _check_turn(index: int, message: dict[str, Any], awaited: set[str]) -> None:
    """Tool calls are answered by the tool messages that follow them, each by its id."""
    path = f"messages[{index}]"
    if message["role"] == "tool":
        call_id = message.get("tool_call_id")
        if call_id is None:
            raise _missing(f"{path}.tool_call_id")
        _STRING(f"{path}.tool_call_id", call_id)
        if call_id not in awaited:
            raise ApiError(
                "Invalid parameter: messages with role 'tool' must be a response to a preceeding "
                "message with 'tool_calls'.",
                param=f"messages.[{index}].role",
            )
        awaited.discard(call_id)
        return
    if awaited:
        raise _unanswered(index, awaited)
    calls = message.get("tool_calls")
    if calls is None:
        return
    _OBJECTS(f"{path}.tool_calls", calls)
    for number, call in enumerate(calls):
        _OBJECT(f"{path}.tool_calls[{number}]", call)
        if not isinstance(call.get("id"), str):
            raise _missing(f"{path}.tool_calls[{number}].id")
        awaited.add(call["id"])


def _content_texts(path: str, message: dict[str, Any]) -> list[str]:
    content = message.get("content")
    match content:
        case str():
            return [content]
        case None if message["role"] == "assistant":
            return []
        case None:
            raise ApiError(
                "Invalid value for 'content': expected a string, got null.",
                param=f"{path.replace('[', '.[')}.content",
            )
        case list():
            return _part_texts(f"{path}.content", content)
        case _:
            raise _wrong_type(f"{path}.content", "a string or an array of objects", content)


def _part_texts(path: str, parts: list[Any]) -> list[str]:
    texts = []
    for number, part in enumerate(parts):
        where = f"{path}[{number}]"
        _OBJECT(where, part)
        if "type" not in part:
            raise _missing(f"{where}.type")
        kind = part["type"]
        _PART(f"{where}.type", kind)
        if kind in ("text", "refusal"):
            if kind not in part:
                raise _missing(f"{where}.{kind}")
            _STRING(f"{where}.{kind}", part[kind])
            texts.append(part[kind])
    return texts


def _last_user_text(messages: list[dict[str, Any]]) -> str:
    for message in reversed(messages):
        if message["role"] == "user":
            content = message["content"]
            if isinstance(content, str):
                return content
            texts = (part["text"] for part in content if part["type"] == "text")
            return next(texts, "")
    return ""


def _missing(name: str) -> ApiError:
    return ApiError(
        f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter"
    )


def _unanswered(index: int, call_ids: set[str]) -> ApiError:
    listed = ", ".join(sorted(call_ids))
    return ApiError(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to "
        "each 'tool_call_id'. The following tool_call_ids did not have response messages: "
        f"{listed}",
        param=f"messages.[{index}].role",
    )
