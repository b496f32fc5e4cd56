"""Lines of an input file: each a request of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from engine.errors import InvalidRequestError
from engine.protocols.fields import load_request, text_of, write_json

LINES_MAX: Final = 50_000
FILE_MAX_BYTES: Final = 200_000_000
"""Both by OpenAI's guide."""
LINE_MAX_BYTES: Final = 4 * 1024 * 1024
VALUES_MAX: Final = 100_000
"""Of one line: so many are read in some 10 ms, in which nothing else is done."""
_CUSTOM_ID_MAX_CHARS: Final = 512
_MEMBERS: Final = frozenset({"custom_id", "method", "url", "body"})
_MARKS: Final = (b"{", b"[", b",")
_TIERS: Final = (None, "auto", "default", "batch")
"""All are the same here: that of batches."""


class BatchLineError(InvalidRequestError):
    """A line of the input file cannot be served (400); its number is in the message, from 1."""

    def __init__(self, number: int, problem: str, code: str) -> None:
        super().__init__(f"Line {number} of the input file: {problem}", param="input_file_id")
        self.number = number
        self.code = code


@dataclass(frozen=True, slots=True)
class BatchLine:
    """A request of a batch, as its client has written it.

    Attributes:
        number: of the line, from 1.
        model: that it names; empty: none.
        body: as JSON.
    """

    number: int
    custom_id: str
    model: str
    body: bytes = field(repr=False)


def read_line(data: bytes, number: int, endpoint: str) -> BatchLine:
    """One request, for `endpoint`. Raises BatchLineError."""
    if sum(map(data.count, _MARKS)) > VALUES_MAX:
        raise BatchLineError(number, "it has too many values.", "line_too_large")
    try:
        said = load_request(data)
    except InvalidRequestError:
        raise BatchLineError(number, "it is not a JSON object.", "invalid_json_line") from None
    if unknown := sorted(said.keys() - _MEMBERS):
        raise BatchLineError(
            number, f"it has an unknown member '{unknown[0][:64]}'.", "unknown_parameter"
        )
    custom_id = said.get("custom_id")
    if not isinstance(custom_id, str) or not 0 < len(custom_id) <= _CUSTOM_ID_MAX_CHARS:
        raise BatchLineError(
            number,
            f"'custom_id' must be text of 1 to {_CUSTOM_ID_MAX_CHARS} characters.",
            "invalid_custom_id",
        )
    if said.get("method") != "POST":
        raise BatchLineError(number, "'method' must be 'POST'.", "invalid_method")
    if said.get("url") != endpoint:
        raise BatchLineError(
            number, f"'url' must be the batch's endpoint, '{endpoint}'.", "invalid_url"
        )
    body = _body_of(said, number)
    try:
        return BatchLine(number, custom_id, text_of(body.get("model")), write_json(body))
    except InvalidRequestError as error:
        raise BatchLineError(number, error.message, "invalid_request") from None


def _body_of(said: dict[str, Any], number: int) -> dict[str, Any]:
    body = said.get("body")
    if not isinstance(body, dict):
        raise BatchLineError(number, "'body' must be an object.", "invalid_request")
    refused = next((name for name in ("stream", "background") if body.get(name)), None)
    if body.get("service_tier") not in _TIERS:
        refused = "service_tier"
    if refused is not None:
        raise BatchLineError(
            number, f"'body.{refused}' is not possible in a batch.", "invalid_request"
        )
    return body


def write_line(line: BatchLine, endpoint: str, body: bytes) -> bytes:
    """The line with its end, as the provider is sent it; `body` is the request for it, as JSON."""
    return orjson.dumps(
        {
            "custom_id": line.custom_id,
            "method": "POST",
            "url": endpoint,
            "body": orjson.Fragment(body),
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )
