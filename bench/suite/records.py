"""raw.jsonl: one header, then one sample a line; written as measured, read back the same."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal, TypeVar

import orjson

from bench.load.histogram import Histogram
from bench.suite.model import Header, Sample

T = TypeVar("T")

VERSION: Final = 1
"""Of the lines; it stands before the header, and grows when their meaning changes."""


class RecordError(ValueError):
    """A line that no run has written; the message says which, and what is wrong."""


def header_to_line(header: Header) -> str:
    """One line of JSON, without its end."""
    return _line({"version": VERSION, "header": to_json(header)})


def sample_to_line(sample: Sample) -> str:
    """One line of JSON, without its end."""
    return _line({"sample": to_json(sample)})


def note_to_line(note: str) -> str:
    """One line of JSON, without its end: what a reader of the samples should know."""
    return _line({"note": note})


def read_notes(lines: Iterable[str]) -> tuple[str, ...]:
    """The notes of a run, in order. Raises RecordError: as `read_records`, of single lines."""
    return tuple(str(document["note"]) for _, document in _documents(lines) if _is_note(document))


def _is_note(document: Any) -> bool:
    return isinstance(document, dict) and document.keys() == {"note"}


def read_records(lines: Iterable[str]) -> tuple[Header, list[Sample]]:
    """What a run has written; a last line that a killed run left unfinished is passed over.

    Raises:
        RecordError: a line is none of ours, or the header is missing or stands elsewhere.
    """
    header: Header | None = None
    samples: list[Sample] = []
    for number, document in _documents(lines):
        try:
            match document:
                case {"version": version, "header": dict(fields)} if header is None:
                    if version != VERSION:
                        raise ValueError(f"is of version {version}, not {VERSION}: measure again")
                    header = from_json(Header, fields)
                case {"sample": dict(fields)} if header is not None:
                    samples.append(from_json(Sample, fields))
                case _ if _is_note(document) and header is not None:
                    pass
                case _:
                    raise ValueError("neither the header nor a sample")
        except (ValueError, KeyError, TypeError) as error:
            raise RecordError(f"line {number}: {error}") from None
    if header is None:
        raise RecordError("there is no header: was this written by `parshall bench run`?")
    return header, samples


def _documents(lines: Iterable[str]) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(lines, start=1):
        try:
            yield number, orjson.loads(line)
        except orjson.JSONDecodeError as error:
            if line.endswith("\n"):
                raise RecordError(f"line {number}: {error}") from None
            return  # cut off by a kill


def to_json(value: Any) -> Any:
    """Of a dataclass of `model`, and of what its fields hold."""
    match value:
        case Histogram():
            return value.to_json()
        case tuple():
            return [to_json(item) for item in value]
        case Mapping():
            return {name: to_json(item) for name, item in value.items()}
    if dataclasses.is_dataclass(value):
        return {spec.name: to_json(getattr(value, spec.name)) for spec in dataclasses.fields(value)}
    return value


def from_json(cls: type[T], document: Mapping[str, Any]) -> T:
    """What `to_json` made of an object of this class.

    Raises:
        ValueError: a field is missing, unknown, or of another type.
    """
    hints = _hints(cls)  # type: ignore[arg-type]
    if unknown := document.keys() - hints.keys():
        raise ValueError(f"{cls.__name__} has no field {min(unknown)!r}")
    values = {name: _value(hints[name], document[name], name) for name in document}
    try:
        return cls(**values)
    except TypeError as error:
        raise ValueError(str(error)) from None


def _value(hint: Any, value: Any, name: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        return _value(next(kind for kind in arguments if kind is not type(None)), value, name)
    if origin is Literal:
        if value not in arguments:
            raise ValueError(f"{name} is {value!r}")
        return value
    if origin is tuple and isinstance(value, list):
        return tuple(_value(arguments[0], item, name) for item in value)
    if isinstance(value, dict):
        if hint is Histogram:
            return Histogram.from_json(value)
        if dataclasses.is_dataclass(hint):
            return from_json(typing.cast("type[Any]", hint), value)
        if origin is not None and issubclass(origin, Mapping):
            return {key: _value(arguments[1], item, name) for key, item in value.items()}
    if hint is float and type(value) in (int, float):
        return float(value)
    if type(value) is hint:
        return value
    raise ValueError(f"{name} is {value!r}")


def _line(document: Mapping[str, Any]) -> str:
    """orjson writes NaN and infinity as null, which no field but an optional one takes back."""
    return orjson.dumps(document).decode()


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)
