"""Ending a job early, where its provider can."""

from __future__ import annotations

from contextlib import suppress

from engine.errors import JobNotCancellableError, UpstreamError
from engine.jobs.book import JobBook
from engine.jobs.desk import Desk
from engine.jobs.learning import learn, look
from engine.ledger.job_rows import JobView

_NO_MORE = "The job has ended: it is {state}."


async def cancel_job(book: JobBook, desk: Desk, account_id: str, shown_id: str) -> JobView:
    """The job, cancelled: nothing is charged for it; or as it has ended meanwhile.

    Raises:
        JobNotCancellableError: it has ended, or its provider cannot cancel it, or does not.
        NotFoundError: this account has none of that id.
        UpstreamError: the provider could not be asked; the job goes on.
    """
    view = await book.find(account_id, shown_id)
    if view.state == "cancelled":
        return view
    job = book.open.get(view.row.job_id)
    if job is None or view.ended:
        raise JobNotCancellableError(_NO_MORE.format(state=view.state))
    place = desk.place_of(job)
    done = None if place is None else await desk.cancel(job, place)
    if place is None or done is None:
        raise JobNotCancellableError("The provider of this job cannot cancel it; it goes on.")
    answer, report = done
    if not answer.ok:
        with suppress(UpstreamError):  # the poller will see
            await look(book, desk, job)
        await book.wait_durable()
        raise JobNotCancellableError(
            _NO_MORE.format(state=job.view.state)
            if job.view.ended
            else "The provider does not cancel the job; it goes on."
        )
    if report is not None and report.state == "succeeded":
        await learn(book, desk, job, place, report)
    else:
        book.cancelled(job)
    await book.wait_durable()
    return job.view
