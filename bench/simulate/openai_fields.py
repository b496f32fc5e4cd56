"""The fields of an OpenAI chat request as a table of checks, and the API's errors for each.

Messages, params and codes are those of the API, as recorded or as users of its SDKs report them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from bench.simulate.errors import ApiError
from bench.simulate.shapes import Path, Violation

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


def typed(expected: str, *types: type) -> Check:
    """A JSON type."""

    def check(name: str, value: Any) -> None:
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise wrong_type(name, expected, value)

    return check


def _bounded(word: str, types: tuple[type, ...], low: float | None, high: float | None) -> Check:
    check_type = typed(f"{'an' if word == 'integer' else 'a'} {word}", *types)

    def check(name: str, value: Any) -> None:
        check_type(name, value)
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


def decimal(low: float, high: float) -> Check:
    """A number within bounds, both included."""
    return _bounded("decimal", (int, float), low, high)


def integer(low: int | None = None, high: int | None = None) -> Check:
    """A whole number within bounds."""
    return _bounded("integer", (int,), low, high)


def one_of(*values: str) -> Check:
    """One of these strings."""
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


def stop(name: str, value: Any) -> None:
    """A string or up to four."""
    if isinstance(value, str):
        return
    typed("a string or an array of strings", list)(name, value)
    if len(value) > STOP_MAX:
        raise ApiError(
            f"Invalid '{name}': array too long. Expected an array with maximum length {STOP_MAX}, "
            f"but got an array with length {len(value)} instead.",
            param=name,
            code="array_above_max_length",
        )
    for index, item in enumerate(value):
        typed("a string", str)(f"{name}[{index}]", item)


def anything(_name: str, _value: Any) -> None:
    """Accepted as it is: nothing here depends on it."""


BOOLEAN = typed("a boolean", bool)
STRING = typed("a string", str)
OBJECT = typed("an object", dict)
OBJECTS = typed("an array of objects", list)

FIELDS: Final[Mapping[str, Check]] = {
    "messages": OBJECTS,
    "model": STRING,
    "audio": OBJECT,
    "frequency_penalty": decimal(-2, 2),
    "function_call": anything,
    "functions": OBJECTS,
    "logit_bias": OBJECT,
    "logprobs": BOOLEAN,
    "max_completion_tokens": integer(1),
    "max_tokens": integer(1),
    "metadata": OBJECT,
    "modalities": typed("an array of strings", list),
    "moderation": OBJECT,
    "n": integer(1, N_MAX),
    "parallel_tool_calls": BOOLEAN,
    "prediction": OBJECT,
    "presence_penalty": decimal(-2, 2),
    "prompt_cache_key": STRING,
    "prompt_cache_options": OBJECT,
    "prompt_cache_retention": STRING,
    "reasoning_effort": one_of("none", "minimal", "low", "medium", "high", "xhigh", "max"),
    "response_format": OBJECT,
    "safety_identifier": STRING,
    "seed": integer(),
    "service_tier": one_of("auto", "default", "flex", "scale", "priority", "fast"),
    "stop": stop,
    "store": BOOLEAN,
    "stream": BOOLEAN,
    "stream_options": OBJECT,
    "temperature": decimal(0, 2),
    "tool_choice": anything,
    "tools": OBJECTS,
    "top_logprobs": integer(0, 20),
    "top_p": decimal(0, 1),
    "user": STRING,
    "verbosity": one_of("low", "medium", "high"),
    "web_search_options": OBJECT,
}
STREAM_OPTIONS: Final[Mapping[str, Check]] = {
    "include_usage": BOOLEAN,
    "include_obfuscation": BOOLEAN,
}
ROLE = one_of("system", "assistant", "user", "function", "tool", "developer")
PART = one_of("text", "image_url", "input_audio", "refusal", "audio", "file")


def missing(name: str) -> ApiError:
    """The error for a parameter that has to be there."""
    return ApiError(
        f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter"
    )


def refusal_of(violation: Violation) -> ApiError:
    """What does not fit a closed shape, in the words of the API."""
    where = _where(violation.path)
    shown = violation.value
    match violation.problem:
        case "missing":
            return missing(where)
        case "extra":
            return ApiError(f"Unknown parameter: '{where}'.", param=where, code="unknown_parameter")
        case "type":
            article = "an" if violation.expected[0] in "aeio" else "a"
            return wrong_type(where, f"{article} {violation.expected}", shown)
        case "pattern":
            return ApiError(
                f"Invalid '{where}': string does not match pattern. Expected a string that matches "
                f"the pattern '{violation.expected}'.",
                param=where,
                code="invalid_value",
            )
        case "prefix":
            return ApiError(
                f"Invalid '{where}': '{shown}'. Expected an ID that begins with "
                f"'{violation.expected}'.",
                param=where,
                code="invalid_value",
            )
        case "short":
            kind = "string" if isinstance(shown, str) else "array"
            article = "a string" if kind == "string" else "an array"
            return ApiError(
                f"Invalid '{where}': empty {kind}. Expected {article} with minimum length 1, but "
                f"got an empty {kind} instead.",
                param=where,
                code=f"empty_{kind}",
            )
        case "long":
            kind = "string" if isinstance(shown, str) else "array"
            article = "a string" if kind == "string" else "an array"
            limit = re.sub(r"\D", "", violation.expected)
            return ApiError(
                f"Invalid '{where}': {kind} too long. Expected {article} with maximum length "
                f"{limit}, but got {article} with length {len(shown)} instead.",
                param=where,
                code=f"{kind}_above_max_length",
            )
        case _:
            return ApiError(
                f"Invalid value: '{shown}'. Supported values are: {violation.expected}.",
                param=where,
                code="invalid_value",
            )


def _where(path: Path) -> str:
    steps = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in path]
    return "".join(steps).removeprefix(".")
