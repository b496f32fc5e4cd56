"""Finding out what came of a submit whose answer nobody has read: the process died, or stopped.

The provider is asked again with the same key of idempotency, or for the list of its jobs; by the
spec of its kind. Where it has neither, or knows of none, the job has failed and costs its client
nothing; what it may have cost the house is said in the log.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from enum import Enum, auto
from typing import Any, Final

from engine.clock import Clock
from engine.errors import UpstreamError
from engine.job import JobError, JobReport, JobSpec
from engine.jobs.asking import Answer
from engine.jobs.book import JobBook, OpenJob
from engine.jobs.desk import Desk, Place
from engine.jobs.keys import submit_key
from engine.jobs.settling import served_by
from engine.ledger.job_rows import JobAcceptance, JobSubmit
from engine.protocols.fields import load_object
from engine.protocols.jobs.paths import checked_id, remix_path, submit_path
from engine.protocols.jobs.places import value_at
from engine.protocols.jobs.reports import id_of, report_of

logger = logging.getLogger(__name__)

LOST: Final = JobError(
    "submit_lost", "The gateway stopped before it was known whether the provider had taken it."
)
_NOT_NOW: Final = frozenset({408, 409, 425, 429})
_EARLIER_S: Final = 60
_LATER_S: Final = 2
"""By so much the provider's clock may differ. What it has made later, others have asked for."""


class Finding(Enum):
    """What has been found out."""

    KNOWN = auto()
    """What came of it."""
    NONE = auto()
    """The provider lists no such job: perhaps not yet."""
    NOT_NOW = auto()
    """Nothing: ask again."""


async def find_out(desk: Desk, book: JobBook, job: OpenJob, clock: Clock) -> Finding:
    """What came of it, recorded in the book. Raises UpstreamError."""
    place, submit = desk.place_of(job), job.submit
    if place is None or submit is None or not _is_findable(place, submit):
        give_up(book, job)
        return Finding.KNOWN
    spec = place.spec
    assert spec is not None, "as `_is_findable` has it"
    if spec.recover == "resubmit":
        return await _resubmit(desk, book, job, submit, place, spec, clock)
    return await _look_up(desk, book, job, submit, place, spec, clock)


def _is_findable(place: Place, submit: JobSubmit) -> bool:
    """Whether it can be asked after. What was to be made of another one is known only to the key
    that has that one, and is asked for at no path but that one's."""
    spec = place.spec
    if submit.body is None or spec is None or spec.recover is None:
        return False
    if submit.remix_of is None:
        return True
    told = spec.remix if spec.recover == "resubmit" else spec.remixed_from
    return place.own and told is not None


def give_up(book: JobBook, job: OpenJob) -> None:
    """Nobody can tell any more."""
    row = job.attempts[-1] if job.attempts else None
    by = "nobody" if row is None else row.path
    logger.warning(
        "%s: nothing is known of what was asked of %s; if it was taken, it is on the house",
        job.row.job_id,
        by,
    )
    book.give_up(job, LOST)


async def _resubmit(
    desk: Desk,
    book: JobBook,
    job: OpenJob,
    submit: JobSubmit,
    place: Place,
    spec: JobSpec,
    clock: Clock,
) -> Finding:
    row = job.attempts[-1]
    model, source = row.upstream_model, submit.remix_of
    path = submit_path(spec, model) if source is None else remix_path(spec, model, source)
    assert path is not None, "as `_is_findable` has it"
    answer = await desk.ask(
        place,
        "POST",
        path,
        row.upstream_model,
        body=submit.body or b"",
        content_type=submit.content_type,
        more=submit_key(spec, job.row.job_id, row.path),
    )
    if answer.ok:
        document = _document(answer)
        _take(book, job, submit, *_ticket(spec, document), clock())
        return Finding.KNOWN
    if 400 <= answer.status < 500 and answer.status not in _NOT_NOW:
        logger.warning("%s: %s refuses it now", job.row.job_id, row.path)
        book.give_up(job, LOST)
        return Finding.KNOWN
    return Finding.NOT_NOW


async def _look_up(
    desk: Desk,
    book: JobBook,
    job: OpenJob,
    submit: JobSubmit,
    place: Place,
    spec: JobSpec,
    clock: Clock,
) -> Finding:
    row = job.attempts[-1]
    assert spec.listed is not None, "as the spec is checked"
    answer = await desk.ask(place, "GET", spec.listed, row.upstream_model)
    if not answer.ok:
        return Finding.NOT_NOW
    listed = value_at(_document(answer), spec.list_items)
    items = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    alike = {
        known_as: item
        for item in reversed(items)  # the oldest first, as they are asked for
        if _is_it(spec, item, submit, range(row.at_ms // 1_000, job.left_at_ms // 1_000 + 1))
        and (known_as := _id_in(spec, item)) is not None
    }
    async with desk.finding:  # of two that are alike each has its own
        taken = await book.known(row.provider, alike.keys())
        for known_as, item in alike.items():
            if known_as not in taken:
                _take(book, job, submit, known_as, report_of(spec, item, known_as), clock())
                return Finding.KNOWN
    return Finding.NONE


def _is_it(spec: JobSpec, item: dict[str, Any], submit: JobSubmit, asked_s: range) -> bool:
    """Whether a job of the provider's list is what was asked for, by what both say."""
    try:
        document = load_object(submit.body or b"")
    except ValueError:
        document = {}
    if spec.remixed_from is not None and value_at(item, spec.remixed_from) != submit.remix_of:
        return False
    for place, field in spec.list_match.items():
        found = value_at(item, place)
        if field == "created_at":
            if not isinstance(found, int | float):
                return False
            if not asked_s.start - _EARLIER_S <= found < asked_s.stop + _LATER_S:
                return False
            continue
        wanted = value_at(document, spec.fields.get(field, field))
        if wanted is not None and str(found) != str(wanted):
            return False
    return True


def _id_in(spec: JobSpec, item: dict[str, Any]) -> str | None:
    try:
        return checked_id(spec, value_at(item, spec.id))
    except ValueError:
        return None


def _document(answer: Answer) -> dict[str, Any]:
    try:
        return load_object(answer.body)
    except ValueError as error:
        raise UpstreamError("The provider's answer cannot be read.") from error


def _ticket(spec: JobSpec, document: dict[str, Any]) -> tuple[str, JobReport]:
    try:
        known_as = id_of(spec, document)
    except ValueError as error:
        raise UpstreamError("The provider's answer names no job.") from error
    return known_as, report_of(spec, document, known_as)


def _take(
    book: JobBook,
    job: OpenJob,
    submit: JobSubmit,
    known_as: str,
    report: JobReport,
    at_ms: int,
) -> None:
    if not job.open or job.view.acceptance is not None:
        return
    row = next(each for each in job.attempts if each.number == submit.number)
    acceptance = JobAcceptance(
        job.row.job_id,
        row.number,
        row.provider,
        row.upstream_model,
        submit.credential,
        known_as,
        submit.terms,
        at_ms,
    )
    receipt = served_by(job.receipt, job.attempts, row.number).replace(
        state="settling", flags=tuple(dict.fromkeys((*job.receipt.flags, "recovered")))
    )
    attempts = tuple(
        replace(each, status=200) if each.number == row.number else each
        for each in receipt.attempts
    )
    book.found(job, acceptance, receipt.replace(attempts=attempts), report)
    logger.info("%s: %s has taken it, as has been found out", job.row.job_id, row.path)
