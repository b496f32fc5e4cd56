"""What the gateway offers of jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from engine.admission.keys import Principal
from engine.errors import no_such_job
from engine.job import JobSource
from engine.jobs.cancelling import cancel_job
from engine.jobs.desk import Desk
from engine.jobs.learning import look
from engine.jobs.remixing import source_of
from engine.jobs.results import Result, Results
from engine.ledger.job_rows import JobPage, JobQuery, JobView
from engine.parts import Parts


class JobsApi:
    """The part of `engine.gateway.Gateway` that is about jobs: each account's own."""

    def __init__(self, parts: Parts, desk: Desk, results: Results) -> None:
        self._book = parts.jobs
        self._desk = desk
        self._job_results = results

    async def job(self, principal: Principal, shown_id: str) -> JobView:
        """A job of the principal's own account, as it is now.

        Raises:
            NotFoundError: this account has none of that id, in anybody's spelling.
        """
        return await self._book.find(principal.account_id, shown_id)

    async def jobs(self, principal: Principal, query: JobQuery) -> JobPage:
        """A page of the jobs of the principal's own account.

        Raises:
            InvalidRequestError: there is no job of the id that it is to go on behind.
        """
        return await self._book.page(principal.account_id, query)

    async def cancel_job(self, principal: Principal, shown_id: str) -> JobView:
        """End a job early, for nothing; see `engine.jobs.cancelling.cancel_job`."""
        return await cancel_job(self._book, self._desk, principal.account_id, shown_id)

    async def settle_first(self, provider: str, object_id: str) -> bool:
        """Before something is removed at a provider: if it is, or is a part of, what is charged for
        when it ends, it is asked now whether it has, and settled then. False: it has not.

        Raises:
            UpstreamError: that cannot be known now.
        """
        for job in self._book.open_as(provider, object_id):
            await look(self._book, self._desk, job)
        return not self._book.open_as(provider, object_id)

    async def job_source(self, principal: Principal, shown_id: str) -> JobSource:
        """What another video is to be made of (`Call.source`): one of the principal's own account.

        Raises:
            NotFoundError: this account has no video of that id.
            JobNotEndedError, JobNotRemixableError: as `source_of`.
        """
        view = await self._book.find(principal.account_id, shown_id)
        if view.row.kind != "video":
            raise no_such_job(shown_id)
        return source_of(view)

    async def delete_job(self, principal: Principal, shown_id: str) -> JobView:
        """Show a job no more that has ended, as it was; see `JobBook.delete`."""
        return await self._book.delete(principal.account_id, shown_id)

    @asynccontextmanager
    async def open_job_result(
        self, principal: Principal, shown_id: str, variant: str | None = None, number: int = 0
    ) -> AsyncIterator[Result]:
        """What a job of the principal's own account has made, for the block; see
        `engine.jobs.results.Results.open`.

        Raises:
            NotFoundError: this account has none of that id.
        """
        view = await self._book.find(principal.account_id, shown_id)
        async with self._job_results.open(view, variant, number) as result:
            yield result
