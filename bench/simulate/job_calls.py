"""What the APIs of jobs share: how one is taken on, polled, and its result fetched, with faults.

Calls beside the submit are named `jobs.poll`, `jobs.list`, `jobs.cancel`, `jobs.delete` and
`jobs.result`, whatever the API (see `errands`).
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final, NamedTuple

from bench.simulate.courses import Course, CourseState
from bench.simulate.directives import Directives, find_directives
from bench.simulate.errands import StatusTold, Told, Visit
from bench.simulate.errors import ApiError
from bench.simulate.films import mp4
from bench.simulate.jobs import Job, JobApi, JobBook, JobState, Order
from bench.simulate.pictures import jpeg, spoiled, webp
from bench.simulate.sounds import STRETCH_MS, wav
from bench.simulate.text import seed_of

SEED_MAX: Final = 16
_TONES: Final = 16


class Desk(NamedTuple):
    """What every API of jobs works with."""

    book: JobBook
    knows: Callable[[str], bool]
    seed: bytes
    """Of the simulator: what its films and sounds depend on beside their prompts."""


def take(desk: Desk, visit: Visit, api: JobApi, order: Order, *, idempotent: bool = False) -> Job:
    """Take a job on, or find it again by the key of its submit.

    Raises:
        ApiError: no such model, a directive that is not understood, a prompt that is refused, or
            another one by the same key.
        StatusTold, Turned: as the prompt says.
    """
    record = visit.record
    assert record is not None
    words = find_directives(order.prompt)
    record.model, record.directives = order.model, words or ""
    if not desk.knows(order.model):
        raise ApiError(
            f"The model `{order.model}` does not exist or you do not have access to it.",
            status=404,
            code="model_not_found",
        )
    named = visit.request.headers.get(b"idempotency-key") if idempotent else None
    key = None if named is None else named.decode("latin-1")
    job = desk.book.asked_before(api, visit.key, key)
    if job is not None:
        if job.order != order:
            raise ApiError(
                "Keys for idempotent requests can only be used with the same parameters they were "
                "first used with.",
                status=409,
                kind="idempotency_error",
            )
        job.submits += 1
    else:
        directives = visit.begin_job(order.model, words)
        if directives.refuse == "prompt":
            raise ApiError(
                "Your request was blocked by our moderation system.", code="moderation_blocked"
            )
        job = desk.book.take(api, visit.key, order, directives, key)
    record.completion_id, record.tag = job.job_id, job.directives.tag
    return job


def poll(visit: Visit, job: Job) -> JobState:
    """Ask after a job; what the answer is to carry besides is in `poll_headers`.

    Raises:
        StatusTold: the poll is to fail so.
    """
    visit.begin_call("jobs.poll")
    return poll_course(visit, job)


def poll_course(visit: Visit, course: Course) -> CourseState:
    """The same of anything that takes its time.

    Raises:
        StatusTold: the poll is to fail so.
    """
    told = course.directives
    if course.failed_polls < told.poll_errors:
        course.failed_polls += 1
        if told.poll_fault is None:
            raise StatusTold(told.poll_status, told.poll_retry_after)
        visit.directives = Directives(fault=told.poll_fault)
        return course.state()
    return course.poll()


def poll_headers(course: Course) -> tuple[tuple[bytes, bytes], ...]:
    """When to ask again, where it is told."""
    retry_after_s = course.directives.poll_retry_after
    return () if retry_after_s is None else ((b"retry-after", f"{retry_after_s:g}".encode()),)


def fetch(desk: Desk, visit: Visit, job: Job, place: int, variant: str = "video") -> Told:
    """One of the things a job has made.

    Raises:
        ApiError: there is none.
        StatusTold: the fetch is to fail so.
    """
    visit.begin_call("jobs.result")
    if job.state() != "succeeded" or not 0 <= place < job.order.clips:
        raise ApiError("There is nothing here, or not yet.", status=404)
    job.fetches += 1
    told = job.directives
    if job.fetches <= told.result_errors:
        if told.result_fault is None:
            raise StatusTold(told.result_status, None)
        visit.directives = Directives(fault=told.result_fault)
    kind, data = _made(desk, job, place, variant)
    return Told(spoiled(data, told), [(b"content-type", kind)])


def _made(desk: Desk, job: Job, place: int, variant: str) -> tuple[bytes, bytes]:
    order = job.order
    own = f"{order.model}\0{order.prompt}\0{place}"
    seed = seed_of(desk.seed, own.encode(errors="surrogatepass"))
    if order.kind == "music":
        return b"audio/wav", b"".join(wav(job.seconds * 1_000 // STRETCH_MS, seed[0] % _TONES))
    width, height = size_of(job.size) or (order.width, order.height)
    if variant == "video":
        return b"video/mp4", mp4(width, height, job.seconds, seed)
    if variant == "spritesheet":
        return b"image/jpeg", jpeg(max(1, width // 2), max(1, height // 8), seed)
    return b"image/webp", webp(max(1, width // 4), max(1, height // 4), seed)


def size_of(text: str) -> tuple[int, int] | None:
    """`1280x720` as numbers; None: it is no size."""
    width, _, height = text.partition("x")
    if not (width.isascii() and width.isdecimal() and height.isascii() and height.isdecimal()):
        return None
    found = int(width), int(height)
    return found if min(found) > 0 and max(found) <= 8_192 else None


def input_of(name: str, data: bytes | memoryview) -> dict[str, Any]:
    """Something that came with a prompt, as the truth log has it."""
    return {"name": name, "bytes": len(data), "sha256": sha256(data).hexdigest()}
