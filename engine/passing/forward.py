"""The way of a request that costs nothing: its gates, in their order; who is asked; the answer.

Everything that a request names is looked up before anything is sent, and everything that an answer
tells of is recorded before it goes out: an id is nobody's for no moment.
"""

from __future__ import annotations

import re
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
import trio

from engine.admitting import check_room
from engine.charging import Bill, Charging
from engine.errors import (
    InsufficientFundsError,
    JobNotEndedError,
    UpstreamError,
    UpstreamRejectedError,
    UpstreamTimeoutError,
)
from engine.ledger.file_rows import FileRow
from engine.ledger.owned_rows import OwnedRow
from engine.owned import HeldRef
from engine.parts import Parts
from engine.passing.answers import Circumstances, Ended, Reading
from engine.passing.asked import Asked, named_in, read_document, upstream_path, wants_stream
from engine.passing.asking import ask, read_whole, refusal_of
from engine.passing.files import PassedFiles
from engine.passing.ids import Named
from engine.passing.places import (
    Place,
    check_family,
    models_of,
    place_of,
    put_model,
    shown_models,
)
from engine.passing.relaying import events_of, pieces_of
from engine.passing.table import Route
from engine.protocols.openai_responses.tools import container_gigabytes
from engine.rules import Admitted
from engine.usage import MoreUnit
from engine.wire.http import Headers

_JSON: Final = b"application/json"
_EVENTS: Final = b"text/event-stream"
_FILE: Final = re.compile(r"\bfile[-_][A-Za-z0-9]{12,}")
_OK: Final = range(200, 300)
_FREE: Final = nullcontext[None]()
_MADE_MAX_S: Final = 120.0
"""As long is waited for what is being made, whether its client waits or not."""
_OPERATIONS: Final[Mapping[MoreUnit, str]] = {
    "file_searches": "vector_store_search",
    "code_sessions": "container",
}
"""What receipts call a request that costs some of a unit."""


SettleFirst = Callable[[str, str], Awaitable[bool]]
"""Of a provider, and what it calls something that is to be removed there: settles what is charged
when it ends; False: that has not ended."""


@dataclass(frozen=True, slots=True)
class Sending:
    """A request that has passed its gates, as its provider is sent it.

    Attributes:
        files: what the provider calls files of the request, and what the client wrote.
        units: that a good answer costs.
    """

    admitted: Admitted
    asked: Asked
    place: Place
    path: str
    body: bytes = field(repr=False)
    headers: tuple[tuple[bytes, bytes], ...]
    rows: tuple[OwnedRow, ...]
    model: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[MoreUnit, int] = field(default_factory=dict)


class Passed:
    """An answer, for as long as the block of `Forwarder.open` lasts.

    Attributes:
        headers: for the client, before the frontend's own.
        data: its body, where all of it is there.
        pieces: of its body otherwise; closed by who reads them.
    """

    def __init__(
        self,
        status: int,
        headers: Headers,
        data: bytes = b"",
        pieces: AsyncGenerator[bytes] | None = None,
    ) -> None:
        self.status = status
        self.headers = headers
        self.data = data
        self.pieces = pieces


