"""Copies what jobs have made into files of their accounts (`store_result`).

The end of a job leaves a row that asks for it, so none is forgotten by a restart. What cannot be
copied now is tried again, a bounded number of times; the success of the job stands either way, and
so does what its provider keeps.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final

import trio

from engine.errors import (
    FileTooLargeError,
    GatewayError,
    NotFoundError,
    StorageLimitError,
    UnavailableError,
    UpstreamError,
)
from engine.job import JobError, JobResult, bare_job_id
from engine.jobs.results import Results
from engine.ledger.copy_jobs import PendingCopy
from engine.ledger.job_rows import JobView
from engine.ledger.ledger import Ledger
from engine.ledger.records import Ticket
from engine.nurseries import open_tasks
from engine.queue_work import keep_trying, pause_s
from engine.storage.files import FileStore

logger = logging.getLogger(__name__)

TRIES_MAX: Final = 8
AT_ONCE_MAX: Final = 4
_OF_AN_ACCOUNT: Final = 2
_READ_MAX: Final = 1_000
_PAUSE_MIN_S: Final = 5.0
_PAUSE_MAX_S: Final = 600.0
_LOOK_AGAIN_S: Final = 60.0
_PACE_S: Final = 0.02
_UNWELL_S: Final = 1.0
_FOR_GOOD: Final = (StorageLimitError, FileTooLargeError, NotFoundError)
"""What another try would only meet again."""
_OURS: Final = JobError("gateway_failed", "The gateway has failed to store it.")
_ENDINGS: Final[Mapping[str, str]] = {
    "video/mp4": ".mp4",
    "video/webm": ".webm",
    "video/quicktime": ".mov",
    "audio/mpeg": ".mp3",
    "audio/wav": ".wav",
    "audio/x-wav": ".wav",
    "audio/flac": ".flac",
    "audio/ogg": ".ogg",
    "audio/mp4": ".m4a",
    "image/webp": ".webp",
    "image/jpeg": ".jpg",
    "image/png": ".png",
}


class Copier:
    """Of one gateway; made by `open_copying`."""

    def __init__(
        self,
        ledger: Ledger,
        results: Results,
        files: FileStore,
        limit_of: Callable[[str], Awaitable[int]],
        copied: Callable[[Ticket], None],
        nursery: trio.Nursery,
    ) -> None:
        self._ledger = ledger
        self._results = results
        self._files = files
        self._limit_of = limit_of
        self._copied = copied
        self._nursery = nursery
        self._busy: dict[str, str] = {}
        """The accounts of the jobs whose results are being copied."""
        self._ticket = Ticket(0)
        self._changed = trio.Event()

    def ended(self, ticket: Ticket) -> None:
        """A job has ended by this record."""
        self._ticket = max(self._ticket, ticket)
        self._changed.set()

    async def run(self) -> None:
        """Copy what is due, for as long as it runs."""
        await keep_trying(self._work, "copies of results", logger)

    async def _work(self) -> None:
        await self._wait(await self._begin_due())

    async def _begin_due(self) -> float | None:
        """Begin what is due, as far as there is room; in how many seconds the next one is, None:
        when something changes."""
        of_account = Counter(self._busy.values())
        now_ms = self._ledger.clock()
        for copy in await self._ledger.pending_copies(_READ_MAX):
            if copy.job_id in self._busy or of_account[copy.account_id] >= _OF_AN_ACCOUNT:
                continue
            if copy.due_at_ms > now_ms:
                return (copy.due_at_ms - now_ms) / 1_000
            if len(self._busy) >= AT_ONCE_MAX:
                return None
            of_account[copy.account_id] += 1
            self._busy[copy.job_id] = copy.account_id
            self._nursery.start_soon(self._run, copy)
        return None

    async def _wait(self, next_s: float | None) -> None:
        with trio.move_on_after(_LOOK_AGAIN_S if next_s is None else min(next_s, _LOOK_AGAIN_S)):
            await self._changed.wait()
            self._changed = trio.Event()
            await self._ledger.wait_durable(self._ticket)
        await trio.sleep(_PACE_S)

    async def _run(self, copy: PendingCopy) -> None:
        try:
            await self._try(copy)
        except UnavailableError as error:
            logger.info("copies of results wait: %s", error.message)
            await trio.sleep(_UNWELL_S)
        except Exception:
            logger.exception("%s: what became of its copy is not written down", copy.job_id)
            await trio.sleep(_LOOK_AGAIN_S)
        finally:
            del self._busy[copy.job_id]
            self._changed.set()

    async def _try(self, copy: PendingCopy) -> None:
        try:
            ticket = await self._copy(copy)
        except GatewayError as error:
            final = isinstance(error, _FOR_GOOD)
            await self._failed(copy, JobError(error.code, error.message), final=final)
        except Exception:
            logger.exception("%s: its results could not be copied", copy.job_id)
            await self._failed(copy, _OURS, final=False)
        else:
            if ticket is not None:
                await self._ledger.wait_durable(ticket)
                self._copied(ticket)

    async def _failed(self, copy: PendingCopy, error: JobError, *, final: bool) -> None:
        if final or copy.tries + 1 >= TRIES_MAX:
            logger.warning("%s: its results are not stored: %s", copy.job_id, error.message)
            await self._drop_made(copy)  # or it is tried again after a kill between the two
            await self._ledger.fail_copy(copy.job_id, error)
            self._copied(Ticket(0))  # who waits to be told of files is told without
            return
        logger.info("%s: its results will be stored later: %s", copy.job_id, error.message)
        wait_s = pause_s(copy.tries, _PAUSE_MIN_S, _PAUSE_MAX_S)
        due_ms = self._ledger.clock() + int(wait_s * 1_000)
        await self._ledger.defer_copy(copy.job_id, due_ms)

    async def _drop_made(self, copy: PendingCopy) -> None:
        """Some of its results have been stored, and not all: nobody is told of those."""
        request_id = f"req_{bare_job_id(copy.job_id)}"
        made = await self._ledger.files_made(copy.account_id, request_id)
        await self._files.remove(list(made.values()))

    async def _copy(self, copy: PendingCopy) -> Ticket | None:
        """Store all that a job has made, but its previews; what an earlier try has stored of it is
        not stored again. None: nobody wants it any more."""
        view = await self._ledger.find_job(copy.account_id, copy.job_id)
        if view is None:
            return None
        made = await self._ledger.files_made(copy.account_id, view.row.request_id)
        wanted = [each for each in view.results if each.variant == view.results[0].variant]
        files = []
        for number, result in enumerate(wanted):
            name = _name(view, number, result)
            files.append(made[name] if name in made else await self._store(view, result, name))
        if not await self._ledger.is_copy_wanted(copy.job_id):  # its client has deleted the job
            await self._files.remove(files)
            return None
        if not files:
            raise NotFoundError("The provider has said of nothing that it has made it.")
        return self._ledger.add_job_files(view, tuple(files), self._ledger.clock())

    async def _store(self, view: JobView, result: JobResult, name: str) -> str:
        """A file of one result; its bare id. Raises GatewayError."""
        account_id = view.row.account_id
        limit_bytes = await self._limit_of(account_id)
        async with (
            self._results.open_at_provider(view, result) as found,
            self._files.open_upload(account_id, limit_bytes, found.size_bytes) as upload,
        ):
            while (piece := await found.receive()) is not None:
                await upload.append(piece)
            if not upload.size_bytes:
                raise UpstreamError("The provider gives nothing of what the job has made.")
            row = await upload.finish(
                filename=name,
                purpose="user_data",
                mime_type=found.content_type,
                key_id=view.row.key_id,
                origin="job",
                request_id=view.row.request_id,
            )
        return row.file_id


def _name(view: JobView, number: int, result: JobResult) -> str:
    """The same for the same result, whenever it is asked."""
    ending = _ENDINGS.get(result.content_type, "")
    return f"{view.row.job_id}{f'-{number + 1}' if number else ''}{ending}"


@asynccontextmanager
async def open_copying(
    ledger: Ledger,
    results: Results,
    files: FileStore,
    limit_of: Callable[[str], Awaitable[int]],
    copied: Callable[[Ticket], None],
) -> AsyncIterator[Copier]:
    """Copy results for the block.

    Args:
        limit_of: what an account may store, in bytes.
        copied: called when a job's copy is made, or given up.
    """
    async with open_tasks() as nursery:
        copier = Copier(ledger, results, files, limit_of, copied, nursery)
        nursery.start_soon(copier.run)
        yield copier
        nursery.cancel_scope.cancel()
