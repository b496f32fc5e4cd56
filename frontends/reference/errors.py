"""What errors look like: a shape for each protocol, and which statuses a route may answer with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from engine.events import Protocol
from frontends.protocols import is_shared, protocol_of
from frontends.reference.rows import (
    Row,
    Schema,
    always,
    anything,
    either,
    exactly,
    listed,
    nullable,
    ref,
    text,
    thing,
    whole,
)
from frontends.scopes import Access

SCHEMAS: Final[Mapping[str, Schema]] = {
    "OpenAIError": always(
        {
            "error": always(
                {
                    "message": text("For people."),
                    "type": text("`invalid_request_error`, `permission_error`, …"),
                    "param": nullable(text("The field at fault.")),
                    "code": nullable(text("For programs; stable.")),
                }
            )
        },
        "An error as OpenAI's clients know it, and of the gateway's own routes.",
    ),
    "AnthropicError": always(
        {
            "type": exactly("error"),
            "error": always(
                {"type": text("`invalid_request_error`, …"), "message": text(), "code": text()}
            ),
            "request_id": nullable(text()),
        },
        "An error as Anthropic's clients know it.",
    ),
    "GeminiError": always(
        {
            "error": thing(
                {
                    "code": whole(400, 599, "The status."),
                    "message": text(),
                    "status": text("`INVALID_ARGUMENT`, …"),
                    "details": listed(anything("`ErrorInfo`, `BadRequest`, `RetryInfo`")),
                },
                "code",
                "message",
                "status",
            )
        },
        "An error as Gemini's clients know it.",
    ),
}

STATUSES: Final[Mapping[int, str]] = {
    400: "The request is not what it must be: `param` or the message says where.",
    401: "There is no key, or one that is not known or over.",
    402: "The account's funds, or a budget, do not cover the request.",
    403: "The key may not do this, or is switched off.",
    404: "There is no such thing in this account, or no such model.",
    405: "The path takes other methods.",
    408: "The body came too slowly.",
    409: "It is in another state than that takes.",
    413: "The body, or the file, is too large.",
    414: "The URL is too long.",
    415: "The body is coded; send it as it is.",
    416: "The range lies outside of the file.",
    422: "The provider refuses the request.",
    424: "The provider could not get what the request names.",
    429: "Too many requests: wait for `retry-after`.",
    431: "The headers are too large.",
    500: "The gateway's own fault: its log says where, under the `x-request-id`.",
    502: "The provider failed: try again.",
    503: "The gateway, or whatever could serve the model, cannot take it now: `retry-after`.",
    504: "The provider was silent, or the request took too long.",
    507: "The gateway's own disk is full.",
    529: "As 503, in the words of Anthropic's clients.",
}
"""What each says. A provider's own refusal has the provider's status, which may be another."""

_OF_CONNECTION: Final = (400, 408, 413, 414, 431, 503)
"""Before it is known who speaks, these are worded as OpenAI's clients know them."""
_ALWAYS: Final = (*_OF_CONNECTION, 429, 500)
_KEYED: Final = (401, 403)
_RELAYED: Final = (402, 404, 409, 422, 424, 502, 503, 504)
_OF_SCHEMA: Final[Mapping[Protocol, str]] = {"anthropic": "AnthropicError", "gemini": "GeminiError"}


def statuses_of(row: Row, access: Access) -> Iterator[int]:
    """The statuses of errors that a route may answer with, in order."""
    found = {*_ALWAYS, *row.refuses}
    if access != "open":
        found.update(_KEYED)
    if row.relays:
        found.update(_RELAYED)
    if "AnthropicError" in _schema_names(row):
        found.add(529)
    yield from sorted(found)


def refusal_of(row: Row, status: int) -> tuple[str, Schema]:
    """A name for what an error of a status looks like on a route, and its schema. Where protocols
    share a path, a header tells whose it is."""
    names = _schema_names(row)
    if status in _OF_CONNECTION and "OpenAIError" not in names:
        names = ("OpenAIError", *names)
    schema = ref(names[0]) if len(names) == 1 else either(*map(ref, names))
    return "Or".join(name.removesuffix("Error") for name in names) + f"Error{status}", schema


def _schema_names(row: Row) -> tuple[str, ...]:
    path = (row.path or row.rule).replace("{model}", "some")
    if is_shared(path) and protocol_of(path, {}) != "gemini":
        return tuple(SCHEMAS)
    return (_OF_SCHEMA.get(protocol_of(path, {}), "OpenAIError"),)
