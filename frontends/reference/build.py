"""The OpenAPI document of a set of routes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any, Final

from frontends import admin
from frontends.reference import errors
from frontends.reference.rows import Answer, Example, Parameter, Row, Schema
from frontends.reference.table import ROWS, SCHEMAS, TAGS, VARIABLES
from frontends.scopes import ROUTES, Access, access_of

OPENAPI: Final = "3.1.0"
_VARIABLE: Final = re.compile(r"<(?:\w+(?:\(.*?\))?:)?(\w+)>")
_SHOWN: Final = re.compile(r"\{(\w+)\}")
_ID: Final = {"x-request-id": {"$ref": "#/components/headers/x-request-id"}}
_HEADERS: Final[Mapping[str, str]] = {
    "x-request-id": "The id of the request: its receipt is at `/v1/receipts/{id}`.",
    "retry-after": "When to try again, in seconds.",
    "etag": "Of the file: its digest.",
    "content-disposition": "As an attachment, with the file's name.",
    "openai-poll-after-ms": "When to look again.",
    "x-goog-upload-url": "Where the parts of the upload go.",
    "x-goog-upload-status": "`active`, `final` or `cancelled`.",
}
_DETAIL: Final = """
A gateway for LLM APIs. Clients speak OpenAI, Anthropic or Gemini to it, and reach any model.

A key may stand in `Authorization: Bearer`, `x-api-key`, `x-goog-api-key` or `?key=`, on any route;
what a route needs of it is its scope (`inference`, `read`, `keys`). Errors have the shape of the
client's protocol. What is asked for in a protocol's own words may have more fields than are shown
here: they go on to a provider of that protocol, and are translated, or named in
`x-parshall-dropped`, for others.
""".strip()


class NoRowError(LookupError):
    """A route of which nothing is said; the message says where to say it."""


def document(routes: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The document of these routes: methods and rules, as the app and `frontends.scopes` have them.

    Raises:
        NoRowError: there is one without a row.
    """
    known = set(routes)
    if missing := sorted(known - {(row.method, row.rule) for row in ROWS}):
        raise NoRowError(how_to_add(missing))
    paths: dict[str, dict[str, Any]] = {}
    shared: dict[str, Any] = {}
    for row in ROWS:
        if (row.method, row.rule) in known:
            methods = paths.setdefault(shown_path(row), {})
            assert row.method.lower() not in methods, f"two rows are shown as {shown_path(row)}"
            methods[row.method.lower()] = _operation(row, shared)
    used = {tag for methods in paths.values() for each in methods.values() for tag in each["tags"]}
    return {
        "openapi": OPENAPI,
        "info": {"title": "Parshall", "version": version("parshall"), "description": _DETAIL},
        "servers": [{"url": "/"}],
        "tags": [{"name": tag, "description": said} for tag, said in TAGS.items() if tag in used],
        "paths": paths,
        "components": {
            "securitySchemes": _SECURITY,
            "headers": {
                name: {"description": said, "schema": {"type": "string"}}
                for name, said in _HEADERS.items()
            },
            "responses": dict(sorted(shared.items())),
            "schemas": {**SCHEMAS, **errors.SCHEMAS},
        },
    }


def how_to_add(missing: Iterable[tuple[str, str]]) -> str:
    """What somebody reads who has added routes, and said nothing of them."""
    lines = [
        "Routes that /openapi.json says nothing of. Add a row for each to the module of its family",
        "in frontends/reference (its docstring says how; `table.py` names the modules):",
    ]
    for method, rule in missing:
        lines.append(
            f'    Row("{method}", "{rule}", "operationName", "Tag", "What it does.", '
            f'answers_json(ref("Thing"), "The thing."), examples=(Example("plain", {{…}}),))'
        )
    return "\n".join(lines)


def shown_path(row: Row) -> str:
    """The path as OpenAPI writes it.

    >>> _VARIABLE.sub(r"{\\1}", "/v1/models/<path:name>")
    '/v1/models/{name}'
    """
    return row.path or _VARIABLE.sub(r"{\1}", row.rule)


