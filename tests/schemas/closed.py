"""Checks JSON against the SDKs' own types, closed: an unknown key anywhere is a problem.

Works on what the SDKs are written in: TypedDicts (openai, anthropic), pydantic models with aliases
(google-genai), and the typing constructs between them. A construct that is not known here is an
error of the schema, so that no part of it is open by oversight.
"""

from __future__ import annotations

import base64
import binascii
import collections.abc
import enum
import functools
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NotRequired, Required

import pydantic
from typing_extensions import is_typeddict

_UNIONS = (typing.Union, types.UnionType)
_LISTS = (list, collections.abc.Iterable, collections.abc.Sequence)
_OBJECTS = (dict, collections.abc.Mapping)


class Problem(NamedTuple):
    """What is wrong, and where: `messages[0].content[1].foo: unknown key`."""

    path: str
    says: str

    def __str__(self) -> str:
        return f"{self.path or 'body'}: {self.says}"


class Key(NamedTuple):
    """A key of an object: the type of its value, and whether it has to be there."""

    hint: Any
    required: bool


@dataclass(frozen=True)
class Schema:
    """A closed schema.

    Attributes:
        root: the type of the whole body.
        replaced: the types of fields that the SDK leaves open, by (class, wire name).
        absent: fields of a class that the API does not have, though the SDK's type does.
        models: the base of the pydantic models that are part of it. Those of other SDKs stand
            beside TypedDicts of the same content, as what an answer is parsed to.
        lenient: accept the snake_case spelling of camelCase keys, and enum values in any case.
    """

    root: Any
    replaced: Mapping[tuple[object, str], Any] = field(default_factory=dict)
    absent: Mapping[object, frozenset[str]] = field(default_factory=dict)
    models: type[pydantic.BaseModel] | None = None
    lenient: bool = False

    def problems(self, body: object) -> list[str]:
        """Everything wrong with a body; empty if it is accepted."""
        return [str(problem) for problem in self._check(body, self.root, "")]

    def _check(self, value: object, hint: Any, path: str) -> list[Problem]:
        if hint is Any or hint is object:
            return []
        _, origin, arguments = _APART.get(id(hint)) or _take_apart(hint)
        if origin in (Required, NotRequired):
            return self._check(value, arguments[0], path)
        if origin is typing.Annotated:
            return self._check(value, arguments[0], path)
        if origin in _UNIONS:
            return self._union(value, arguments, path)
        if origin is typing.Literal:
            same = any(value == choice and type(value) is type(choice) for choice in arguments)
            return [] if same else [Problem(path, f"{value!r} is none of {arguments}")]
        if origin in _LISTS:
            return self._list(value, arguments[0], path)
        if origin in _OBJECTS:
            return self._mapping(value, arguments[1], path)
        if is_typeddict(hint) or self._is_model(hint):
            return self._object(value, hint, path)
        if isinstance(hint, type) and issubclass(hint, enum.Enum):
            return self._enum(value, hint, path)
        return _scalar(value, hint, path)

    def _enum(self, value: object, hint: type[enum.Enum], path: str) -> list[Problem]:
        if self.lenient and isinstance(value, str):
            value = value.upper()
        fits = value in {
            str(member.value).upper() if self.lenient else member.value for member in hint
        }
        return [] if fits else [Problem(path, f"{_kind(value)} is no {hint.__name__}")]

    def _is_model(self, hint: Any) -> bool:
        return self.models is not None and isinstance(hint, type) and issubclass(hint, self.models)

    def _union(self, value: object, variants: Iterable[Any], path: str) -> list[Problem]:
        """No problem if a variant takes the value; else those of the variant it was meant for."""
        found = []
        for variant in variants:
            problems = self._check(value, variant, path)
            if not problems:
                return []
            found.append((self._likeness(value, variant), -len(problems), problems))
        return max(found, key=lambda entry: entry[:2])[2]

    def _likeness(self, value: object, hint: Any) -> int:
        """How many keys of an object hold the constants of a variant (`type`, `role`)."""
        if typing.get_origin(hint) in (typing.Annotated, *_UNIONS):
            inner = typing.get_args(hint)
            inner = inner[:1] if typing.get_origin(hint) is typing.Annotated else inner
            return max(self._likeness(value, variant) for variant in inner)
        if isinstance(value, list) and typing.get_origin(hint) in _LISTS:
            return 1
        if isinstance(value, dict) and self._is_model(hint):
            return 1
        if not isinstance(value, dict) or not is_typeddict(hint):
            return 0
        return 1 + sum(
            2
            for name, key in _keys(hint).items()
            if name in value
            and _is_constant(key.hint)
            and not self._check(value[name], key.hint, "")
        )

    def _list(self, value: object, hint: Any, path: str) -> list[Problem]:
        if not isinstance(value, list):
            return [Problem(path, f"{_kind(value)} is no array")]
        return [
            problem
            for index, item in enumerate(value)
            for problem in self._check(item, hint, f"{path}[{index}]")
        ]

    def _mapping(self, value: object, hint: Any, path: str) -> list[Problem]:
        if not isinstance(value, dict):
            return [Problem(path, f"{_kind(value)} is no object")]
        return [
            problem
            for name, item in value.items()
            for problem in self._check(item, hint, f"{path}.{name}".lstrip("."))
        ]

    def _object(self, value: object, hint: type, path: str) -> list[Problem]:
        if not isinstance(value, dict):
            return [Problem(path, f"{_kind(value)} is no object")]
        return list(self._members(value, hint, path))

    def _members(self, value: dict[str, object], hint: type, path: str) -> Iterator[Problem]:
        keys = _keys(hint)
        absent = self.absent.get(hint, frozenset())
        seen = set()
        for name, item in value.items():
            where = f"{path}.{name}".lstrip(".")
            wire = _camel(name) if self.lenient and name not in keys else name
            if wire in seen:
                yield Problem(where, "is said twice, in two spellings")
            seen.add(wire)
            if wire in keys and wire not in absent:
                expected = self.replaced.get((hint, wire), keys[wire].hint)
                yield from self._check(item, expected, where)
            elif not _is_open(hint):
                yield Problem(where, f"unknown key of {hint.__name__}")
        for name, key in keys.items():
            if key.required and name not in seen:
                yield Problem(f"{path}.{name}".lstrip("."), f"missing in {hint.__name__}")


