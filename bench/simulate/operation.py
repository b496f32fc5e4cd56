"""What OpenAI's endpoints beside chat share: how a body is read, and what a whole answer is.

Each is a dialect of its own. Where an answer is no text, its tokens are pieces of media (see
`answer.Piece`), so that pace, faults and the truth log are those of a chat.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from bench.simulate.answer import Answer, Piece, Segment
from bench.simulate.chat import ChatRequest, Counts
from bench.simulate.errors import ApiError
from bench.simulate.openai_dialect import OpenAIDialect
from bench.simulate.openai_fields import Check, missing
from bench.simulate.openai_request import NOT_JSON
from bench.simulate.plan import ChatPlan
from bench.simulate.replies import Request

WHOLE: Final = Answer((Segment("media", 0, 1, pieces=(Piece(b"", {}),)),), "stop")
"""An answer that comes in one piece and has no tokens of output."""

DIGESTED_BYTES: Final = 65_536


class OperationDialect(OpenAIDialect):
    """One endpoint; keys, models and errors are chat's."""

    def stream_type(self, request: ChatRequest) -> bytes:
        return b"text/event-stream; charset=utf-8"

    def document(self, plan: ChatPlan, position: int, counts: Counts | None) -> dict[str, Any]:
        """The whole answer, before it is JSON."""
        raise AssertionError(position)

    def unary(self, plan: ChatPlan, position: int, counts: Counts | None) -> bytes:
        answer = self.document(plan, position, counts)
        return orjson.dumps(answer, option=orjson.OPT_INDENT_2) + b"\n"


def read_json(body: bytes) -> dict[str, Any]:
    """The object a body is.

    Raises:
        ApiError: it is none.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise ApiError(NOT_JSON) from None
    if not isinstance(document, dict):
        raise ApiError(NOT_JSON)
    return document


def material(request: Request) -> bytes:
    """What of a body an answer depends on: of an upload the beginning, and how long it is."""
    body = request.body if request.upload is None else request.upload
    if len(body) <= DIGESTED_BYTES:
        return body[:]
    return body[:DIGESTED_BYTES] + len(body).to_bytes(8, "big")


def check_fields(
    document: Mapping[str, Any], fields: Mapping[str, Check], required: Iterable[str]
) -> None:
    """Every field is known and has its type; those that are required are there.

    Raises:
        ApiError: in the words of the API.
    """
    for name in required:
        if document.get(name) is None:
            raise missing(name)
    for name, value in document.items():
        check = fields.get(name)
        if check is None:
            raise ApiError(f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
        if value is not None:
            check(name, value)


def check_text(name: str, text: str, high: int) -> None:
    """Some text, not too long.

    Raises:
        ApiError: in the words of the API.
    """
    if not text:
        raise ApiError(
            f"Invalid '{name}': empty string. Expected a string with minimum length 1, but got an "
            "empty string instead.",
            param=name,
            code="empty_string",
        )
    if len(text) > high:
        raise ApiError(
            f"Invalid '{name}': string too long. Expected a string with maximum length {high}, "
            f"but got a string with length {len(text)} instead.",
            param=name,
            code="string_above_max_length",
        )
