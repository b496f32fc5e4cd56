"""Gemini's `Schema`, a subset of OpenAPI 3.0's, as the JSON schema it means.

Source: google-genai's `types.Schema` and its `JSONSchema` conversion: types in capitals,
`nullable`, counts as strings, `propertyOrdering` (which says nothing of what is valid).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from engine.errors import InvalidRequestError
from engine.protocols.gemini.spelling import members

_DEPTH_MAX = 100

_COUNTS = frozenset(
    {"minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"}
)
_SCHEMAS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_NAMED = {"properties": "properties", "defs": "$defs", "$defs": "$defs"}
_DROPPED = frozenset({"propertyOrdering", "nullable", "example"})
_RENAMED = {"ref": "$ref"}


def to_json_schema(schema: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    """The JSON schema of a `Schema`; what is JSON schema already stays as it is.

    Raises:
        InvalidRequestError: nested too deeply.

    >>> to_json_schema({"type": "STRING", "nullable": True, "max_length": "5"})
    {'type': ['string', 'null'], 'maxLength': 5}
    """
    if depth > _DEPTH_MAX:
        raise InvalidRequestError(f"A schema is nested too deeply (over {_DEPTH_MAX} levels).")
    out: dict[str, Any] = {}
    nullable = False
    for name, spelled, value in members(schema):
        if name == "nullable":
            nullable = value is True
        elif name not in _DROPPED:
            key = _NAMED.get(name) or _RENAMED.get(name) or _key(name, spelled)
            converted = _VALUES.get(key, _same)(value, depth)
            if converted is not None:
                out[key] = converted
    if out.get("format") == "enum":
        del out["format"]
    return _with_null(out) if nullable else out


def _key(name: str, spelled: str) -> str:
    known = name in _COUNTS or name in _SCHEMAS or name in ("additionalProperties", "items")
    return name if known else spelled


def _same(value: Any, _depth: int) -> Any:
    return value


# By number, as protobuf's JSON takes enums too (recorded of clients that speak gRPC's).
_TYPES = ("", "string", "number", "integer", "boolean", "array", "object", "null")


def _type(value: Any, _depth: int) -> Any:
    if type(value) is int and 0 <= value < len(_TYPES):
        return _TYPES[value] or None
    if isinstance(value, str):
        return None if value.upper() == "TYPE_UNSPECIFIED" else value.lower()
    if isinstance(value, list):
        return [item.lower() if isinstance(item, str) else item for item in value]
    return value


def _one(value: Any, depth: int) -> Any:
    return to_json_schema(value, depth + 1) if isinstance(value, dict) else value


def _many(value: Any, depth: int) -> Any:
    return [_one(item, depth) for item in value] if isinstance(value, list) else value


def _named(value: Any, depth: int) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: _one(item, depth) for name, item in value.items()}


def _count(value: Any, _depth: int) -> Any:
    digits = isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19
    return int(value) if digits else value


_VALUES: dict[str, Callable[[Any, int], Any]] = {
    "type": _type,
    "items": _one,
    "additionalProperties": _one,
    "properties": _named,
    "$defs": _named,
    **dict.fromkeys(_SCHEMAS, _many),
    **dict.fromkeys(_COUNTS, _count),
}


def _with_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema that takes null as well."""
    kind = schema.get("type")
    if isinstance(kind, str) and kind != "null":
        schema["type"] = [kind, "null"]
    elif "anyOf" in schema and isinstance(schema["anyOf"], list):
        schema["anyOf"] = [*schema["anyOf"], {"type": "null"}]
    if isinstance(choices := schema.get("enum"), list) and None not in choices:
        schema["enum"] = [*choices, None]
    return schema
