"""What a protocol adds to the provider: how it is asked, and how it writes what it says.

One object a protocol; `service.py` routes to it. The grammar of a stream keeps the state of one.
"""

from __future__ import annotations

from typing import Any, Protocol

from bench.simulate.answer import Finish, Segment
from bench.simulate.chat import ChatRequest, Counts
from bench.simulate.errors import ApiError
from bench.simulate.plan import ChatPlan
from bench.simulate.replies import Request
from engine.wire.http import Headers


class Grammar(Protocol):
    """The events of one stream, in the order they are asked for. Text needs no JSON escapes."""

    def begin(self) -> bytes:
        """Before the first token."""

    def piece(self, segment: Segment, choice: int, start: int, end: int) -> bytes:
        """Tokens start to end - 1 of a segment; nothing where they are not shown."""

    def finish(self, reason: Finish, counts: Counts | None) -> bytes:
        """The terminal events."""

    def error(self, kind: str) -> bytes:
        """The protocol's own error in a stream that has begun; `kind` as in `fault=`."""


class Dialect(Protocol):
    """One protocol."""

    name: str

    def parse(self, request: Request) -> ChatRequest:
        """Check a request as the provider does.

        Raises:
            ApiError: what the provider would say.
        """

    def key_of(self, request: Request) -> bytes | None:
        """The key it carries, wherever the protocol lets it."""

    def no_key(self) -> ApiError:
        """The error for a request without a key."""

    def wrong_key(self, key: bytes) -> ApiError:
        """The error for one that is not known."""

    def unknown_model(self, model: str) -> ApiError:
        """The error for a model the provider does not have."""

    def status_error(self, status: int, retry_after_s: float | None) -> ApiError:
        """What `status=` answers."""

    def write_error(
        self, error: ApiError, request: Request, request_id: str
    ) -> tuple[Headers, bytes]:
        """The error as an answer."""

    def headers(self, request_id: str) -> Headers:
        """What every answer carries."""

    def call_id(self, digest: str, *, given: bool) -> str:
        """The id of a call, from 32 hex digits; `given` as in `ids=`."""

    def sign_reasoning(self, text: str, nonce: bytes) -> str | None:
        """The signature that goes with shown reasoning, where the protocol has one."""

    def sign_call(self, name: str, arguments: dict[str, Any], nonce: bytes) -> str | None:
        """The signature of the first call of a turn, where the protocol has one."""

    def prompt_refused(self) -> ApiError | None:
        """The error for `refuse=prompt`; None where it is an answer."""

    def answer_id(self, instance: str, number: int) -> str:
        """The id of an answer."""

    def stream_type(self, request: ChatRequest) -> bytes:
        """The content type of a stream."""

    def usage(self, counts: Counts) -> dict[str, Any]:
        """The counts as this protocol writes them."""

    def grammar(self, plan: ChatPlan) -> Grammar:
        """The events of one stream."""

    def unary(self, plan: ChatPlan, position: int, counts: Counts | None) -> bytes:
        """A whole answer of so many tokens a choice."""

    def count(self, tokens: int) -> dict[str, Any]:
        """The answer of the endpoint that counts a request's tokens."""

    def model_list(self, models: tuple[str, ...]) -> dict[str, Any]:
        """All models."""

    def model(self, model: str) -> dict[str, Any]:
        """One entry of the list."""
