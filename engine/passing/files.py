"""Files between a client and a provider: each calls them by ids of its own.

A file that a request names is sent to the provider once, for good. A file that an answer tells of
is one of these, or the provider has made it: then it becomes the account's, and its bytes stay
where they are until somebody wants them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Final

import httpx
import orjson
import trio

from engine.errors import GatewayError, NotFoundError, StoredFileNotFoundError, UpstreamError
from engine.file_ids import made_file_digest, made_file_id, shown_file_id
from engine.ledger.file_rows import FileRow, ProviderFile
from engine.nurseries import open_tasks
from engine.owned import Pin
from engine.parts import Parts
from engine.passing.asking import ask, ask_whole
from engine.passing.ids import Named
from engine.passing.places import Place
from engine.protocols.file_refs import bare_id
from engine.storage.reading import Pieces
from engine.upstream.answers import Answer

_MADE: Final = ("_output", "-results")
"""How the purposes end of what a provider has made itself (`assistants_output`, `batch_output`,
`fine-tune-results`): nothing else is taken for it."""
_TYPES: Final[Mapping[str, str]] = {
    "csv": "text/csv",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "json": "application/json",
    "jsonl": "application/jsonl",
    "pdf": "application/pdf",
    "png": "image/png",
    "txt": "text/plain",
}
_UNKNOWN: Final = "application/octet-stream"
_STRANGE_MAX: Final = 10_000
_AT_ONCE: Final = 4
_NAME_MAX_CHARS: Final = 255


class PassedFiles:
    """Of one gateway."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._strange: OrderedDict[str, None] = OrderedDict()
        """Bare ids that stand for files that were found to be nobody's, the latest last."""

    # ---- what requests name -------------------------------------------------------------------

    async def find(self, account_id: str, named: Iterable[Named]) -> dict[str, FileRow]:
        """The account's files that a request names, by what is written. Raises
        StoredFileNotFoundError: there is none; `param` says where."""
        rows: dict[str, FileRow] = {}
        for each in named:
            if each.text in rows:
                continue
            bare = bare_id(each.text)
            try:
                if bare is None:
                    raise StoredFileNotFoundError("")
                rows[each.text] = await self._parts.files.find(account_id, bare)
            except StoredFileNotFoundError:
                raise StoredFileNotFoundError(
                    f"No such file: '{each.text[:128]}'.", param=each.path
                ) from None
        return rows

    async def held(
        self, rows: Mapping[str, FileRow], place: Place, *, send: bool
    ) -> dict[str, str]:
        """What the provider calls these; those that it has not got are sent there, or not.

        Raises:
            StoredFileNotFoundError: it has not got one.
            GatewayError: as `Referring.keep`.
        """
        if send:
            return await self._send(rows, place)
        found = {}
        for written, row in rows.items():
            copy = await self._parts.ledger.find_copy(row.file_id, *place.pin)
            if copy is None:
                raise StoredFileNotFoundError(f"There is no file '{written[:128]}' there.")
            found[written] = copy.provider_file_id
        return found

    async def _send(self, rows: Mapping[str, FileRow], place: Place) -> dict[str, str]:
        """Some at once."""
        found: dict[str, str] = {}
        failed: list[GatewayError] = []
        slots = trio.CapacityLimiter(_AT_ONCE)

        async def send(written: str, row: FileRow) -> None:
            try:
                async with slots:
                    if not failed:
                        copy = await self._parts.referring.keep(row, *place)
                        found[written] = copy.provider_file_id
            except GatewayError as error:
                failed.append(error)

        async with open_tasks() as nursery:
            for written, row in rows.items():
                nursery.start_soon(send, written, row)
        if failed:
            raise failed[0]
        return found

    # ---- what answers tell of -----------------------------------------------------------------

    async def shown(
        self, account_id: str, place: Place, provider_file_ids: Collection[str]
    ) -> dict[str, str]:
        """What the account calls files of these names at a provider. Those that the provider has
        made are the account's from now on; any other has a name that leads to nothing.

        Raises:
            UpstreamError: what they are cannot be found out now.
            UnavailableError: as `FileStore.adopt`.
        """
        ids = list(provider_file_ids)
        called = await self._parts.ledger.files_called(*place.pin, ids)
        found = {name: file_id for name, file_id, owner in called if owner == account_id}
        others = {name for name, _, owner in called if owner != account_id}
        for name in ids:
            if name in found:
                continue
            found[name] = bare = made_file_id(account_id, place.pin, name)
            if name not in others and bare not in self._strange:
                await self._adopt(account_id, place, name)
        return {name: shown_file_id(bare, "openai") for name, bare in found.items()}

    async def keep_made(self, account_id: str, pin: Pin, names: Collection[str]) -> None:
        """Have what an exchange's answer has told of be the account's, by the ids that were shown.
        Nothing happens where the provider is not configured any more. Raises as `shown`."""
        found = self._parts.owners.key_of(pin, self._parts.providers)
        if found is not None and (place := Place(*found)).pin == pin:
            await self.shown(account_id, place, names)

    async def _adopt(self, account_id: str, place: Place, name: str) -> None:
        status, _, body = await ask_whole(self._parts.pool, place, "GET", f"/files/{name}")
        if status >= 500 or status == 429:
            raise UpstreamError("The provider does not say now what a file of its answer is.")
        try:
            said = orjson.loads(body) if status == 200 else None
        except orjson.JSONDecodeError:
            said = None
        row = _row_of(account_id, place, name, said, self._parts.clock())
        if row is None:
            self._strange[made_file_id(account_id, place.pin, name)] = None
            if len(self._strange) > _STRANGE_MAX:
                self._strange.popitem(last=False)
            return
        copy = ProviderFile(
            row.file_id, *place.pin, name, None, row.mime_type, row.created_at_ms, None
        )
        await self._parts.files.adopt(row, copy)

    def fetch(self, row: FileRow, begin: int, end: int) -> Pieces:
        """The bytes of what a provider has made, from a place to another."""
        return _Fetched(self._open(row), begin, end)

    @asynccontextmanager
    async def _open(self, row: FileRow) -> AsyncIterator[Answer]:
        parts = self._parts
        copy = await parts.ledger.first_copy(row.file_id)
        provider = None if copy is None else parts.providers.get(copy.provider)
        if copy is None or provider is None or copy.credential not in provider.credential_ids:
            raise UpstreamError("The provider that has made the file is not configured any more.")
        place = Place(provider, provider.credential_ids.index(copy.credential))
        path = f"/files/{copy.provider_file_id}/content"
        async with ask(parts.pool, place, "GET", path) as (status, _, answer):
            if status in (404, 410):
                raise NotFoundError("The provider that has made the file has it no more.")
            if status != 200:
                raise UpstreamError("The provider does not give the file now.")
            yield answer


