"""Files of the gateway's that requests name by id, given to providers in whichever way they take
them: inline, or sent there once by one of the provider's keys and remembered.

Everything is bounded: how many places of a request name files, what goes inline of each and of all
of them, what is in memory for all requests, how many files are on their way to providers at once.
"""

from __future__ import annotations

import logging
import math
import traceback
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import trio

from engine.clock import Clock
from engine.config_files import FilesConfig
from engine.conversation import FileStandIn, FileUse
from engine.errors import (
    GatewayError,
    InvalidRequestError,
    NotFoundError,
    StoredFileNotFoundError,
    UnavailableError,
    UpstreamError,
    UpstreamRejectedError,
    UpstreamTimeoutError,
)
from engine.file_choices import Named, Recipient, choose_inline, file_type
from engine.ledger.file_rows import FileRow, ProviderFile
from engine.nurseries import open_tasks
from engine.protocols.file_refs import bare_id
from engine.protocols.registry import provider_codec
from engine.storage.files import FileStore
from engine.upstream.pool import Pool
from engine.upstream.provider_files import OutgoingFile, ProviderFiles
from engine.upstream.providers import Provider

logger = logging.getLogger(__name__)

USES_MAX: Final = 20
"""Places of one request that name files."""
_GO_ON: Final = frozenset({"openai_runs"})
"""Codecs of requests whose files are used when they have been answered: these are sent for good,
each for its own purpose."""
_ROOM_BYTES: Final = 128 * 1024 * 1024
"""For what goes inline in all requests, or the most that one may have."""
_SENDING_MAX: Final = 64
_OF_AN_ACCOUNT: Final = 16
_SENT_AT_ONCE: Final = 8
_HEAD_BYTES: Final = 64 * 1024
"""As much as says what a file is."""
_OVER_SOON_MS: Final = 60_000
"""A copy that its provider removes so soon is sent again."""
_REMEMBER_S: Final = 10.0
_WAIT_S: Final = 300.0
"""For all that a provider is sent for one request, and a second more for each `_BYTES_PER_S`."""
_BYTES_PER_S: Final = 250_000


@dataclass(frozen=True, slots=True)
class Given:
    """What stands for the files of a request, for one recipient.

    Attributes:
        files: by what the client has written.
        copies: those that the recipient has.
    """

    files: Mapping[str, FileStandIn]
    copies: tuple[ProviderFile, ...]


class _Flight:
    """A file on its way to a provider, and whoever waits for that."""

    def __init__(self, account_id: str) -> None:
        self.account_id = account_id
        self.done = trio.Event()
        self.outcome: ProviderFile | Exception | None = None


class Room:
    """The memory that the files of one request take, until it is closed: by then they are in its
    body, which goes out from the spool where they are large."""

    def __init__(self, referring: Referring) -> None:
        self._referring = referring
        self._taken_bytes = 0

    def take(self, size_bytes: int, most_bytes: int) -> None:
        """Take so much in place of what was taken. Raises UnavailableError: there is none."""
        self.close()
        self._referring.take(size_bytes, most_bytes)
        self._taken_bytes = size_bytes

    def close(self) -> None:
        """Nothing of it is in memory any more. Again and again, if need be."""
        self._referring.give_back(self._taken_bytes)
        self._taken_bytes = 0