class Forwarder:
    """Of one gateway.

    Attributes:
        under_way: how many requests are forwarded now.
        files: what files are called.
    """

    def __init__(self, parts: Parts, settle_first: SettleFirst) -> None:
        self._parts = parts
        self._settle_first = settle_first
        self.files = PassedFiles(parts)
        self._charging = Charging(parts)
        self.under_way = 0
        self._ended: tuple[Ended, ...] = ()

    def follow(self, listener: Ended) -> None:
        """Call this with each job that an answer says to have ended."""
        self._ended = (*self._ended, listener)

    @asynccontextmanager
    async def open(self, admitted: Admitted, asked: Asked) -> AsyncIterator[Passed]:
        """Forward a request of who was admitted, for the block.

        Raises:
            NotFoundError: the family is not switched on, nobody keeps it, or something that is
                named is not the account's.
            PermissionDeniedError: the plan does not have the family.
            InvalidRequestError: the body is none, or cannot be sent.
            JobNotEndedError: what is to be removed is still being made.
            InsufficientFundsError: something is to be made, and there are no funds; or what it
                costs is not covered.
            UpstreamError: the provider refuses, or fails.
            GatewayError: something cannot be done now.
        """
        parts = self._parts
        check_room(parts, len(parts.open_exchanges) + self.under_way)
        self.under_way += 1
        try:
            with parts.preliminaries.refused_at_end():
                sending = await self.prepare(admitted, asked)
                await self._check_settled(sending)
                charging = self._charging.open(_bill_of(sending)) if sending.units else _FREE
                with charging as charge:
                    makes = asked.route.creates is not None
                    opening = self._make(sending) if makes else self._open(sending)
                    async with opening as passed:
                        if charge is not None:
                            charge.settle()
                            await charge.wait_durable()
                        parts.telemetry.passed(asked.route.family, passed.status)
                        yield passed
        finally:
            self.under_way -= 1

    # ---- the gates ----------------------------------------------------------------------------

    async def prepare(self, admitted: Admitted, asked: Asked) -> Sending:
        """What is sent. Raises as `open`, but for what the provider says."""
        parts, route = self._parts, asked.route
        account_id = admitted.entry.principal.account_id
        check_family(parts, admitted, route.family)
        document = read_document(asked)
        if route.creates is not None:
            await self._check_means(account_id)
        named = named_in(asked, document)
        files = await self.files.find(account_id, [each for each in named if each.kind == "file"])
        refs = [HeldRef(each.text, each.kind, each.path) for each in named if each.kind != "file"]
        rows = await parts.owners.find(account_id, refs)
        place = place_of(parts, parts.owners.pin_of(rows, refs))
        model = None
        if route.model and document is not None:
            model = put_model(parts, admitted, place.provider, document)
        held = await self._hold_files(files, named, place, asked)
        for each in named:
            if each.text in held and each.holder is not None:
                each.holder[each.at] = held[each.text]
        return Sending(
            admitted,
            asked,
            place,
            upstream_path(asked, held),
            asked.body if document is None else orjson.dumps(document),
            self._headers(asked, document),
            rows,
            model,
            {provider_id: written for written, provider_id in held.items()},
            _units_of(route, document),
        )

    async def _check_settled(self, sending: Sending) -> None:
        """Nobody can tell what it has consumed when it is gone. Raises as `open`."""
        route = sending.asked.route
        if route.removes is not None:
            gone = sending.asked.at[route.parameters[-1]]
            if not await self._settle_first(sending.place.provider.name, gone):
                raise JobNotEndedError("It is still being answered; cancel it, or wait for it.")

    async def _check_means(self, account_id: str) -> None:
        """Raises InsufficientFundsError, OwnedLimitError: it may not make anything now."""
        if self._parts.ledger.available_nanodollars(account_id) <= 0:
            raise InsufficientFundsError(
                "Your balance is used up, and what is made here needs some. Add funds."
            )
        await self._parts.owners.check_room(account_id)

    async def _hold_files(
        self, rows: Mapping[str, FileRow], named: Sequence[Named], place: Place, asked: Asked
    ) -> dict[str, str]:
        """What the provider calls the files; only what a body names is sent there."""
        in_body = {each.text for each in named if each.holder is not None}
        sent = {text: row for text, row in rows.items() if text in in_body}
        rest = {text: row for text, row in rows.items() if text not in in_body}
        held = await self.files.held(rest, place, send=False)
        return held | await self.files.held(sent, place, send=True)

    @staticmethod
    def _headers(
        asked: Asked, document: Mapping[str, Any] | None
    ) -> tuple[tuple[bytes, bytes], ...]:
        said = dict(asked.route.headers)
        if asked.beta is not None and said:
            said[b"openai-beta"] = asked.beta
        said[b"accept"] = b"*/*" if asked.route.answer == "bytes" else _JSON
        if wants_stream(asked, document):
            said[b"accept"] = _EVENTS
        if document is not None:
            said[b"content-type"] = _JSON
        elif asked.body:
            said[b"content-type"] = asked.content_type.encode("latin-1", "replace")
        said[b"x-request-id"] = asked.request_id.encode()
        return tuple(said.items())

    # ---- the answer ---------------------------------------------------------------------------

    def reading(self, sending: Sending) -> Reading:
        """What is done with the answer."""
        parts, asked, place = self._parts, sending.asked, sending.place
        models = shown_models(
            parts, sending.admitted, place.provider, [sending.model, *models_of(sending.rows)]
        )
        principal = sending.admitted.entry.principal
        of = Circumstances(
            principal, place, asked.route, asked.at, sending.model, models, self._ended
        )
        return Reading(parts, self.files, of)

    @asynccontextmanager
    async def _open(self, sending: Sending) -> AsyncIterator[Passed]:
        asked, place = sending.asked, sending.place
        reading = self.reading(sending)
        opening = ask(
            self._parts.pool,
            place,
            asked.route.method,
            sending.path,
            body=sending.body,
            more=sending.headers,
        )
        async with opening as (status, headers, answer):
            kind = next((value for name, value in headers if name == b"content-type"), _JSON)
            if status not in _OK:
                raise _shown(await refusal_of(place, status, headers, answer), sending)
            if kind.startswith(_EVENTS):
                silent_max_s = max(
                    place.provider.idle_timeout_s, place.provider.first_byte_timeout_s
                )
                beat_s = self._parts.config.server.heartbeat_s
                events = events_of(answer, reading, beat_s, silent_max_s)
                yield Passed(status, [(b"content-type", kind)], pieces=events)
                return
            if asked.route.answer == "bytes":
                kept = [pair for pair in headers if pair[0] in (b"content-type", b"content-length")]
                yield Passed(status, kept, pieces=pieces_of(answer))
                return
            data = await read_whole(answer)
            yield await self.passed_whole(status, data, sending, reading)

    @asynccontextmanager
    async def _make(self, sending: Sending) -> AsyncIterator[Passed]:
        """As `_open`, and to its end where the client leaves: what is made is its account's then
        too, and is charged. The gateway's own end ends it."""
        await trio.lowlevel.checkpoint_if_cancelled()
        ends_at = trio.current_time() + _MADE_MAX_S
        with (
            trio.CancelScope(shield=True, deadline=ends_at) as waiting,
            self._parts.preliminaries.refused_at_end(),
        ):
            async with self._open(sending) as passed:
                if passed.pieces is not None:
                    raise UpstreamError("The provider's answer is not in one piece.")
        if waiting.cancelled_caught:
            raise UpstreamTimeoutError("The provider did not answer in time.")
        yield passed

    async def passed_whole(
        self, status: int, data: bytes, sending: Sending, reading: Reading
    ) -> Passed:
        """A JSON answer, once all of it is recorded. Raises UpstreamError."""
        if data:
            try:
                data = await reading.whole(data)
            except (orjson.JSONDecodeError, RecursionError):
                raise UpstreamError("The provider's answer cannot be read.") from None
        await self._grow(sending, data)
        route = sending.asked.route
        if route.removes not in (None, "vector_store_file"):
            principal = sending.admitted.entry.principal
            gone = sending.asked.at[route.parameters[-1]]
            await self._parts.ledger.disown(principal.account_id, gone)
        headers = [(b"content-type", _JSON), (b"content-length", b"%d" % len(data))]
        return Passed(status, headers, data)

    async def _grow(self, sending: Sending, data: bytes) -> None:
        """What is put into a conversation is read by whatever goes on from it."""
        asked = sending.asked
        if asked.route.creates not in ("conversation", "item") or not data:
            return
        conversation_id = asked.at.get("conversation_id")
        if conversation_id is None:
            made = orjson.loads(data)
            conversation_id = str(made.get("id")) if isinstance(made, dict) else ""
        account_id = sending.admitted.entry.principal.account_id
        await self._parts.owners.grow(account_id, conversation_id, len(sending.body))


