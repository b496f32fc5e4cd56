"""The files that one request names: looked up once, and given to whoever is asked it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from engine.admitting import Choice
from engine.batches.giving import RequestBatch, prepare_batch
from engine.errors import GatewayError, InvalidRequestError, UpstreamError
from engine.events import Call
from engine.file_choices import Named, Recipient
from engine.fine_tuning.giving import RequestTuning, prepare_tuning
from engine.ledger.file_rows import ProviderFile
from engine.metering.pricing import Rates
from engine.parsing.jobs import FilesNamedError, HeldNamedError, Prepared, target_of
from engine.parts import Parts
from engine.protocols.registry import client_codec
from engine.referring import Given, Room
from engine.routing.values import Candidate
from engine.upstream.bodies import close_body

_SAYING_GONE: Final = frozenset({400, 404})


class RequestFiles:
    """Of one exchange.

    Attributes:
        late: nobody is sent them before funds are held.
    """

    late: Final = False

    __slots__ = ("_copies", "_given", "_lost", "_named", "_parts", "_recipient", "_room")

    def __init__(self, parts: Parts, named: Named) -> None:
        self._parts = parts
        self._named = named
        self._room = Room(parts.referring)
        self._recipient: Recipient | None = None
        self._given: Given | None = None
        self._copies: dict[str, ProviderFile] = {}
        """All that were given, by their providers' ids."""
        self._lost: list[ProviderFile] = []
        """Those that their providers do not have; they are still to be forgotten."""

    def named_in(self, call: Call) -> Call:
        """The call, where it is known what the files are, and nobody is sent anything."""
        return replace(call, files=self._named.facts)

    async def put_in(self, call: Call, candidate: Candidate[Rates], *, translated: bool) -> Call:
        """The call for the deployment of a candidate.

        Raises:
            GatewayError: as `Referring.give`.
        """
        parts = self._parts
        provider = parts.providers[candidate.deployment.provider]
        client = client_codec(call.protocol, call.operation).name
        translated = translated or call.agent is not None
        spoken = target_of(client, candidate.deployment, provider, translated=translated).spoken
        recipient = Recipient(provider, candidate.key, spoken or "")
        given = self._given
        if given is None or self._lost or recipient != self._recipient:
            self._given = None
            lost, self._lost = self._lost, []
            await parts.referring.forget(lost)
            given = await parts.referring.give(
                self._named, recipient, parts.config.files, self._room
            )
            self._recipient, self._given = recipient, given
            self._copies |= {copy.provider_file_id: copy for copy in given.copies}
        return replace(call, files=given.files)

    def are_gone(self, held: Iterable[str], error: UpstreamError) -> bool:
        """Whether a provider says that it does not have one of those that a request named by its
        ids; they are forgotten then, and sent anew where it is asked again."""
        if error.status not in _SAYING_GONE:
            return False
        lost = [
            copy
            for file_id in held
            if file_id.rpartition("/")[2] in error.message
            and (copy := self._copies.get(file_id)) is not None
        ]
        self._lost += lost
        return bool(lost)

    def fit(self, held: Iterable[str], before: Candidate[Rates], now: Candidate[Rates]) -> bool:
        """Whether the body for the one candidate is as good for the other, of the same deployment:
        what is held by one key others do not see."""
        return not (self._lost or (before.key != now.key and any(held)))

    def drop(self) -> None:
        """The body is made, and what it holds is not needed beside it. Again and again, if need
        be."""
        self._given = None
        self._room.close()


NamedFiles = RequestFiles | RequestBatch | RequestTuning
"""What of an account's files a request names."""


async def prepare_first(
    parts: Parts, call: Call, choose: Choice, account_id: str
) -> tuple[Prepared, Call, NamedFiles | None]:
    """The request of a call for the first planned deployment that can say it and, where it names
    files, has taken them; and the call, where it is known what the files are, and that it may name
    whatever else it names by id.

    Raises:
        GatewayError: as `Parts.prepare`, `Owners.admit`, `Referring.look_up`, `Referring.give`: of
            the first one; or as `prepare_batch`, `prepare_tuning`.
    """
    if call.operation == "batch":
        return await prepare_batch(parts, call, choose, account_id)
    if call.operation == "fine_tune":
        return await prepare_tuning(parts, call, choose, account_id)
    try:
        return await _prepare_named(parts, call, choose, account_id)
    except HeldNamedError as error:
        refs = error.refs
    with parts.preliminaries.refused_at_end():
        call, pin, _ = await parts.owners.admit(account_id, call, refs)
    choose.keep_to(pin)
    return await _prepare_named(parts, call, choose, account_id)


async def _prepare_named(
    parts: Parts, call: Call, choose: Choice, account_id: str
) -> tuple[Prepared, Call, RequestFiles | None]:
    """As `prepare_first`. Raises HeldNamedError before anything else is looked up."""
    try:
        return await parts.prepare(call, choose), call, None
    except FilesNamedError as error:
        uses = error.uses
    with parts.preliminaries.refused_at_end():
        named = await parts.referring.look_up(uses, account_id)
    files = RequestFiles(parts, named)
    call = files.named_in(call)
    try:
        return await _prepare_given(parts, call, choose, files), call, files
    except BaseException:
        files.drop()
        raise


async def _prepare_given(parts: Parts, call: Call, choose: Choice, files: RequestFiles) -> Prepared:
    sketch = await parts.prepare(call, choose)
    close_body(sketch.body)
    unsaid, first = list(sketch.unsaid), sketch.target
    refusals: list[GatewayError] = []
    for number, candidate in enumerate(choose.plan.candidates[first:], first):
        try:
            with parts.preliminaries.refused_at_end():
                given = await files.put_in(call, candidate, translated=False)
            prepared = await parts.prepare(given, choose, None, candidate)
        except (InvalidRequestError, UpstreamError) as error:
            refusals.append(error.with_traceback(None))
            unsaid.append(error.message)
        else:
            return prepared._replace(target=number, unsaid=tuple(unsaid))
    try:
        raise refusals[0]
    finally:
        del refusals  # which would hold this frame, and with it the request
