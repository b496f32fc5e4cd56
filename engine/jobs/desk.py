"""Where the provider of a job is found, and what it is asked there: its row of now, or the last
one that there was; the key that it was asked with, or another one of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import trio

from engine.errors import UpstreamError
from engine.job import JobReport, JobSpec
from engine.jobs.asking import Answer, ask
from engine.jobs.book import OpenJob
from engine.jobs.follows import HEADERS, MEDIA, Follow, Follows, accepted
from engine.protocols.jobs.paths import cancel_path
from engine.protocols.registry import provider_codec
from engine.upstream.pool import Pool
from engine.upstream.providers import Provider
from engine.wire.http import Headers


@dataclass(frozen=True, slots=True)
class Place:
    """Who is asked about a job.

    Attributes:
        spec: see `Follow.spec`.
        key: of the provider's.
        own: it is the one that the job was asked for with; another one may not know it.
        more: headers that are of its kind.
    """

    provider: Provider
    follow: Follow
    spec: JobSpec | None
    key: int
    own: bool
    more: Headers = field(default_factory=list)

    @property
    def headers(self) -> Headers:
        """What its protocol has in every request."""
        codec = provider_codec(self.provider.protocol)
        return [*codec.provider_headers((), self.provider.quirks), *self.more]


class Desk:
    """Of one gateway."""

    def __init__(
        self,
        pool: Pool,
        providers: Callable[[], Mapping[str, Provider]],
        timeout_s: Callable[[], float],
        follows: Follows = MEDIA,
    ) -> None:
        self._follows = follows
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

    def follow_of(self, job: OpenJob) -> Follow:
        """How its kind is followed."""
        return self._follows[job.row.kind]

    def place_of(self, job: OpenJob) -> Place | None:
        """Who is asked about it; None: nobody that we know of any more."""
        name, follow = self.provider_of(job), self.follow_of(job)
        row = self._providers().get(name)
        if row is not None and follow.knows(row):
            self._known[name] = row
        else:
            row = self._known.get(name)
        if row is None or not follow.knows(row):
            return None
        wanted, spec = job.view.acceptance or job.submit, follow.spec(row)
        ids, more = row.credential_ids, HEADERS.get(job.row.kind, [])
        if wanted is None or wanted.credential not in ids:
            return Place(row, follow, spec, 0, own=False, more=more)
        return Place(row, follow, spec, ids.index(wanted.credential), own=True, more=more)

    async def poll(self, job: OpenJob, place: Place) -> tuple[Answer, JobReport | None]:
        """How it does, as far as the answer says. Raises UpstreamError."""
        taken = accepted(job.view)
        path = place.follow.poll(place.provider, job.view)
        answer = await self.ask(place, "GET", path, taken.upstream_model)
        return answer, self._report(job, place, answer)

    async def cancel(self, job: OpenJob, place: Place) -> tuple[Answer, JobReport | None] | None:
        """End it there; None: that cannot be done. Raises UpstreamError."""
        taken, spec = accepted(job.view), place.spec
        model = taken.upstream_model
        found = None if spec is None else cancel_path(spec, model, taken.provider_job_id)
        if found is None:
            return None
        answer = await self.ask(place, found[0], found[1], model)
        return answer, self._report(job, place, answer)

    async def collect(self, job: OpenJob, place: Place, report: JobReport) -> JobReport:
        """What a job that has ended so comes to; see `Follow.collect`. Raises UpstreamError."""
        model = accepted(job.view).upstream_model

        async def asked(method: str, path: str) -> Answer:
            return await self.ask(place, method, path, model)

        return await place.follow.collect(job.view, report, asked)

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
        try:
            return place.follow.read(place.provider, job.view, answer)
        except (ValueError, RecursionError) as error:
            raise UpstreamError("The provider's answer cannot be read.") from error