def all_routes() -> set[tuple[str, str]]:
    """Every route there is, by the table that says who may use it."""
    return {*ROUTES, *((route.method, route.rule) for route in admin.ROUTES)}


def _operation(row: Row, shared: dict[str, Any]) -> dict[str, Any]:
    access = access_of(row.method, row.rule)
    shown: dict[str, Any] = {
        "operationId": row.name,
        "tags": [row.tag],
        "summary": row.summary,
        "description": " ".join(filter(None, (row.detail, _needs(access)))),
        "security": _security(access),
    }
    parameters = [_variable(row, name) for name in _SHOWN.findall(shown_path(row))]
    parameters += [_parameter(each) for each in row.parameters]
    if parameters:
        shown["parameters"] = parameters
    if row.asks:
        shown["requestBody"] = {
            "required": row.asks_required,
            "content": {kind: _content(row, kind, schema) for kind, schema in row.asks.items()},
        }
    shown["responses"] = {str(s): _answer(answer) for s, answer in row.answers.items()}
    for status in errors.statuses_of(row, access):
        shown["responses"][str(status)] = _refusal(row, status, shared)
    return {name: value for name, value in shown.items() if value != ""}


def _content(row: Row, kind: str, schema: Schema) -> dict[str, Any]:
    examples = {each.name: _example(each) for each in row.examples if each.media_type == kind}
    examples = {name: value for name, value in examples.items() if value["value"] is not None}
    return {"schema": schema, **({"examples": examples} if examples else {})}


def _example(example: Example) -> dict[str, Any]:
    return {"summary": example.name, "value": example.value}


def _variable(row: Row, name: str) -> dict[str, Any]:
    values = [each.path[name] for each in row.examples if name in each.path]
    shown: dict[str, Any] = {"name": name, "in": "path", "required": True}
    shown["schema"] = VARIABLES.get(name, {"type": "string"})
    return {**shown, "example": values[0]} if values else shown


def _parameter(parameter: Parameter) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": parameter.name, "in": parameter.place}
    if parameter.required:
        shown["required"] = True
    if parameter.detail:
        shown["description"] = parameter.detail
    return {**shown, "schema": parameter.schema}


def _answer(answer: Answer) -> dict[str, Any]:
    headers = {name: {"$ref": f"#/components/headers/{name}"} for name in answer.headers}
    shown: dict[str, Any] = {"description": answer.detail, "headers": {**_ID, **headers}}
    if answer.content:
        shown["content"] = {kind: {"schema": schema} for kind, schema in answer.content.items()}
    return shown


def _refusal(row: Row, status: int, shared: dict[str, Any]) -> dict[str, str]:
    name, schema = errors.refusal_of(row, status)
    if name not in shared:
        headers = dict(_ID)
        if status in (429, 503, 529):
            headers["retry-after"] = {"$ref": "#/components/headers/retry-after"}
        shared[name] = {
            "description": errors.STATUSES[status],
            "headers": headers,
            "content": {"application/json": {"schema": schema}},
        }
    return {"$ref": f"#/components/responses/{name}"}


# ---- who may use it ------------------------------------------------------------------------------

_SECURITY: Final[Mapping[str, Any]] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A key of an account."},
    "anthropic": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    "google": {"type": "apiKey", "in": "header", "name": "x-goog-api-key"},
    "query": {"type": "apiKey", "in": "query", "name": "key"},
    "operator": {
        "type": "http",
        "scheme": "bearer",
        "description": "A credential of `[admin]`; no key of an account is one.",
    },
}
_KEYS: Final[list[dict[str, list[str]]]] = [
    {name: []} for name in ("bearer", "anthropic", "google", "query")
]


def _security(access: Access) -> list[dict[str, list[str]]]:
    if access == "open":
        return []
    return [{"operator": []}] if access == "admin" else _KEYS


def _needs(access: Access) -> str:
    match access:
        case "open":
            return ""
        case "admin":
            return "For operators."
        case "any":
            return "Any key will do."
        case scope:
            return f"The key needs the scope `{scope}`."
