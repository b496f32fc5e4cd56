"""How jobs of a kind are followed until they have ended: all that differs from kind to kind.

The poller asks when it is due, the desk knows whom, the book records what comes of it; a `Follow`
says at which path, what the answer means, and what has to be had before the end can be settled.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol

from engine.job import MADE_KINDS, JobKind, JobReport, JobSpec, MadeKind
from engine.jobs.asking import Answer
from engine.ledger.job_rows import JobAcceptance, JobView
from engine.protocols.jobs.paths import poll_path
from engine.protocols.jobs.reports import read_report
from engine.upstream.providers import Provider
from engine.wire.http import Headers

Ask = Callable[[str, str], Awaitable[Answer]]
"""Asks the job's provider by method and path, behind its base URL, with the job's own key; the
whole answer. Raises UpstreamError."""


class Follow(Protocol):
    """Of one kind. It holds nothing of a job: a restart asks anew."""

    expires: bool
    """A job that its client waits for no longer is shown as expired, and may be late; else only its
    provider says how it has ended."""

    def knows(self, provider: Provider) -> bool:
        """Whether such a job can be asked after at a provider."""

    def spec(self, provider: Provider) -> JobSpec | None:
        """By what it is cancelled, and found again where the answer to its submit was lost; None:
        it is neither."""

    def poll(self, provider: Provider, view: JobView) -> str:
        """The path of the `GET`, behind the provider's base URL; a provider has taken the job."""

    def read(self, provider: Provider, view: JobView, answer: Answer) -> JobReport | None:
        """How it does; None: the answer says nothing of it. Raises ValueError, RecursionError: it
        cannot be read."""

    async def collect(self, view: JobView, report: JobReport, ask: Ask) -> JobReport:
        """What a job that has ended so comes to, once all is there that tells it. Nothing is
        settled before; after a restart, or a failure, it is asked for again.

        Raises:
            UpstreamError: not now; the job stays open, and is asked about later.
        """


Follows = Mapping[JobKind, Follow]
HEADERS: Final[Mapping[JobKind, Headers]] = {"run": [(b"openai-beta", b"assistants=v2")]}
"""What a provider wants to see where it is asked after a job, beside what its protocol has."""


class MediaFollow:
    """Of what is made of media: by the `JobSpec` of its provider."""

    expires = True

    def __init__(self, kind: MadeKind) -> None:
        self._kind: MadeKind = kind

    def knows(self, provider: Provider) -> bool:
        """It has a spec of the kind."""
        return self._kind in provider.quirks.jobs

    def spec(self, provider: Provider) -> JobSpec | None:
        """The provider's own."""
        return provider.quirks.jobs.get(self._kind)

    def poll(self, provider: Provider, view: JobView) -> str:
        """As the spec has it."""
        taken = accepted(view)
        return poll_path(self._spec(provider), taken.upstream_model, taken.provider_job_id)

    def read(self, provider: Provider, view: JobView, answer: Answer) -> JobReport | None:
        """See `engine.protocols.jobs.reports.read_report`."""
        taken = accepted(view)
        return read_report(
            self._spec(provider),
            answer.status,
            answer.body,
            taken.provider_job_id,
            model=taken.upstream_model,
            before=view.state if not view.ended else "running",
        )

    async def collect(self, view: JobView, report: JobReport, ask: Ask) -> JobReport:
        """All of it: results are fetched later, and say nothing of the charge."""
        return report

    def _spec(self, provider: Provider) -> JobSpec:
        return provider.quirks.jobs[self._kind]


MEDIA: Follows = {kind: MediaFollow(kind) for kind in MADE_KINDS}


def accepted(view: JobView) -> JobAcceptance:
    """Who has taken a job that somebody has taken."""
    assert view.acceptance is not None, "somebody has taken it"
    return view.acceptance
