"""TOML tables into frozen dataclasses; errors name the line and what was probably meant."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import re
import types
import typing
from collections.abc import Collection, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, TypeVar

from engine.errors import ConfigError

T = TypeVar("T")
Keys = tuple[str, ...]

_HEADER = re.compile(r"\s*\[{1,2}\s*(?P<keys>.+?)\s*\]{1,2}\s*(?:#.*)?$")
_KEY = re.compile(r'\s*(?P<keys>(?:[\w-]+|"[^"]*"|\'[^\']*\')(?:\s*\.\s*(?:[\w-]+|"[^"]*"))*)\s*=')
_KEY_PART = re.compile(r'[\w-]+|"[^"]*"|\'[^\']*\'')


class TableReader:
    """Reads one document.

    Args:
        secrets: the names of string fields that hold `env:NAME` or `file:PATH`.
        maybe_secrets: of those that may.
    """

    def __init__(
        self,
        text: str,
        name: str,
        environ: Mapping[str, str],
        *,
        secrets: Collection[str],
        maybe_secrets: Collection[str] = (),
    ) -> None:
        self._lines = _line_numbers(text)
        self._name = name
        self._environ = environ
        self._secrets = secrets
        self._maybe_secrets = maybe_secrets

    def error(self, keys: Keys, problem: str) -> ConfigError:
        """An error about a key, for the caller to raise."""
        line = next(
            (
                self._lines[keys[:end]]
                for end in range(len(keys), 0, -1)
                if keys[:end] in self._lines
            ),
            None,
        )
        where = self._name if line is None else f"{self._name}:{line}"
        return ConfigError(f"{where}: {'.'.join(keys)} {problem}")

    @staticmethod
    def suggestion(word: str, known: Collection[str]) -> str:
        """`; did you mean 'x'?`, or what there is to choose from."""
        close = difflib.get_close_matches(word, known, n=1)
        if close:
            return f"; did you mean '{close[0]}'?"
        return f"; known are: {', '.join(sorted(known))}" if known else ""

    def read(self, cls: type[T], table: object, keys: Keys) -> T:
        """A dataclass from a table.

        Raises:
            ConfigError: an unknown or missing key, or a value that its field does not take.
        """
        if not isinstance(table, dict):
            raise self.error(keys, "must be a table")
        hints = _hints(cls)  # type: ignore[arg-type]
        # What no file can say (a field with `compare=False`) is no key.
        fields = {f.name: f for f in dataclasses.fields(cls) if f.compare}  # type: ignore[arg-type]
        for key in table:
            if key not in fields:
                raise self.error((*keys, key), f"is unknown{self.suggestion(key, fields)}")
        values = {}
        for key, value in table.items():
            values[key] = self._value(hints[key], value, (*keys, key))
            zero = not fields[key].metadata.get("positive", True)
            self._check_positive(values[key], (*keys, key), zero=zero)
        for name, spec in fields.items():
            required = (
                spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING
            )
            if required and name not in values:
                raise self.error(keys, f"needs '{name}'")
        return cls(**values)

    def _value(self, hint: Any, value: object, keys: Keys) -> Any:
        if hint is Any:
            return _as_json(value)
        origin = typing.get_origin(hint)
        arguments = typing.get_args(hint)
        if origin in (typing.Union, types.UnionType):
            return self._value(next(a for a in arguments if a is not type(None)), value, keys)
        if origin is Literal:
            if value not in arguments:
                choices = " or ".join(f"'{choice}'" for choice in arguments)
                raise self.error(keys, f"must be {choices}, not {value!r}")
            return value
        if origin is tuple:
            if not isinstance(value, list) or not value:
                raise self.error(keys, "must be a list that is not empty")
            return tuple(self._value(arguments[0], item, keys) for item in value)
        if origin is frozenset:
            if not isinstance(value, list):
                raise self.error(keys, "must be a list")
            return frozenset(self._value(arguments[0], item, keys) for item in value)
        if origin is not None and issubclass(origin, Mapping):
            if not isinstance(value, dict):
                raise self.error(keys, "must be a table")
            return {
                name: self._value(arguments[1], item, (*keys, name)) for name, item in value.items()
            }
        if dataclasses.is_dataclass(hint):
            return self.read(typing.cast("type[Any]", hint), value, keys)
        return self._scalar(hint, value, keys)

    def _scalar(self, hint: Any, value: object, keys: Keys) -> Any:
        number = isinstance(value, (int, Decimal)) and not isinstance(value, bool)
        if hint is str and isinstance(value, str):
            named = keys[-1] in self._maybe_secrets and value.startswith(("env:", "file:"))
            return self._secret(value, keys) if named or keys[-1] in self._secrets else value
        if hint is bool and isinstance(value, bool):
            return value
        if hint is Path and isinstance(value, str):
            return Path(value)
        if hint is int and isinstance(value, int) and number:
            return value
        if hint is float and number:
            return float(typing.cast("Decimal", value))
        if hint is date and type(value) is date:
            return value
        if hint is Decimal and number:
            return Decimal(typing.cast("Decimal", value))
        words = {
            str: "text",
            bool: "true or false",
            Path: "a path",
            int: "a whole number",
            date: "a date without quotes",
        }
        raise self.error(keys, f"must be {words.get(hint, 'a number')}")

    def _check_positive(self, value: object, keys: Keys, *, zero: bool) -> None:
        if type(value) not in (int, float):
            return
        number = typing.cast("float", value)
        if not (number > 0 or (zero and number == 0)):
            raise self.error(keys, f"must be {'0 or more' if zero else 'more than 0'}, not {value}")

    def _secret(self, value: str, keys: Keys) -> str:
        kind, _, name = value.partition(":")
        if kind == "env":
            secret = self._environ.get(name, "").strip()
            if not secret:
                raise self.error(keys, f"needs the environment variable {name}, which is not set")
            return secret
        if kind == "file":
            try:
                secret = Path(name).read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                raise self.error(keys, f"cannot read the file {name}: {error}") from None
            if not secret:
                raise self.error(keys, f"names the file {name}, which is empty")
            return secret
        raise self.error(
            keys, 'must be "env:NAME" or "file:/path": secrets do not stand in this file'
        )


def _as_json(value: object) -> Any:
    """What JSON has for a value: a fraction is a float, a date its text."""
    match value:
        case dict():
            return {name: _as_json(inner) for name, inner in value.items()}
        case list():
            return [_as_json(inner) for inner in value]
        case Decimal():
            return float(value)
        case str() | bool() | int():
            return value
        case _:
            return str(value)


def _line_numbers(text: str) -> dict[Keys, int]:
    """Where each table and key stands, the first time; inline tables count as their key's line."""
    lines: dict[Keys, int] = {}
    table: Keys = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            table = _split_keys(header["keys"])
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            lines.setdefault((*table, *_split_keys(key["keys"])), number)
    return lines


def _split_keys(dotted: str) -> Keys:
    return tuple(part.strip("\"'") for part in _KEY_PART.findall(dotted))


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    """Evaluated once: a thousand models are a thousand tables of one class."""
    return typing.get_type_hints(cls)
