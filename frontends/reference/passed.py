"""What is passed through to a provider with state: a row for each route of the table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from engine.config_state import Family
from engine.passing.service import served_routes
from engine.passing.table import Route
from frontends.reference.rows import (
    BYTES,
    EVENTS,
    FORM,
    JSON,
    Answer,
    Example,
    Parameter,
    Row,
    Schema,
    anything,
    file_bytes,
    flag,
    listed,
    nullable,
    one_of,
    ref,
    text,
    thing,
    whole,
)

TAGS: Final[Mapping[Family, str]] = {
    "assistants": "Assistants",
    "threads": "Threads",
    "vector_stores": "Vector stores",
    "batches": "Batches",
    "conversations": "Conversations",
    "responses": "Kept responses",
    "fine_tuning": "Fine-tuning",
    "containers": "Containers",
}
_DETAIL: Final = "As OpenAI's API reference has it; ids of other accounts are not found."
_VARIABLE: Final = re.compile(r"<(\w+)>")
_VERBS: Final = {"GET": "show", "POST": "change", "DELETE": "delete"}

SCHEMAS: Final[Mapping[str, Schema]] = {
    "Kept": thing({"id": text(), "object": text()}, detail="As OpenAI's API reference has it."),
    "KeptList": thing(
        {
            "object": text(),
            "data": listed(ref("Kept")),
            "has_more": flag(),
            "first_id": nullable(text()),
            "last_id": nullable(text()),
        },
        "data",
    ),
    "KeptChange": thing(
        {"metadata": nullable(thing({}))},
        detail="As OpenAI's API reference has it; ids in it are those of this account.",
    ),
    "ContainerFileForm": thing({"file": file_bytes(), "file_id": text("In the place of a file.")}),
}


def _row(route: Route) -> Row:
    asks: dict[str, Schema] = {}
    if route.method == "POST":
        asks[JSON] = ref("KeptChange")
    if route.body == "form":
        asks[FORM] = ref("ContainerFileForm")
    return Row(
        route.method,
        route.path,
        _name(route),
        TAGS[route.family],
        _summary(route),
        {200: _answer(route)},
        detail=_DETAIL,
        asks=asks,
        asks_required=False,
        parameters=_parameters(route),
        examples=(_example(route),),
        refuses=(404,),
        relays=True,
    )


def _answer(route: Route) -> Answer:
    if route.answer == "bytes":
        return Answer("The bytes.", {BYTES: text(format="binary")})
    schema = ref("Kept" if route.lists is None else "KeptList")
    content = (
        {JSON: schema, EVENTS: anything("Events, as OpenAI's.")}
        if route.streams
        else {JSON: schema}
    )
    return Answer("What the provider says.", content)


def _parameters(route: Route) -> tuple[Parameter, ...]:
    found: list[Parameter] = []
    if route.lists is not None:
        found += [Parameter("limit", whole(1, 100)), Parameter("order", one_of("asc", "desc"))]
    found += [Parameter(name, text("An id.")) for name in route.query]
    if route.streams and route.method == "GET":
        found += [Parameter("stream", flag()), Parameter("starting_after", whole(0))]
    return tuple(found)


def _example(route: Route) -> Example:
    """Of something that nobody has: the demo has no provider that keeps anything."""
    unknown = {name: f"{name.removesuffix('_id')}_0a1b2c3d" for name in route.parameters}
    value: dict[str, Any] | None = {"metadata": {}} if route.method == "POST" else None
    return Example("of another account", value, path=unknown, status=404)


def _name(route: Route) -> str:
    """Of the operation: `listThreadMessages`."""
    words = [_word(part) for part in route.path.removeprefix("/v1/").split("/")]
    verb = "list" if route.lists is not None else _VERBS[route.method]
    if route.method == "POST" and route.creates is not None:
        verb = "create"
    return verb + "".join(words)


def _word(part: str) -> str:
    found = _VARIABLE.fullmatch(part)
    if found is not None:
        return "One"
    return "".join(each.title() for each in part.split("_"))


def _summary(route: Route) -> str:
    last = route.path.rpartition("/")[2]
    if route.lists is not None:
        return f"A page: {last.replace('_', ' ')}."
    if route.creates is not None:
        return f"Make a {route.creates.replace('_', ' ')}."
    what = last if _VARIABLE.fullmatch(last) is None else last[1:-4]
    words = {"GET": "Show", "POST": "Change", "DELETE": "Delete"}
    return f"{words[route.method]}: {what.replace('_', ' ')}."


ROWS: Final = tuple(_row(route) for route in served_routes())
