"""What becomes of a provider's answer on its way: whatever it tells of is the account's, and files
and models are called as the account calls them.

Bytes pass as they came but for such names, which are put in where they stand between quotes. An
event that tells of nothing new is not parsed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from engine.admission.keys import Principal
from engine.batches.viewing import shown_batch
from engine.job import JobKind
from engine.ledger.owned_rows import OwnedRow
from engine.owned import OwnedKind
from engine.parts import Parts
from engine.passing.files import PassedFiles
from engine.passing.ids import looks_like_id, see_ids
from engine.passing.places import Place
from engine.passing.table import Route
from engine.protocols.batches.objects import without_files
from engine.wire.sse import event_data

_QUOTED: Final = re.compile(rb'"([a-z]{2,12}[-_:][A-Za-z0-9_:.-]{6,200})"')
_MODEL: Final = re.compile(rb'("model"\s*:\s*")([^"\\]{1,200})"')
_ORGANIZATION: Final = re.compile(rb'("organization_id"\s*:\s*")[^"\\]*"')
"""The operator's, at the provider."""
_ENDS: Final = re.compile(
    rb"event: (?:thread\.run|response)\.(?:completed|failed|incomplete|cancelled|expired)\r?\n"
)
_SEEN_MAX: Final = 100_000
"""Of one answer; a longer one is told of twice."""
_TOPMOST: Final = frozenset[OwnedKind](
    {
        "assistant",
        "batch",
        "container",
        "conversation",
        "fine_tuning_job",
        "response",
        "thread",
        "vector_store",
    }
)
"""What is a part of nothing."""
_ENDED: Final = frozenset(
    {"completed", "failed", "incomplete", "cancelled", "expired", "succeeded"}
)
_FOLLOWED: Final[Mapping[str, JobKind]] = {
    "batch": "batch",
    "fine_tuning.job": "fine_tune",
    "response": "response",
    "thread.run": "run",
}

Ended = Callable[[JobKind, str, Mapping[str, Any]], None]
"""Told of what an answer says to have ended: its kind, its id, and the provider's whole object."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What an answer is an answer to.

    Attributes:
        model: by its own name, what the answer's object is bound to.
        models: names of models at the provider, and what the account calls them.
        ended: who wants to know what has ended.
    """

    principal: Principal
    place: Place
    route: Route
    at: Mapping[str, str]
    model: str | None
    models: Mapping[bytes, bytes]
    ended: tuple[Ended, ...] = ()


class Reading:
    """Of one answer, whole or event by event."""

    def __init__(self, parts: Parts, files: PassedFiles, of: Circumstances) -> None:
        self._parts = parts
        self._files = files
        self._of = of
        self._seen: set[bytes] = set()
        self._names: dict[bytes, bytes] = {}

    async def whole(self, data: bytes) -> bytes:
        """A JSON document. Raises UpstreamError: what a file of it is cannot be found out now;
        UnavailableError: whose it is cannot be recorded now; orjson.JSONDecodeError."""
        document = orjson.loads(data)
        self._tell(document)
        if isinstance(document, dict) and document.get("object") == "batch":
            return await self._batch(document)
        await self._learn(document)
        return self._put_names(data)

    async def _batch(self, document: dict[str, Any]) -> bytes:
        """Its files are the gateway's own; those of one that closed long ago are found as any."""
        of = self._of
        shown = await shown_batch(
            self._parts.jobs, of.principal.account_id, of.place.provider.name, document
        )
        bare = {**document, "input_file_id": None}
        await self._learn(bare if shown is None else without_files(document))
        return self._put_names(orjson.dumps(bare if shown is None else shown))

    async def event(self, event: bytes) -> bytes:
        """One event of a stream. Raises as `whole`, but for what is no JSON."""
        new = set(_QUOTED.findall(event)) - self._seen
        if new and len(self._seen) < _SEEN_MAX:
            self._seen |= new
        ends = _ENDS.match(event) is not None
        if ends or any(looks_like_id(each.decode()) for each in new):
            document = _document_of(event)
            await self._learn(document)
            if ends:
                self._tell(document)
        return self._put_names(event)

    async def _learn(self, document: object) -> None:
        of = self._of
        files, things = [], {}
        for seen in see_ids(document):
            if seen.kind == "file":
                if seen.object_id.encode() not in self._names:
                    files.append(seen.object_id)
            else:
                things[seen.object_id] = seen.kind
        if files:
            shown = await self._files.shown(of.principal.account_id, of.place, files)
            self._names |= {name.encode(): said.encode() for name, said in shown.items()}
        if things:
            await self._own(document, things)

    async def _own(self, document: object, things: Mapping[str, OwnedKind | None]) -> None:
        of, ledger = self._of, self._parts.ledger
        known = await ledger.find_owned(of.principal.account_id, things)
        main = document.get("id") if isinstance(document, dict) else None
        rows = [
            self._row(object_id, kind, of.model if object_id == main else None)
            for object_id, kind in things.items()
            if object_id not in known
            or (object_id == main and of.model not in (None, known[object_id].model))
        ]
        if rows:
            await ledger.own(rows)

    def _row(self, object_id: str, kind: OwnedKind | None, model: str | None) -> OwnedRow:
        of = self._of
        if kind is None:
            kind = "message" if of.route.family in ("assistants", "threads") else "item"
        parents = of.route.parameters
        parent_id = of.at[parents[0]] if parents and kind not in _TOPMOST else None
        return OwnedRow(
            object_id,
            kind,
            of.principal.account_id,
            of.principal.key_id,
            *of.place.pin,
            created_at_ms=self._parts.clock(),
            parent_id=parent_id if parent_id != object_id else None,
            model=model,
        )

    def _tell(self, document: object) -> None:
        """Whoever follows things until they have ended is told of those that have."""
        provider = self._of.place.provider.name
        for each in _objects_of(document):
            kind = _FOLLOWED.get(str(each.get("object")))
            if kind is not None and each.get("status") in _ENDED:
                self._parts.jobs.hint(provider, str(each.get("id")))
                for listener in self._of.ended:
                    listener(kind, str(each.get("id")), each)

    def _put_names(self, data: bytes) -> bytes:
        names, models = self._names, self._of.models
        if names:
            data = _QUOTED.sub(lambda found: b'"%s"' % names.get(found[1], found[1]), data)
        if models and b'"model"' in data:
            data = _MODEL.sub(
                lambda found: b'%s%s"' % (found[1], models.get(found[2], found[2])), data
            )
        if b'"organization_id"' in data:
            data = _ORGANIZATION.sub(rb'\1"', data)
        return data


def _document_of(event: bytes) -> Any:
    data = event_data(event)
    if data is None:
        return None
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return None


def _objects_of(document: object) -> Iterable[dict[str, Any]]:
    """The object itself, that of an event, or those of a list."""
    if not isinstance(document, dict):
        return ()
    inner = document.get("data") if document.get("object") == "list" else None
    found = [document, document.get("response"), *(inner if isinstance(inner, list) else ())]
    return [each for each in found if isinstance(each, dict)]