class _Fetched:
    """The bytes of an answer between two places."""

    def __init__(self, opening: AbstractAsyncContextManager[Answer], begin: int, end: int) -> None:
        self._opening = opening
        self._stack = AsyncExitStack()
        self._answer: Answer | None = None
        self._skip = begin
        self._left = end - begin

    def __aiter__(self) -> _Fetched:
        return self

    async def __anext__(self) -> bytes:
        while self._left > 0:
            answer = self._answer
            if answer is None:
                answer = self._answer = await self._stack.enter_async_context(self._opening)
            try:
                piece = await anext(answer, None)
            except httpx.TransportError:
                await self.aclose()
                raise UpstreamError("The provider broke off the file.") from None
            if piece is None:
                await self.aclose()
                raise UpstreamError("The provider's file is shorter than it said.")
            begin = min(self._skip, len(piece))
            self._skip -= begin
            part = piece[begin : begin + self._left]
            self._left -= len(part)
            if part:
                return part
        await self.aclose()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Nothing is read any more."""
        self._left = 0
        with trio.CancelScope(shield=True):  # nothing in it waits
            await self._stack.aclose()


def _row_of(account_id: str, place: Place, name: str, said: object, now_ms: int) -> FileRow | None:
    """The row of what a provider has made, as it describes it; None: it has not."""
    if not isinstance(said, dict) or not str(said.get("purpose", "")).endswith(_MADE):
        return None
    size_bytes, filename = said.get("bytes"), str(said.get("filename") or name)
    ending = filename.rpartition(".")[2].lower()
    known = isinstance(size_bytes, int) and not isinstance(size_bytes, bool) and size_bytes >= 0
    return FileRow(
        file_id=made_file_id(account_id, place.pin, name),
        account_id=account_id,
        key_id=None,
        filename=filename[:_NAME_MAX_CHARS],
        purpose=str(said["purpose"])[:64],
        mime_type=_TYPES.get(ending, _UNKNOWN),
        size_bytes=size_bytes if known and size_bytes is not None else 0,
        sha256=made_file_digest(account_id, place.pin, name).hex(),
        created_at_ms=now_ms,
        origin="provider",
    )
