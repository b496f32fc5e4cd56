"""The vocabulary of the reference: what is said of a route, and JSON Schemas in few words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Schema = Mapping[str, Any]
"""JSON Schema, 2020-12."""

JSON: Final = "application/json"
FORM: Final = "multipart/form-data"
EVENTS: Final = "text/event-stream"
BYTES: Final = "application/octet-stream"

Place = Literal["query", "header"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """Of a URL's query, or a header."""

    name: str
    schema: Schema
    detail: str = ""
    place: Place = "query"
    required: bool = False


@dataclass(frozen=True, slots=True)
class Example:
    """A request that can be sent to the demo as it stands.

    Attributes:
        name: what it shows, in a word or two.
        value: of the body; of a form by its fields, those of files with the name of one.
        path: what stands for variables of the path, where that is no id of something made before.
        media_type: of the body.
        status: of the answer.
    """

    name: str
    value: Any = None
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    media_type: str = JSON
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Of one status: by media type, the schema of the body; none: there is no body."""

    detail: str
    content: Mapping[str, Schema] = field(default_factory=dict)
    headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """What is said of a route.

    Attributes:
        method: and `rule`: which route it is, as the app knows it.
        name: of the operation (`operationId`).
        tag: of the family that it is shown with.
        answers: by status, those that are no errors.
        path: as it is shown, where the rule says it otherwise.
        asks: the body, by media type.
        refuses: statuses of errors beside those that its access and its body imply.
        relays: its answer is a provider's: what those refuse, and what funds do not cover.
    """

    method: str
    rule: str
    name: str
    tag: str
    summary: str
    answers: Mapping[int, Answer]
    detail: str = ""
    path: str | None = None
    asks: Mapping[str, Schema] = field(default_factory=dict)
    asks_required: bool = True
    parameters: tuple[Parameter, ...] = ()
    examples: tuple[Example, ...] = ()
    refuses: tuple[int, ...] = ()
    relays: bool = False


# ---- schemas -------------------------------------------------------------------------------------


def ref(name: str) -> Schema:
    """A schema of `SCHEMAS` of one of the families."""
    return {"$ref": f"#/components/schemas/{name}"}


def text(detail: str = "", **more: Any) -> Schema:
    """A string."""
    return _said({"type": "string", **more}, detail)


def one_of(*words: str, detail: str = "") -> Schema:
    """One of these words."""
    return _said({"type": "string", "enum": list(words)}, detail)


def whole(least: int | None = None, most: int | None = None, detail: str = "") -> Schema:
    """An integer."""
    bounds = {"minimum": least, "maximum": most}
    given = {name: bound for name, bound in bounds.items() if bound is not None}
    return _said({"type": "integer", **given}, detail)


def number(least: float | None = None, most: float | None = None, detail: str = "") -> Schema:
    """A JSON number."""
    bounds = {"minimum": least, "maximum": most}
    given = {name: bound for name, bound in bounds.items() if bound is not None}
    return _said({"type": "number", **given}, detail)


def flag(detail: str = "") -> Schema:
    """A boolean."""
    return _said({"type": "boolean"}, detail)


def listed(items: Schema, detail: str = "", **more: Any) -> Schema:
    """An array."""
    return _said({"type": "array", "items": items, **more}, detail)


def by_name(values: Schema, detail: str = "") -> Schema:
    """An object with names that are not known beforehand."""
    return _said({"type": "object", "additionalProperties": values}, detail)


def anything(detail: str = "") -> Schema:
    """Any JSON."""
    return _said({}, detail)


def thing(
    properties: Mapping[str, Schema], *required: str, detail: str = "", closed: bool = False
) -> Schema:
    """An object; `closed`: what it has no property for is refused, else it may have more."""
    shape: dict[str, Any] = {"type": "object", "properties": dict(properties)}
    if required:
        shape["required"] = list(required)
    if closed:
        shape["additionalProperties"] = False
    return _said(shape, detail)


def always(properties: Mapping[str, Schema], detail: str = "") -> Schema:
    """An object of an answer, which has all of these, and may have more."""
    return thing(properties, *properties, detail=detail)


def either(*schemas: Schema, detail: str = "") -> Schema:
    """One or several of these."""
    return _said({"anyOf": list(schemas)}, detail)


def nullable(schema: Schema) -> Schema:
    """The same, or null."""
    if "enum" not in schema and isinstance(kind := schema.get("type"), str):
        return {**schema, "type": [kind, "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def exactly(word: str) -> Schema:
    """This word."""
    return {"const": word}


def file_bytes(detail: str = "") -> Schema:
    """A file of a form."""
    return _said({"type": "string", "format": "binary"}, detail)


def _said(schema: dict[str, Any], detail: str) -> Schema:
    return {**schema, "description": detail} if detail else schema


# ---- answers -------------------------------------------------------------------------------------


def answers_json(schema: Schema, detail: str, status: int = 200) -> Mapping[int, Answer]:
    """One status, with a JSON body."""
    return {status: Answer(detail, {JSON: schema})}


def answers_stream(schema: Schema, events: str, detail: str) -> Mapping[int, Answer]:
    """The body in one piece, or as server-sent events where a stream is asked for."""
    return {200: Answer(detail, {JSON: schema, EVENTS: anything(events)})}
