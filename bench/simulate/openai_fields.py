"""The fields of an OpenAI chat request as a table of checks, and the API's errors for each.

Messages, params and codes are those of the API, as recorded or as users of its SDKs report them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from bench.simulate.errors import ApiError

N_MAX = 128
STOP_MAX = 4


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


def wrong_type(name: str, expected: str, value: Any) -> ApiError:
    """The error for a value of another JSON type."""
    return ApiError(
        f"Invalid type for '{name}': expected {expected}, but got {_kind_of(value)} instead.",
        param=name,
        code="invalid_type",
    )


def _typed(expected: str, *types: type) -> Check:
    def check(name: str, value: Any) -> None:
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise wrong_type(name, expected, value)

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
            raise wrong_type(name, "a string", value)
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


BOOLEAN = _typed("a boolean", bool)
STRING = _typed("a string", str)
OBJECT = _typed("an object", dict)
OBJECTS = _typed("an array of objects", list)

FIELDS: Final[Mapping[str, Check]] = {
    "messages": OBJECTS,
    "model": STRING,
    "audio": OBJECT,
    "frequency_penalty": _decimal(-2, 2),
    "function_call": _anything,
    "functions": OBJECTS,
    "logit_bias": OBJECT,
    "logprobs": BOOLEAN,
    "max_completion_tokens": _integer(1),
    "max_tokens": _integer(1),
    "metadata": OBJECT,
    "modalities": _typed("an array of strings", list),
    "moderation": OBJECT,
    "n": _integer(1, N_MAX),
    "parallel_tool_calls": BOOLEAN,
    "prediction": OBJECT,
    "presence_penalty": _decimal(-2, 2),
    "prompt_cache_key": STRING,
    "prompt_cache_options": OBJECT,
    "prompt_cache_retention": STRING,
    "reasoning_effort": _one_of("none", "minimal", "low", "medium", "high", "xhigh", "max"),
    "response_format": OBJECT,
    "safety_identifier": STRING,
    "seed": _integer(),
    "service_tier": _one_of("auto", "default", "flex", "scale", "priority", "fast"),
    "stop": _stop,
    "store": BOOLEAN,
    "stream": BOOLEAN,
    "stream_options": OBJECT,
    "temperature": _decimal(0, 2),
    "tool_choice": _anything,
    "tools": OBJECTS,
    "top_logprobs": _integer(0, 20),
    "top_p": _decimal(0, 1),
    "user": STRING,
    "verbosity": _one_of("low", "medium", "high"),
    "web_search_options": OBJECT,
}
STREAM_OPTIONS: Final[Mapping[str, Check]] = {
    "include_usage": BOOLEAN,
    "include_obfuscation": BOOLEAN,
}
ROLE = _one_of("system", "assistant", "user", "function", "tool", "developer")
PART = _one_of("text", "image_url", "input_audio", "refusal", "audio", "file")


def missing(name: str) -> ApiError:
    """The error for a parameter that has to be there."""
    return ApiError(
        f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter"
    )
