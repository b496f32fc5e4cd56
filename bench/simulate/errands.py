"""Calls that are no chat and leave something behind: files and jobs, and what is kept of them.

A call has a name (`files.upload`, `videos.get` …): where there is no prompt to say `#sim` in,
`Behaviour.set` or `POST /_behave` says it for that name, or for all of `files`, in place of a
model. With `status`, or when a connection is `refused`, nothing has been done; any other fault
strikes the answer, when it has been.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, Protocol

import orjson

from bench.simulate.behaviour import Behaviour
from bench.simulate.chat_replies import STALL_S
from bench.simulate.dialect import Dialect
from bench.simulate.directives import DirectiveError, Directives, FaultKind
from bench.simulate.errors import ApiError
from bench.simulate.event_reply import Event, EventsReply, strike
from bench.simulate.replies import Reply, Request, Responder, StaticReply
from bench.simulate.sounds import PAGE
from bench.simulate.truth import TruthLog, TruthRecord
from bench.simulate.wheel import TimerWheel
from engine.wire.http import Headers

BEFORE: Final = frozenset({"refused", "goaway_refused"})
"""Faults that strike before anything is done."""
JSON: Final = (b"content-type", b"application/json")
EVENTS: Final = (b"content-type", b"text/event-stream; charset=utf-8")
_REQUEST_ID_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Told:
    """An answer."""

    body: bytes
    headers: Headers
    status: int = 200


@dataclass(frozen=True, slots=True)
class Streamed:
    """An answer of events, which end as the fault says."""

    events: Iterator[Event]
    fault: FaultKind | None = None
    stall_ms: float | None = None


class Turned(Exception):  # noqa: N818
    """The connection ends before anything is done."""


class Visit:
    """One call under way.

    Attributes:
        key: what it was sent with; empty where it needs none.
        origin: of the simulator, as the client called it.
        record: of the truth log, for calls that are to have one.
        directives: what its answer gets, once they are known.
    """

    __slots__ = ("_behaviour", "_number", "directives", "key", "origin", "record", "request")

    def __init__(
        self,
        request: Request,
        key: str,
        record: TruthRecord | None,
        behaviour: Behaviour,
        number: int,
    ) -> None:
        self.request = request
        self.key = key
        self.record = record
        self.origin = origin_of(request)
        self.directives = Directives()
        self._number = number
        self._behaviour = behaviour

    def begin_call(self, name: str) -> Directives:
        """What a call without a prompt is to get; it has done nothing yet.

        Raises:
            ApiError: of the status that was told.
            Turned: the connection is to end instead.
        """
        return self._begin(self._behaviour.of_call(name, self._number))

    def begin_job(self, model: str, words: str | None) -> Directives:
        """The same of a prompt.

        Raises:
            ApiError: of the status that was told, or its words are not understood.
            Turned: the connection is to end instead.
        """
        try:
            directives = self._behaviour.of(model, words, self._number)
        except DirectiveError as error:
            raise ApiError(str(error), param="prompt", code="invalid_directive") from None
        if self.record is not None:
            self.record.model, self.record.directives = model, words or ""
            self.record.tag = directives.tag
        return self._begin(directives)

    def _begin(self, directives: Directives) -> Directives:
        self.directives = directives
        if directives.status is not None:
            raise StatusTold(directives.status, directives.retry_after)
        if directives.fault in BEFORE:
            raise Turned
        return directives


class StatusTold(Exception):  # noqa: N818
    """The error of a status, which the dialect of the call puts into words."""

    def __init__(self, status: int, retry_after_s: float | None) -> None:
        super().__init__(str(status))
        self.status = status
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Errand:
    """What a request is: which API it speaks, what does it.

    Attributes:
        act: does it. Raises ApiError, StatusTold, Turned.
        api: its name in the truth log; None leaves no record there.
        keyless: it needs no key.
    """

    dialect: Dialect
    act: Callable[[Visit], Told | Streamed]
    api: str | None = None
    keyless: bool = False


class Desk(Protocol):
    """What has errands."""

    def errand(self, request: Request) -> Errand | None:
        """What the request is here; None: nothing.

        Raises:
            ApiError: the method is not allowed there.
        """


class Errands:
    """Runs them, for all connections of a simulator."""

    def __init__(
        self,
        desks: tuple[Desk, ...],
        wheel: TimerWheel,
        truth: TruthLog,
        behaviour: Behaviour,
        key_of: Callable[[Dialect, Request], bytes],
    ) -> None:
        self._desks = desks
        self._wheel = wheel
        self._truth = truth
        self._behaviour = behaviour
        self._key_of = key_of
        self._numbers = count(1)

    def find(self, request: Request) -> Errand | None:
        """What the request is at one of the desks."""
        for desk in self._desks:
            if (errand := desk.errand(request)) is not None:
                return errand
        return None

    def reply_to(
        self, errand: Errand, request: Request, responder: Responder, own_id: str
    ) -> Reply:
        """Do it; the reply is not yet started."""
        dialect, record, number = errand.dialect, None, next(self._numbers)
        if errand.api is not None:
            sent = request.headers.get(b"x-request-id", b"").decode("latin-1")
            sent = sent[:_REQUEST_ID_MAX] or own_id
            record = self._truth.open(sent, own_id, request.protocol, errand.api)
            if request.headers.get(b"content-type", b"").startswith(b"application/json"):
                self._truth.keep_body(record, request.body)
        visit: Visit | None = None
        turned = False
        told: Told | Streamed
        try:
            key = b"" if errand.keyless else self._key_of(dialect, request)
            visit = Visit(request, key.decode("latin-1"), record, self._behaviour, number)
            told = errand.act(visit)
        except Turned:
            turned, told = True, Told(b"", [], 500)
        except StatusTold as status:
            error = dialect.status_error(status.status, status.retry_after_s)
            told = _refusal(error, dialect, request, own_id, record)
        except ApiError as error:
            told = _refusal(error, dialect, request, own_id, record)
        directives = Directives() if visit is None else visit.directives
        if isinstance(told, Streamed):
            return EventsReply(
                responder,
                self._wheel,
                record,
                [EVENTS, *dialect.headers(own_id)],
                told.events,
                fault=told.fault,
                stall_ms=told.stall_ms,
                delay_s=directives.head_ms / 1000,
            )
        if told.status >= 400 and not turned:
            directives = Directives(head_ms=directives.head_ms)
        headers = [*told.headers, *dialect.headers(own_id)]
        return SpoiledReply(responder, self._wheel, told, headers, directives, record)


def _refusal(
    error: ApiError, dialect: Dialect, request: Request, own_id: str, record: TruthRecord | None
) -> Told:
    if record is not None:
        record.message = error.message
    headers, body = dialect.write_error(error, request, own_id)
    return Told(body, headers, error.status)


class SpoiledReply(StaticReply):
    """A whole answer with the faults of its directives."""

    def __init__(
        self,
        responder: Responder,
        wheel: TimerWheel,
        told: Told,
        headers: Headers,
        directives: Directives,
        record: TruthRecord | None,
    ) -> None:
        status, body = told.status, told.body
        match directives.fault:
            case "html":
                status, body, headers = 200, PAGE, [(b"content-type", b"text/html")]
            case "error_ok":
                status, body = 200, b'{"error":{"message":"Internal error"}}\n'
            case _:
                pass
        delay_s = directives.head_ms / 1000
        super().__init__(responder, wheel, status, headers, body, delay_s=delay_s, record=record)
        self._fault = directives.fault
        self._stall_ms = directives.stall_ms
        self._stalled = False
        if self._fault is not None:
            self.fails()

    def _step(self, now_s: float) -> None:
        match self._fault:
            case None | "html" | "error_ok":
                super()._step(now_s)
            case "stall" if not self._stalled:
                self._stalled = True
                stall_s = STALL_S if self._stall_ms is None else self._stall_ms / 1000
                self._wake_at(now_s + stall_s)
            case "stall" if self._stall_ms is not None:
                super()._step(now_s)
            case "cut_body" | "eof":
                length = len(self._body) if self._fault == "cut_body" else None
                self._responder.send_head(self._status, self._headers, length=length)
                self._outbox.append((self._body[: len(self._body) // 2], 0))
                self._finale = self._strike
                self.pump()
            case _:
                self._strike()

    def _strike(self) -> None:
        self._fail("cut")
        strike(self._responder, self._fault)


def origin_of(request: Request) -> str:
    """Scheme and host as the client called them."""
    host = request.headers.get(b"host") or request.headers.get(b":authority", b"")
    scheme = request.headers.get(b":scheme", b"http").decode("latin-1")
    return f"{scheme}://{host.decode('latin-1')}"


def json_told(
    document: Any, *headers: tuple[bytes, bytes], status: int = 200, indented: bool = True
) -> Told:
    """A document as an answer."""
    option = orjson.OPT_INDENT_2 if indented else 0
    return Told(orjson.dumps(document, option=option) + b"\n", [JSON, *headers], status)


def not_allowed(request: Request) -> ApiError:
    """The error for a method that a path does not have."""
    return ApiError(
        f"Not allowed to {request.method} on {request.path}. "
        "(HINT: Perhaps you meant to use a different HTTP method?)",
        status=405,
        code="method_not_supported",
    )
