"""A request for a route of the table, and its body: read within bounds, and no deeper than needed.
Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlencode

import orjson

from engine.errors import InvalidRequestError
from engine.media.forms import parse_form
from engine.passing.ids import Named, name_ids, query_kind
from engine.passing.table import PARAMETERS, Route

_MEMBERS_MAX: Final = 100_000
"""Objects and lists of a body; a quarter of a million of them stall all streams for a tenth of a
second."""
_VALUES_MAX: Final = 1_000_000
_FORM: Final = "multipart/form-data"
_FILE_ID: Final = "file_id"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as a frontend received it; its body is not read yet.

    Attributes:
        at: the parameters of the path.
        query: those of the URL, in their order.
        beta: what the client says in `openai-beta`.
    """

    route: Route
    at: Mapping[str, str]
    query: tuple[tuple[str, str], ...] = ()
    body: bytes = field(default=b"", repr=False)
    content_type: str = ""
    beta: bytes | None = None
    request_id: str = ""


def read_document(asked: Asked) -> dict[str, Any] | None:
    """The JSON object that the body is; None: there is no body, or it is a form whose file goes
    through as it is. A form that names a file by id is as JSON that does.

    Raises:
        InvalidRequestError: it is none; or a form that says both.
    """
    body = asked.body
    if asked.route.body == "form" and asked.content_type.lower().startswith(_FORM):
        form = parse_form(asked.content_type, body)
        named, files = form.texts(_FILE_ID), form.files("file")
        if named and files:
            raise InvalidRequestError("A form has 'file' or 'file_id', not both.", param=_FILE_ID)
        if not named:
            return None
        return {_FILE_ID: named[0]}
    if not body:
        return None
    if body.count(b"{") + body.count(b"[") > _MEMBERS_MAX or body.count(b",") > _VALUES_MAX:
        raise InvalidRequestError("The body has too many members.")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise InvalidRequestError("The body must be a JSON object.")
    return document


def wants_stream(asked: Asked, document: Mapping[str, Any] | None) -> bool:
    """Whether the answer is to be server-sent events."""
    if not asked.route.streams:
        return False
    if asked.route.method == "GET":
        said = dict(asked.query)
        return said.get("stream", "").lower() in ("1", "true")
    return document is not None and document.get("stream") is True


def named_in(asked: Asked, document: Mapping[str, Any] | None) -> list[Named]:
    """All that a request names: in its path, in its URL's parameters, in its body. Raises
    InvalidRequestError: that is too deep."""
    found = [Named(None, name, asked.at[name], PARAMETERS[name], name) for name in asked.at]
    for name, value in asked.query:
        kind = query_kind(name, value, asked.route.query)
        if kind is not None:
            found.append(Named(None, name, value, None if kind == "item" else kind, name))
    if document is None:
        return found
    try:
        return found + name_ids(document)
    except RecursionError:
        raise InvalidRequestError("The body is nested too deeply.") from None


def upstream_path(asked: Asked, held: Mapping[str, str]) -> str:
    """Behind the provider's base URL."""
    at = {name: quote(held.get(value, value), safe="") for name, value in asked.at.items()}
    path = asked.route.fill(at).removeprefix("/v1")
    if not asked.query:
        return path
    return f"{path}?{urlencode([(name, held.get(v, v)) for name, v in asked.query])}"