class Referring:
    """Of one gateway; made by `open_referring`."""

    def __init__(self, store: FileStore, pool: Pool, clock: Clock, nursery: trio.Nursery) -> None:
        self._store = store
        self._pool = pool
        self._clock = clock
        self._nursery = nursery
        self._flights: dict[tuple[str, str, str], _Flight] = {}
        self._sending = trio.CapacityLimiter(_SENT_AT_ONCE)
        self._taken_bytes = 0

    @property
    def held_bytes(self) -> int:
        """What files take in memory, for all requests."""
        return self._taken_bytes

    @property
    def sending(self) -> int:
        """How many files are on their way to providers."""
        return len(self._flights)

    # ---- what is named ------------------------------------------------------------------------

    async def look_up(self, uses: Sequence[FileUse], account_id: str) -> Named:
        """The files that an account's request names.

        Raises:
            InvalidRequestError: there are too many.
            StoredFileNotFoundError: the account has no such file.
            GatewayError: as `FileStore.find` and `pieces`.
        """
        if len(uses) > USES_MAX:
            raise InvalidRequestError(
                f"A request can name files in {USES_MAX} places.", param=uses[USES_MAX].path
            )
        rows: dict[str, FileRow] = {}
        facts: dict[str, FileStandIn] = {}
        for use in uses:
            if use.written not in rows:
                rows[use.written] = row = await self._find(use, account_id)
                mime_type = await self._type_of(row)
                facts[use.written] = FileStandIn(mime_type, row.filename, row.size_bytes)
        return Named(tuple(uses), rows, facts)

    async def _find(self, use: FileUse, account_id: str) -> FileRow:
        file_id = bare_id(use.written)
        if file_id is None:
            raise _no_such_file(use)
        try:
            return await self._store.find(account_id, file_id)
        except StoredFileNotFoundError:
            raise _no_such_file(use) from None

    async def _type_of(self, row: FileRow) -> str:
        """By its first bytes; where these say nothing by what its client has said."""
        head = b""
        async for piece in self._store.pieces(row, 0, _HEAD_BYTES):
            head += piece
        return file_type(head, row.mime_type, whole=row.size_bytes <= _HEAD_BYTES)

    async def with_words(self, named: Named, config: FilesConfig) -> Mapping[str, FileStandIn]:
        """The facts, and the words of the texts that go inline anywhere: for counting them. Raises
        as `FileStore.pieces`."""
        left, found = config.inline_total_max_bytes, dict(named.facts)
        for written, file in named.facts.items():
            if file.is_text and file.size_bytes <= min(left, config.inline_max_bytes):
                left -= file.size_bytes
                data = await self._store.read(named.rows[written])
                found[written] = replace(file, data=data)
        return found

    # ---- what is given ------------------------------------------------------------------------

    async def give(
        self, named: Named, recipient: Recipient, config: FilesConfig, room: Room
    ) -> Given:
        """What stands for the files, for this recipient: read from the store, and sent to it where
        it has not got them.

        Raises:
            InvalidRequestError: it takes no such file.
            UnavailableError: too much is in memory, or on its way, now.
            UpstreamError: it does not take a file now.
            GatewayError: as `FileStore.pieces`.
        """
        inline = choose_inline(named, recipient, config)
        rows = {named.rows[written].file_id: named.rows[written] for written in inline}
        size_bytes = sum(row.size_bytes for row in rows.values())
        room.take(size_bytes, config.inline_total_max_bytes)
        data = {file_id: await self._store.read(row) for file_id, row in rows.items()}
        files: dict[str, FileStandIn] = {}
        copies: dict[str, ProviderFile] = {}
        sent_bytes = sum(row.size_bytes for w, row in named.rows.items() if w not in inline)
        with trio.move_on_after(_WAIT_S + sent_bytes / _BYTES_PER_S) as waiting:
            for written, file in named.facts.items():
                row = named.rows[written]
                if written in inline:
                    files[written] = replace(file, data=data[row.file_id])
                    continue
                if row.file_id not in copies:
                    purpose = row.purpose if recipient.spoken in _GO_ON else None
                    copies[row.file_id] = await self._copy(row, file, recipient, purpose)
                copy = copies[row.file_id]
                files[written] = replace(file, held=copy.provider_file_id, uri=copy.uri)
        if waiting.cancelled_caught:
            raise UpstreamTimeoutError("The provider did not take a file in time.")
        return Given(files, tuple(copies.values()))

    async def keep(
        self, row: FileRow, provider: Provider, key: int, purpose: str | None = None
    ) -> ProviderFile:
        """The copy of a file that a provider of OpenAI's way has, or gets, for good: something
        there goes on using it. It is sent for its own purpose, or another one.

        Raises:
            UnavailableError: too much is on its way now.
            UpstreamError: it does not take the file now.
            GatewayError: as `FileStore.pieces`.
        """
        file = FileStandIn(await self._type_of(row), row.filename, row.size_bytes)
        with trio.move_on_after(_WAIT_S + row.size_bytes / _BYTES_PER_S):
            return await self._copy(row, file, Recipient(provider, key, ""), purpose or row.purpose)
        raise UpstreamTimeoutError("The provider did not take a file in time.")

    async def forget(self, copies: Iterable[ProviderFile]) -> None:
        """Providers say that they have these no more."""
        for copy in copies:
            await self._store.ledger.forget_copy(copy)

    def take(self, size_bytes: int, most_bytes: int) -> None:
        """See `Room`."""
        if self._taken_bytes + size_bytes > max(_ROOM_BYTES, most_bytes):
            raise UnavailableError("Too many requests with large files at once.", retry_after_s=1)
        self._taken_bytes += size_bytes

    def give_back(self, size_bytes: int) -> None:
        """See `Room`."""
        self._taken_bytes -= size_bytes

    # ---- copies at providers ------------------------------------------------------------------

    async def _copy(
        self, row: FileRow, file: FileStandIn, to: Recipient, purpose: str | None = None
    ) -> ProviderFile:
        """The copy that the recipient has, or gets; with a purpose it is to stay there. One task
        sends it for all who wait for it, and goes on where they leave: what a provider has taken is
        remembered."""
        place = (row.file_id, to.provider.name, to.provider.credential_id(to.key))
        flight = self._flights.get(place)
        while flight is not None and purpose is not None:
            await flight.done.wait()  # that one may be sent for a while only
            flight = self._flights.get(place)
        if flight is None:
            own = sum(1 for each in self._flights.values() if each.account_id == row.account_id)
            if len(self._flights) >= _SENDING_MAX or own >= _OF_AN_ACCOUNT:
                raise UnavailableError("Too many files are sent to providers.", retry_after_s=1)
            flight = self._flights[place] = _Flight(row.account_id)
            self._nursery.start_soon(self._fly, place, flight, row, file, to, purpose)
        await flight.done.wait()
        if isinstance(flight.outcome, ProviderFile):
            return flight.outcome
        raise _told(flight.outcome)

    async def _fly(
        self,
        place: tuple[str, str, str],
        flight: _Flight,
        row: FileRow,
        file: FileStandIn,
        to: Recipient,
        purpose: str | None,
    ) -> None:
        try:
            async with self._sending:
                copy = await self._known(place, for_good=purpose is not None)
                flight.outcome = copy or await self._send(place, row, file, to, purpose)
        except GatewayError as error:
            flight.outcome = error.with_traceback(None)
        except Exception as error:  # noqa: BLE001 - who waits for it is told
            # The trace only: the message may quote the file.
            trace = "".join(traceback.format_tb(error.__traceback__))
            name, kind = to.provider.name, type(error).__name__
            logger.error("a file could not be sent to the provider %s: %s\n%s", name, kind, trace)
            flight.outcome = error.with_traceback(None)
        finally:
            del self._flights[place]
            flight.done.set()

    async def _known(self, place: tuple[str, str, str], *, for_good: bool) -> ProviderFile | None:
        copy = await self._store.ledger.find_copy(*place)
        if for_good and copy is not None and copy.expires_at_ms is not None:
            return None  # it goes there by itself; this one is remembered in its place
        ends_ms = math.inf if copy is None or copy.expires_at_ms is None else copy.expires_at_ms
        return copy if ends_ms > self._clock() + _OVER_SOON_MS else None

    async def _send(
        self,
        place: tuple[str, str, str],
        row: FileRow,
        file: FileStandIn,
        to: Recipient,
        purpose: str | None,
    ) -> ProviderFile:
        files = self._files_of(to.provider, to.key)
        pieces = partial(self._store.pieces, row)
        outgoing = OutgoingFile(file.name, file.mime_type, file.size_bytes, pieces, purpose)
        held = await files.send(outgoing)
        copy = ProviderFile(
            *place,
            provider_file_id=held.file_id,
            uri=held.uri,
            mime_type=file.mime_type,
            uploaded_at_ms=self._clock(),
            expires_at_ms=held.expires_at_ms,
        )
        with trio.move_on_after(_REMEMBER_S, shield=True):
            await self._store.ledger.put_copy(copy)
        return copy

    def _files_of(self, provider: Provider, key: int) -> ProviderFiles:
        codec = provider_codec(provider.protocol)
        return ProviderFiles(self._pool, provider, key, codec.read_error)

    async def remove_copy(self, providers: Mapping[str, Provider], copy: ProviderFile) -> bool:
        """Remove a copy at its provider; whether it is gone there, as far as anybody can know:
        where the provider or its key is not ours any more, nobody can. Never raises."""
        provider = providers.get(copy.provider)
        if provider is None or provider.files is None:
            return True
        for key in range(max(1, len(provider.api_keys))):
            if provider.credential_id(key) == copy.credential:
                return await self._files_of(provider, key).delete(copy.provider_file_id)
        return True


@asynccontextmanager
async def open_referring(store: FileStore, pool: Pool, clock: Clock) -> AsyncIterator[Referring]:
    """For the block; files that are on their way to providers at its end are given up."""
    async with open_tasks() as nursery:
        yield Referring(store, pool, clock, nursery)
        nursery.cancel_scope.cancel()


def _no_such_file(use: FileUse) -> StoredFileNotFoundError:
    """The same words whether it never was, is no more, or is somebody else's."""
    return StoredFileNotFoundError(f"No such file: '{use.written[:128]}'.", param=use.path)


def _told(error: Exception | None) -> GatewayError:
    """An error of a task of ours, for one of those who waited for it."""
    match error:
        case UpstreamRejectedError():
            return UpstreamRejectedError(
                error.message,
                status=error.status,
                kind=error.kind,
                code=error.code,
                retry_after_s=error.retry_after_s,
            )
        case UpstreamError() | NotFoundError() | UnavailableError():
            return type(error)(error.message, retry_after_s=error.retry_after_s)
        case GatewayError():
            return GatewayError(error.message)
        case _:
            return GatewayError("The gateway failed.")
