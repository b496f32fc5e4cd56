"""The jobs that a simulated provider has taken on, in memory and bounded: what comes of each.

Nothing runs: a job is where the clock and its polls have brought it, whenever somebody looks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, Literal

from bench.simulate.courses import Course, CourseState
from bench.simulate.directives import Directives

JobApi = Literal["openai", "gemini", "xai", "generic"]
JobKind = Literal["video", "music"]
JobState = CourseState

JOBS_MAX: Final = 50_000
_IDS: Final[dict[JobApi, str]] = {
    "openai": "video_{:s}{:012x}",
    "gemini": "{:s}{:08x}",
    "xai": "{:s}-0000-4000-8000-{:012x}",
    "generic": "J-{:s}.{:d}",
}


@dataclass(frozen=True, slots=True)
class Order:
    """What a job is to make: `clips` things of so many seconds and, if they are films, a size."""

    model: str
    prompt: str
    seconds: int
    width: int = 0
    height: int = 0
    clips: int = 1
    kind: JobKind = "video"
    remix_of: str | None = None
    inputs: Sequence[Mapping[str, Any]] = ()
    """Pictures and such that came with it, as the truth log has them."""

    @property
    def size(self) -> str:
        return f"{self.width}x{self.height}" if self.width else ""


@dataclass(slots=True)
class Job(Course):
    """One job.

    Attributes:
        submits: how often it was asked for, by the same `Idempotency-Key`.
        fetches: how often its result was.
    """

    api: JobApi
    job_id: str
    key: str
    order: Order
    idempotency_key: str | None = None
    submits: int = 1
    fetches: int = 0

    @property
    def seconds(self) -> int:
        """As it reports them."""
        told = self.directives.told_seconds
        return self.order.seconds if told is None else told

    @property
    def size(self) -> str:
        """The same."""
        return self.directives.told_size or self.order.size

    def to_json(self) -> dict[str, Any]:
        """As the truth has it."""
        state = self.state()
        return {
            "api": self.api,
            "id": self.job_id,
            "key": self.key,
            "kind": self.order.kind,
            "model": self.order.model,
            "prompt": self.order.prompt,
            "seconds": self.seconds,
            "size": self.size,
            "clips": self.order.clips,
            "inputs": list(self.order.inputs),
            "remix_of": self.order.remix_of,
            "tag": self.directives.tag,
            "idempotency_key": self.idempotency_key,
            "state": state,
            "submits": self.submits,
            "polls": self.polls,
            "failed_polls": self.failed_polls,
            "fetches": self.fetches,
            "created_at": self.created_at,
            "created_monotonic_s": self.created_s,
            "ended_monotonic_s": self.ended_s,
            "succeeded_monotonic_s": self.succeeded_s,
        }


class JobBook:
    """The jobs of a simulator.

    Attributes:
        taken: how many so far, whatever has become of them.
    """

    def __init__(self, instance: str) -> None:
        self._instance = instance[:8]
        self._jobs: dict[tuple[JobApi, str], Job] = {}
        self._by_idempotency: dict[tuple[JobApi, str, str], Job] = {}
        self._numbers = count(1)
        self.taken = 0

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        """In the order they came."""
        return iter(tuple(self._jobs.values()))

    def take(
        self,
        api: JobApi,
        key: str,
        order: Order,
        directives: Directives,
        idempotency_key: str | None = None,
    ) -> Job:
        """Take one on; the oldest is forgotten when there are too many."""
        job_id = _IDS[api].format(self._instance, next(self._numbers))
        job = Job(api, job_id, key, order, idempotency_key, directives=directives)
        self._jobs[api, job_id] = job
        if idempotency_key is not None:
            self._by_idempotency[api, key, idempotency_key] = job
        self.taken += 1
        if len(self._jobs) > JOBS_MAX:
            self.drop(next(iter(self._jobs.values())))
        return job

    def asked_before(self, api: JobApi, key: str, idempotency_key: str | None) -> Job | None:
        """The job that was taken on by the same `Idempotency-Key`."""
        if idempotency_key is None:
            return None
        return self._by_idempotency.get((api, key, idempotency_key))

    def find(self, api: JobApi, key: str, job_id: str) -> Job | None:
        """A job of this key; None: unknown, another's, or lost."""
        job = self._jobs.get((api, job_id))
        if job is None or job.key != key or job.state() == "lost":
            return None
        return job

    def any(self, api: JobApi, job_id: str) -> Job | None:
        """A job of anybody's."""
        return self._jobs.get((api, job_id))

    def of(self, api: JobApi, key: str) -> list[Job]:
        """All jobs of a key, in the order they came."""
        return [job for job in self if job.api == api and job.key == key and job.state() != "lost"]

    def drop(self, job: Job) -> None:
        """Forget it."""
        self._jobs.pop((job.api, job.job_id), None)
        if job.idempotency_key is not None:
            self._by_idempotency.pop((job.api, job.key, job.idempotency_key), None)
