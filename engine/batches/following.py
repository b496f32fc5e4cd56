"""Batches under way: asked after until they have ended, and settled by what has been answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from urllib.parse import quote

from engine.batches.collecting import Collecting
from engine.errors import UpstreamError
from engine.job import JobReport, JobSpec, JobSum
from engine.jobs.asking import Answer
from engine.jobs.follows import Ask, accepted
from engine.ledger.job_rows import JobView
from engine.ledger.ledger import Ledger
from engine.protocols.batches.objects import SPEC, read_batch_report
from engine.protocols.fields import load_object
from engine.protocols.registry import provider_codec
from engine.storage.files import FileStore
from engine.upstream.pool import Pool
from engine.upstream.provider_files import ProviderFiles
from engine.upstream.providers import Provider


class BatchFollow:
    """See `engine.jobs.follows.Follow`. Of one gateway.

    Args:
        limit_of: what an account may store, in bytes.
    """

    expires = False

    def __init__(
        self,
        ledger: Ledger,
        files: FileStore,
        pool: Pool,
        providers: Callable[[], Mapping[str, Provider]],
        limit_of: Callable[[str], Awaitable[int]],
    ) -> None:
        self._ledger = ledger
        self._files = files
        self._pool = pool
        self._providers = providers
        self._limit_of = limit_of

    def knows(self, provider: Provider) -> bool:
        """It keeps what it is sent."""
        return provider.state == "openai" and provider.files == "openai"

    def spec(self, provider: Provider) -> JobSpec | None:
        """See `engine.protocols.batches.objects.SPEC`."""
        return SPEC

    def poll(self, provider: Provider, view: JobView) -> str:
        """Of the batch."""
        return f"/batches/{quote(accepted(view).provider_job_id, safe='')}"

    def read(self, provider: Provider, view: JobView, answer: Answer) -> JobReport | None:
        """Its state, with the files that it has made."""
        return read_batch_report(load_object(answer.body)) if answer.ok else None

    async def collect(self, view: JobView, report: JobReport, ask: Ask) -> JobReport:
        """Read all that it has made: requests that were not carried out cost nothing, however the
        batch has ended. Raises UpstreamError, UnavailableError: not now."""
        account_id, request_id = view.row.account_id, view.row.request_id
        limit_bytes = await self._limit_of(account_id)
        collecting = Collecting(
            self._ledger, self._files, self._provider_files(view), view, limit_bytes
        )
        made = await self._ledger.files_made(account_id, request_id)
        files = tuple([await collecting.collect(result, made) for result in report.results])
        total = collecting.total
        return replace(
            report,
            usage=total.usage,
            sum=JobSum(total.price_nanodollars, total.cost_nanodollars),
            flags=(*report.flags, *collecting.flags),
            files=files,
        )

    def _provider_files(self, view: JobView) -> ProviderFiles:
        taken = accepted(view)
        provider = self._providers().get(taken.provider)
        if provider is None or not self.knows(provider):
            raise UpstreamError("The provider that has answered is not configured any more.")
        ids = provider.credential_ids
        key = ids.index(taken.credential) if taken.credential in ids else 0
        read_error = provider_codec(provider.protocol).read_error
        return ProviderFiles(self._pool, provider, key, read_error)
