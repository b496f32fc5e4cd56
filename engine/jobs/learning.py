"""What a provider says of a job is recorded: its end with all that it comes to, once."""

from __future__ import annotations

from engine.job import ENDED, JobReport
from engine.jobs.book import JobBook, OpenJob
from engine.jobs.desk import Desk, Place


async def learn(book: JobBook, desk: Desk, job: OpenJob, place: Place, report: JobReport) -> None:
    """Have the book follow. Who learns of the same end at the same time waits for the other.

    Raises:
        UpstreamError: what it comes to cannot be found out now; the job is open as before.
    """
    if report.state not in ENDED:
        book.report(job, report)
        return
    async with job.ending:
        if job.open:
            book.report(job, await desk.collect(job, place, report))


async def look(book: JobBook, desk: Desk, job: OpenJob) -> None:
    """Ask how a job does that a provider has taken, and record it.

    Raises:
        UpstreamError: the provider cannot be asked now.
    """
    place = desk.place_of(job)
    if place is None:
        return
    _, report = await desk.poll(job, place)
    if report is not None:
        await learn(book, desk, job, place, report)