def _units_of(route: Route, document: Mapping[str, Any] | None) -> dict[MoreUnit, int]:
    """What a good answer costs."""
    match route.charges:
        case None:
            return {}
        case "code_sessions":
            return {"code_sessions": container_gigabytes(document)}
        case unit:
            return {unit: 1}


def _bill_of(sending: Sending) -> Bill:
    asked, principal = sending.asked, sending.admitted.entry.principal
    assert asked.route.charges is not None, "it costs something"
    return Bill(
        asked.request_id,
        principal.account_id,
        principal.key_id,
        operation=_OPERATIONS[asked.route.charges],
        model=asked.route.family,
        provider=sending.place.provider.name,
        units=sending.units,
        about=next(iter(asked.at.values()), None),
    )


def _shown(error: UpstreamRejectedError, sending: Sending) -> UpstreamRejectedError:
    """The refusal, in which files are called as the client does, and nobody else's is."""

    def name(found: re.Match[str]) -> str:
        return sending.files.get(found[0], "[file]")

    return UpstreamRejectedError(
        _FILE.sub(name, error.message),
        status=error.status,
        kind=error.kind,
        code=error.code,
        param=error.param,
        retry_after_s=error.retry_after_s,
        provider_request_id=error.provider_request_id,
    )


__all__ = ["Forwarder", "Passed", "Route", "Sending"]