_APART: dict[int, tuple[Any, Any, tuple[Any, ...]]] = {}
"""Hints, which stay, with what they are made of: to hash one costs more than to take it apart."""


def _take_apart(hint: Any) -> tuple[Any, Any, tuple[Any, ...]]:
    found = hint, typing.get_origin(hint), typing.get_args(hint)
    return _APART.setdefault(id(hint), found)


@functools.cache
def _keys(hint: type) -> dict[str, Key]:
    """The keys of an object on the wire."""
    hints = typing.get_type_hints(hint, include_extras=True)
    if not is_typeddict(hint):
        assert issubclass(hint, pydantic.BaseModel)
        return {
            info.alias or name: Key(hints[name], info.is_required())
            for name, info in hint.model_fields.items()
        }
    known: frozenset[str] = getattr(hint, "__required_keys__", frozenset())
    keys = {}
    for name, expected in hints.items():
        # `Required[...]` in a postponed annotation is not among `__required_keys__`.
        origin = typing.get_origin(expected)
        required = origin is Required or name in known
        optional = origin is NotRequired
        keys[_alias(expected) or name] = Key(expected, required and not optional)
    return keys


def _alias(hint: Any) -> str | None:
    """The name on the wire, which the SDKs write into an annotation."""
    if typing.get_origin(hint) in (Required, NotRequired):
        return _alias(typing.get_args(hint)[0])
    notes = getattr(hint, "__metadata__", ())
    return next((note.alias for note in notes if getattr(note, "alias", None)), None)


def _is_constant(hint: Any) -> bool:
    while typing.get_origin(hint) is Required:
        hint = typing.get_args(hint)[0]
    return typing.get_origin(hint) is typing.Literal


def _is_open(hint: type) -> bool:
    config = getattr(hint, "__pydantic_config__", None) or {}
    return bool(config.get("extra") == "allow")


def _scalar(value: object, hint: Any, path: str) -> list[Problem]:
    if hint is None or hint is type(None):
        fits = value is None
    elif hint is bytes:
        fits = isinstance(value, str) and _is_base64(value)
    elif hint is float:
        fits = isinstance(value, (int, float)) and not isinstance(value, bool)
    elif hint is int:
        fits = isinstance(value, int) and not isinstance(value, bool)
    elif hint in (str, bool, dict, list):
        fits = isinstance(value, hint)
    elif isinstance(hint, type):
        fits = False  # files and the like: nothing of JSON
    else:
        raise TypeError(f"the schema does not know {hint!r} at {path}")
    name = getattr(hint, "__name__", str(hint))
    return [] if fits else [Problem(path, f"{_kind(value)} is no {name}")]


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except binascii.Error:
        return False
    return True


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case str():
            return "a string" if len(value) > 40 else repr(value)
        case list():
            return "an array"
        case dict():
            return "an object"
        case _:
            return str(value)
