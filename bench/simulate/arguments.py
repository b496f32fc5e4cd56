"""A value that fulfils a JSON schema, the same for the same seed.

Covers what tool declarations use: objects, arrays, enums, `anyOf`, `$ref`, bounds, formats, and
Gemini's spelling of it (`STRING`, `nullable`). Floats are halves, so that no JSON library changes
them; an unbounded text now and then holds what has to be escaped.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Any, Final

from bench.simulate.words import WORDS

DEPTH_MAX: Final = 16
ITEMS_MAX: Final = 64
TEXT_MAX: Final = 4_096
EXACT_MAX: Final = 2**53
"""Integers beyond this are not the same in every JSON library."""
_FORMATS: Final = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:30:00Z",
    "time": "12:30:00",
    "duration": "P3DT4H",
    "email": "someone@example.org",
    "hostname": "example.org",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.org/",
    "uuid": "3f2b8c1e-0d4a-4c6f-9b7e-5a1d2c3b4e5f",
}
_HARD_TEXTS: Final = ('say "hello"', "naïve 🌊", "two\nlines", "a\\b/c")


def make_value(schema: Mapping[str, Any], seed: bytes) -> Any:
    """A value of that schema; where the schema contradicts itself, one of its type."""
    return _Maker(schema, random.Random(seed)).value(schema, 0)  # noqa: S311


def make_input(seed: bytes) -> str:
    """A text for a custom tool: a few lines of words, and something that has to be escaped."""
    chance = random.Random(seed)  # noqa: S311
    lines = [" ".join(chance.choices(WORDS, k=chance.randint(1, 6))) for _ in range(3)]
    lines.insert(chance.randint(0, 3), chance.choice(_HARD_TEXTS))
    return "\n".join(lines)


class _Maker:
    def __init__(self, root: Mapping[str, Any], chance: random.Random) -> None:
        self._root = root
        self._chance = chance

    def value(self, schema: Any, depth: int) -> Any:
        schema = self._resolve(schema)
        if "const" in schema:
            return schema["const"]
        if isinstance(options := schema.get("enum"), list) and options:
            return self._chance.choice(options)
        for word in ("anyOf", "oneOf", "allOf"):
            if isinstance(branches := schema.get(word), list) and branches:
                return self.value(_preferred(branches), depth + 1) if depth < DEPTH_MAX else None
        match _type_of(schema):
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, depth)
            case "integer":
                return max(-EXACT_MAX, min(math.ceil(self._number(schema)), EXACT_MAX))
            case "number":
                return self._number(schema)
            case "boolean":
                return self._chance.random() < 0.5
            case "null":
                return None
            case _:
                return self._text(schema)

    def _resolve(self, schema: Any) -> Mapping[str, Any]:
        for _ in range(DEPTH_MAX):
            if not isinstance(schema, Mapping):
                return {}
            reference = schema.get("$ref", schema.get("ref"))
            if not isinstance(reference, str):
                return schema
            schema = self._root
            for key in reference.removeprefix("#").strip("/").split("/"):
                if key:
                    schema = schema.get(key, {}) if isinstance(schema, Mapping) else {}
        return {}

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties")
        if not isinstance(properties, Mapping):
            return {}
        required = schema.get("required")
        required = required if isinstance(required, list) else []
        made: dict[str, Any] = {}
        for name, child in list(properties.items())[:ITEMS_MAX]:
            if name in required or (depth < 3 and self._chance.random() < 0.7):
                made[name] = self.value(child, depth + 1) if depth < DEPTH_MAX else None
        return made

    def _array(self, schema: Mapping[str, Any], depth: int) -> list[Any]:
        low = _bound(schema, "minItems", 1)
        high = _bound(schema, "maxItems", max(low, 2))
        size = min(self._chance.randint(int(low), int(max(low, min(high, low + 2)))), ITEMS_MAX)
        if depth >= DEPTH_MAX:
            return []
        return [self.value(schema.get("items"), depth + 1) for _ in range(size)]

    def _number(self, schema: Mapping[str, Any]) -> float:
        low = _bound(schema, "minimum", _bound(schema, "exclusiveMinimum", -0.5) + 0.5)
        high = _bound(schema, "maximum", _bound(schema, "exclusiveMaximum", low + 100.5) - 0.5)
        number = low + self._chance.randint(0, max(0, int(min(high - low, 100) * 2))) / 2
        step = _bound(schema, "multipleOf", 0)
        usable = step > 0 and math.isfinite(low / step)
        return math.ceil(low / step) * step if usable else number

    def _text(self, schema: Mapping[str, Any]) -> str:
        if (made := _FORMATS.get(str(schema.get("format")))) is not None:
            return made
        low, high = _bound(schema, "minLength", 0), _bound(schema, "maxLength", math.inf)
        text = self._chance.choice(WORDS)
        if high == math.inf and self._chance.random() < 0.25:
            text = f"{text} {self._chance.choice(_HARD_TEXTS)}"
        while len(text) < min(low, TEXT_MAX):
            text += f" {self._chance.choice(WORDS)}"
        return text[: int(min(high, TEXT_MAX))]


def _type_of(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    if kind is None:
        return "object" if "properties" in schema else "array" if "items" in schema else "string"
    return str(kind).lower()


def _preferred(branches: list[Any]) -> Any:
    """The first branch that is not null."""
    named = [b for b in branches if isinstance(b, Mapping) and b.get("type") != "null"]
    return named[0] if named else branches[0]


def _bound(schema: Mapping[str, Any], name: str, fallback: float) -> float:
    value = schema.get(name)
    if isinstance(value, str):  # Gemini's int64 fields
        value = float(value) if value.isdecimal() else None
    usable = isinstance(value, (int, float)) and math.isfinite(value)
    return value if usable and value is not None else fallback
