"""Where the provider of a job is found, and what it is asked there: its row of now, or the last
one that there was; the key that it was asked with, or another one of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import trio

from engine.errors import UpstreamError
from engine.job import JobReport, JobSpec
from engine.jobs.asking import Answer, ask
from engine.jobs.book import OpenJob
from engine.protocols.jobs.paths import cancel_path, poll_path
from engine.protocols.jobs.reports import read_report
from engine.protocols.registry import provider_codec
from engine.upstream.pool import Pool
from engine.upstream.providers import Provider
from engine.wire.http import Headers


@dataclass(frozen=True, slots=True)
class Place:
    """Who is asked about a job.

    Attributes:
        key: of the provider's.
        own: it is the one that the job was asked for with; another one may not know it.
    """

    provider: Provider
    spec: JobSpec
    key: int
    own: bool

    @property
    def headers(self) -> Headers:
        """What its protocol has in every request."""
        return provider_codec(self.provider.protocol).provider_headers((), self.provider.quirks)


class Desk:
    """Of one gateway."""

    def __init__(
        self,
        pool: Pool,
        providers: Callable[[], Mapping[str, Provider]],
        timeout_s: Callable[[], float],
    ) -> None:
        self._pool = pool
        self._providers = providers
        self._timeout_s = timeout_s
        self._known: dict[str, Provider] = {}
        """The rows that jobs were asked for by: a reload may have removed one."""
        self.finding = trio.Lock()
        """Of whoever looks for a job among those of a provider."""

    def provider_of(self, job: OpenJob) -> str:
        """The name of who has it, or may have it."""
        acceptance = job.view.acceptance
        if acceptance is not None:
            return acceptance.provider
        return job.attempts[-1].provider if job.attempts else ""

    def place_of(self, job: OpenJob) -> Place | None:
        """Who is asked about it; None: nobody that we know of any more."""
        name = self.provider_of(job)
        kind = job.row.kind
        row = self._providers().get(name)
        if row is not None and kind in row.quirks.jobs:
            self._known[name] = row
        else:
            row = self._known.get(name)
        if row is None or (spec := row.quirks.jobs.get(kind)) is None:
            return None
        wanted = job.view.acceptance or job.submit
        ids = row.credential_ids
        if wanted is None or wanted.credential not in ids:
            return Place(row, spec, 0, own=False)
        return Place(row, spec, ids.index(wanted.credential), own=True)

    async def poll(self, job: OpenJob, place: Place) -> tuple[Answer, JobReport | None]:
        """How it does, as far as the answer says. Raises UpstreamError."""
        acceptance = job.view.acceptance
        assert acceptance is not None, "somebody has taken it"
        model, known_as = acceptance.upstream_model, acceptance.provider_job_id
        path = poll_path(place.spec, model, known_as)
        answer = await self.ask(place, "GET", path, model)
        return answer, self._report(job, place, answer)

    async def cancel(self, job: OpenJob, place: Place) -> tuple[Answer, JobReport | None] | None:
        """End it there; None: that cannot be done. Raises UpstreamError."""
        acceptance = job.view.acceptance
        assert acceptance is not None, "somebody has taken it"
        model = acceptance.upstream_model
        found = cancel_path(place.spec, model, acceptance.provider_job_id)
        if found is None:
            return None
        answer = await self.ask(place, found[0], found[1], model)
        return answer, self._report(job, place, answer)

    async def ask(
        self,
        place: Place,
        method: str,
        path: str,
        model: str,
        *,
        body: bytes = b"",
        content_type: str | None = None,
        more: Sequence[tuple[bytes, bytes]] = (),
    ) -> Answer:
        """Anything of a place. Raises UpstreamError."""
        return await ask(
            self._pool,
            place.provider,
            place.key,
            method,
            place.provider.path(path, model),
            self._timeout_s(),
            body=body,
            content_type=content_type,
            more=[*place.headers, *more],
        )

    @staticmethod
    def _report(job: OpenJob, place: Place, answer: Answer) -> JobReport | None:
        acceptance = job.view.acceptance
        assert acceptance is not None, "somebody has taken it"
        try:
            return read_report(
                place.spec,
                answer.status,
                answer.body,
                acceptance.provider_job_id,
                model=acceptance.upstream_model,
                before=job.view.state if not job.view.ended else "running",
            )
        except (ValueError, RecursionError) as error:
            raise UpstreamError("The provider's answer cannot be read.") from error
