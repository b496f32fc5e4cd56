"""What a batch has made: files of answers, which become files of its account as they are read.

A file that was stored by an earlier try is not fetched again. One that the account has no room for
stays with its provider, who is asked for it whenever it is read.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import aclosing
from dataclasses import replace
from hashlib import sha256
from typing import Final

import trio

from engine.batches.lines import Lines
from engine.errors import (
    FileTooLargeError,
    StorageLimitError,
    StoredFileNotFoundError,
    UpstreamTimeoutError,
)
from engine.file_ids import new_file_id, shown_file_id
from engine.job import JobResult
from engine.jobs.follows import accepted
from engine.ledger.file_rows import FileRow, ProviderFile
from engine.ledger.job_rows import JobView
from engine.ledger.ledger import Ledger
from engine.ledger.owned_rows import row_of
from engine.metering.batch_rates import BatchSum
from engine.metering.pricing import FREE
from engine.metering.rates_json import read_rates
from engine.owned import Kept, Pin
from engine.protocols.batches.answers import ANSWER_MAX_BYTES, files_named, name_files, read_answer
from engine.protocols.batches.endpoints import ENDPOINTS
from engine.protocols.batches.objects import provider_file_id
from engine.storage.files import FileStore
from engine.storage.upload import Upload
from engine.upstream.provider_files import ProviderFiles
from engine.usage import Usage
from engine.wire.lines import Line

logger = logging.getLogger(__name__)

PURPOSE: Final = "batch_output"
_COLLECT_S: Final = 3_600.0
"""For one file."""
_KEPT_AT_ONCE: Final = 500


class Collecting:
    """Of one batch that has ended.

    Attributes:
        total: of the answers that were read.
    """

    def __init__(
        self,
        ledger: Ledger,
        files: FileStore,
        source: ProviderFiles,
        view: JobView,
        limit_bytes: int,
    ) -> None:
        """`limit_bytes`: what the account may store."""
        self._ledger = ledger
        taken = accepted(view)
        self._files = files
        self._source = source
        self._view = view
        self._taken = taken
        self._limit_bytes = limit_bytes
        price, cost = taken.terms.price, taken.terms.cost
        self._price = FREE if price is None else read_rates(price)
        self._cost = FREE if cost is None else read_rates(cost)
        self.total = BatchSum(self._price, self._cost)
        self._unread = self._unsaid = 0
        self._names: dict[str, str | None] = {}

    @property
    def flags(self) -> tuple[str, ...]:
        """For the receipt: of answers that are not charged, because they do not say what they have
        consumed, or cannot be read."""
        free = self._price == FREE
        found = (
            ("batch_usage_missing", self._unsaid > 0 and not free),
            ("batch_lines_unread", self._unread > 0),
        )
        return tuple([flag for flag, is_so in found if is_so])

    async def collect(self, result: JobResult, made: Mapping[str, str]) -> str:
        """The bare id of the file that a result is from now on; `made` are those that the account
        has of this batch already, by name.

        Raises:
            UpstreamError, UnavailableError: not now.
        """
        name = f"{self._taken.provider_job_id}_{result.variant}.jsonl"
        with trio.move_on_after(_COLLECT_S):
            row = await self._known(result, made.get(name))
            if row is None:
                row = await self._store_or_leave(result, name)
            elif row.origin == "provider":
                await self._sum(result)
            else:
                async with aclosing(self._files.pieces(row)) as pieces:
                    self._take(await self._read(pieces, None))
            return row.file_id
        raise UpstreamTimeoutError("The provider does not give a file in time.")

    async def _known(self, result: JobResult, file_id: str | None) -> FileRow | None:
        """The file that it is already."""
        account_id, taken = self._view.row.account_id, self._taken
        if file_id is None:
            called = await self._ledger.files_called(
                taken.provider, taken.credential, [provider_file_id(result)]
            )
            file_id = next((each for _, each, owner in called if owner == account_id), None)
        if file_id is None:
            return None
        try:
            return await self._files.find(account_id, file_id)
        except StoredFileNotFoundError:
            return None

    async def _store_or_leave(self, result: JobResult, name: str) -> FileRow:
        try:
            row = await self._store(result, name)
        except (StorageLimitError, FileTooLargeError) as error:
            job_id = self._view.row.job_id
            logger.warning("%s: %s stays with its provider: %s", job_id, name, error.message)
            return await self._leave(result, name)
        await self._ledger.put_copy(self._copy(row, result))
        return row

    async def _store(self, result: JobResult, name: str) -> FileRow:
        row = self._view.row
        async with (
            self._source.open_content(provider_file_id(result)) as pieces,
            self._files.open_upload(row.account_id, self._limit_bytes) as upload,
        ):
            found = await self._read(pieces, upload)
            stored = await upload.finish(
                filename=name,
                purpose=PURPOSE,
                mime_type=result.content_type,
                key_id=row.key_id,
                origin="job",
                request_id=row.request_id,
            )
        self._take(found)
        return stored

    async def _leave(self, result: JobResult, name: str) -> FileRow:
        size_bytes = await self._sum(result)
        job = self._view.row
        row = FileRow(
            file_id=new_file_id(),
            account_id=job.account_id,
            key_id=job.key_id,
            filename=name,
            purpose=PURPOSE,
            mime_type=result.content_type,
            size_bytes=size_bytes,
            sha256=sha256(provider_file_id(result).encode()).hexdigest(),
            created_at_ms=self._files.clock(),
            origin="provider",
        )
        await self._files.adopt(row, self._copy(row, result))
        return row

    def _copy(self, row: FileRow, result: JobResult) -> ProviderFile:
        return ProviderFile(
            row.file_id,
            self._taken.provider,
            self._taken.credential,
            provider_file_id(result),
            None,
            row.mime_type,
            row.created_at_ms,
        )

    async def _sum(self, result: JobResult) -> int:
        """Read it where its provider has it; how many bytes there are."""
        async with self._source.open_content(provider_file_id(result)) as pieces:
            found = await self._read(pieces, None)
        self._take(found)
        return found.size_bytes

    async def _read(self, pieces: AsyncIterator[bytes], into: Upload | None) -> _Found:
        found = _Found(BatchSum(self._price, self._cost))
        lines = Lines(pieces, ANSWER_MAX_BYTES)
        async for line in lines:
            data = self._line(line, found)
            if len(found.kept) >= _KEPT_AT_ONCE:
                await self._own(found)
            if into is None:
                continue
            if line.whole and (named := files_named(data)):
                data = name_files(data, await self._names_of(named))
            await into.append(data + b"\n" if line.ends else data)
        await self._own(found)
        found.size_bytes = lines.size_bytes
        return found

    async def _own(self, found: _Found) -> None:
        """What its provider keeps of the answers is the account's, who is shown none before."""
        kept, found.kept = found.kept, []
        if not kept:
            return
        job, taken = self._view.row, self._taken
        pin, now_ms = Pin(taken.provider, taken.credential), self._files.clock()
        rows = [
            row_of(
                each,
                pin,
                account_id=job.account_id,
                key_id=job.key_id,
                model=job.model,
                at_ms=now_ms,
            )
            for each in kept
        ]
        await self._ledger.own(rows)

    async def _names_of(self, named: Collection[str]) -> Mapping[str, str]:
        """What the account calls those of these files that are its own."""
        names, account_id = self._names, self._view.row.account_id
        unknown = [each for each in named if each not in names]
        if unknown:
            taken = self._taken
            called = await self._ledger.files_called(taken.provider, taken.credential, unknown)
            names |= dict.fromkeys(unknown)
            names |= {
                name: shown_file_id(file_id, "openai")
                for name, file_id, owner in called
                if owner == account_id
            }
        return {each: name for each in named if (name := names[each]) is not None}

    def _line(self, line: Line, found: _Found) -> bytes:
        """A line, or a piece of one, as the client gets it."""
        if not line.whole:
            found.unread += line.ends
            return line.data
        if not line.data.strip():
            return line.data
        endpoint = ENDPOINTS[self._view.row.params["endpoint"]]
        try:
            answer = read_answer(line.data, endpoint, self._view.row.model)
        except (ValueError, RecursionError):
            found.unread += 1
            return line.data
        found.kept += answer.kept
        if answer.answered and answer.usage is None:
            found.unsaid += 1
        elif answer.usage is not None:
            found.total.add(self._counted(answer.usage))
        return answer.data

    def _counted(self, usage: Usage) -> Usage:
        """With what is charged by the request, where anything is."""
        if "requests" not in self._price.more and "requests" not in self._cost.more:
            return usage
        return replace(usage, more={**usage.more, "requests": 1})

    def _take(self, found: _Found) -> None:
        self.total.join(found.total)
        self._unread += found.unread
        self._unsaid += found.unsaid


class _Found:
    """In one file."""

    def __init__(self, total: BatchSum) -> None:
        self.total = total
        self.size_bytes = self.unread = self.unsaid = 0
        self.kept: list[Kept] = []
        """Not recorded yet."""
