"""How the funds of an exchange that asks for a job become the job's: once its provider has taken
it, or nobody waits any more for what that says."""

from __future__ import annotations

import logging

import trio

from engine.clock import Clock
from engine.errors import UnavailableError
from engine.events import JobAccepted, Usage
from engine.holding import Holding
from engine.jobs.book import JobBook
from engine.ledger.job_rows import JobAcceptance
from engine.ledger.ledger import Ledger
from engine.ledger.receipts import Receipt
from engine.ledger.records import Hold, StoredAnswer, Ticket
from engine.leg import Leg
from engine.measuring import Measuring
from engine.recording import kept_rows
from engine.reserving import TokenReserve
from engine.submitting import Submitting
from engine.tally import Tally

logger = logging.getLogger(__name__)


class HandsOver:
    """The part of `ExchangeBilling` that is about jobs."""

    _ledger: Ledger
    _holding: Holding
    _tally: Tally
    _tokens: TokenReserve
    _measuring: Measuring
    _jobbing: Submitting
    _settlement: Ticket | None
    _barrier_timeout_s: float
    _clock: Clock
    _acceptance: JobAcceptance | None
    """That a provider has taken a job which it answers as a stream."""
    receipt: Receipt

    @property
    def _hold(self) -> Hold:
        return self._holding.hold

    @property
    def of_job(self) -> bool:
        """What is asked for is made later."""
        return self._jobbing.row is not None

    @trio.lowlevel.enable_ki_protection
    def _accept(self, accepted: JobAccepted) -> None:
        """The current leg's provider has taken the job, and answers it as a stream: from now on it
        is settled even if nobody is left who reads that."""
        job, leg = self._jobbing, self._tally.current
        assert leg is not None, "somebody has taken it"
        self._acceptance = acceptance = job.acceptance(leg, accepted, self._clock())
        receipt = self.receipt.replace(state="settling", attempts=self._tally.log.receipts)
        owned = kept_rows(leg, receipt, acceptance.at_ms)
        job.ticket = self._ledger.accept_job(self._hold, acceptance, receipt, owned)

    @trio.lowlevel.enable_ki_protection
    def hand_over(self, accepted: JobAccepted, jobs: JobBook, answer: StoredAnswer | None) -> None:
        """The current leg's provider has taken the job: it has the hold from now on, and ends it.
        The receipt is `settling` until then."""
        job, tally = self._jobbing, self._tally
        leg = tally.current
        assert job.row is not None, "a job was asked for"
        assert leg is not None, "somebody has taken it"
        received, delivered = tally.output_tokens()
        self.receipt = self._settling(leg)
        if self._acceptance is not None:
            self.receipt = self.receipt.replace(
                received_output_tokens=received, delivered_output_tokens=delivered
            )
        acceptance = self._acceptance or job.acceptance(leg, accepted, self._clock())
        self._settlement = jobs.hand_over(
            job.row,
            self._hold,
            acceptance,
            self.receipt,
            accepted.report,
            answer,
            kept_rows(leg, self.receipt, acceptance.at_ms),
        )
        self._tokens.close(Usage())
        self._measuring.forget_prompt()

    @trio.lowlevel.enable_ki_protection
    def keep_job(self, jobs: JobBook) -> None:
        """The current leg's provider was asked for the job, and nobody waits for its answer any
        more: what came of it is found out by others, now or at the next start."""
        job, tally = self._jobbing, self._tally
        leg = tally.current
        assert job.row is not None, "a job was asked for"
        assert leg is not None, "somebody was asked"
        self.receipt = self._settling(leg)
        jobs.keep(job.row, self._hold, self.receipt, tuple(tally.log.rows), job.submit(leg))
        self._settlement = self._hold.ticket
        self._tokens.close(Usage())
        self._measuring.forget_prompt()

    async def wait_asked_durable(self) -> None:
        """Before a provider is asked for a job, that has to be known to whoever comes after us.

        Raises:
            UnavailableError: the journal did not commit in time.
        """
        if not await self._wait_durable(self._jobbing.ticket):
            raise UnavailableError("The gateway cannot record the request now.", retry_after_s=5)

    def _settling(self, leg: Leg) -> Receipt:
        try:
            return self._jobbing.settling(self.receipt, self._tally, leg)
        except Exception:  # the provider has the job, whatever we make of the attempts
            logger.exception("%s: its attempts cannot be told", self.receipt.request_id)
            return self.receipt.replace(state="settling", attempts=self._tally.log.receipts)

    async def _wait_durable(self, ticket: Ticket) -> bool:
        if self._ledger.is_durable(ticket):
            return True
        with trio.CancelScope(shield=True) as scope:
            scope.deadline = trio.current_time() + self._barrier_timeout_s
            await self._ledger.wait_durable(ticket)
        return self._ledger.is_durable(ticket)
