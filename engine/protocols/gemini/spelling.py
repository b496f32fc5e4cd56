"""Reading Gemini's JSON in either spelling: `maxOutputTokens` and `max_output_tokens` are one.

Clients mix both in one body, and enum values come in any case; answers are in camelCase only. What
the developer wrote himself (schemas, arguments, responses, labels) is never respelled.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import orjson

_UPPER = re.compile(r"(?<!^)([A-Z])")
_UNDERSCORE = re.compile(r"_([a-zA-Z])")


@lru_cache(maxsize=1024)
def snake(name: str) -> str:
    """The other spelling of a camelCase name.

    >>> snake("functionCall")
    'function_call'
    """
    return _UPPER.sub(r"_\1", name).lower()


@lru_cache(maxsize=1024)
def _camel(name: str) -> str:
    return _UNDERSCORE.sub(lambda match: match[1].upper(), name)


def camel(name: str) -> str:
    """The camelCase spelling of a name in either.

    >>> camel("function_call"), camel("functionCall")
    ('functionCall', 'functionCall')
    """
    return _camel(name) if len(name) <= 64 else name


def key_of(holder: Mapping[str, Any], name: str) -> str | None:
    """Under which spelling of `name` a value stands; None if there is none, or null."""
    if holder.get(name) is not None:
        return name
    other = snake(name)
    return other if other != name and holder.get(other) is not None else None


def get(holder: Mapping[str, Any], name: str) -> Any:
    """The value of a camelCase name, in whichever spelling; None if there is none."""
    value = holder.get(name)
    if value is None and (other := snake(name)) != name:
        value = holder.get(other)
    return value


def get_dict(holder: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The object under a name, else an empty one."""
    value = get(holder, name)
    return value if isinstance(value, dict) else {}


def get_dicts(holder: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The objects under a repeated field; one alone may stand without its list."""
    value = get(holder, name)
    if isinstance(value, dict):
        return [value]
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def get_text(holder: Mapping[str, Any], name: str) -> str | None:
    """The string under a name; None for anything else."""
    value = get(holder, name)
    return value if isinstance(value, str) else None


def enum(value: object) -> str:
    """An enum value in upper case; empty if it is none.

    >>> enum("any"), enum(None)
    ('ANY', '')
    """
    return value.upper() if isinstance(value, str) else ""


def members(holder: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """What an object holds: camelCase name, name as spelled, value. Nulls are left out."""
    for name, value in holder.items():
        if value is not None:
            yield camel(name), name, value


# What the developer wrote himself stands under these.
_OWN_JSON = frozenset(
    {
        "args",
        "response",
        "parameters",
        "parametersJsonSchema",
        "responseSchema",
        "responseJsonSchema",
        "_responseJsonSchema",
        "labels",
        "partMetadata",
    }
)


def said_twice(document: object) -> str | None:
    """A name that stands in both spellings in one object, so that nobody can tell which of them
    a provider will take; None if there is none. Walked without recursion."""
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(item for item in value if isinstance(item, (dict, list)))
        elif isinstance(value, dict):
            for name, item in value.items():
                if "_" in name and (other := camel(name)) != name and other in value:
                    return other
                if isinstance(item, (dict, list)) and camel(name) not in _OWN_JSON:
                    waiting.append(item)
    return None


def dump_json(value: object) -> bytes:
    """JSON of a value that came out of JSON.

    Raises:
        ValueError: nested deeper than can be written again (254 levels).
    """
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        raise ValueError("nested too deeply (over 254 levels)") from None
