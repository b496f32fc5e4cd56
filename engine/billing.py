"""The money side of one exchange: hold, extend, progress, settle. Synchronous but for the barriers.

Nothing that changes the books has a checkpoint in it, so no cancellation can fall between knowing
what was generated and recording it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import trio

from engine import funds
from engine.admission.keys import Principal
from engine.config import BillingConfig
from engine.errors import GatewayError, UnavailableError
from engine.events import Call, Outcome, Usage
from engine.handing import HandsOver
from engine.holding import Holding
from engine.ledger.ledger import Ledger
from engine.ledger.owned_rows import OwnedRow
from engine.ledger.receipts import ReceiptError
from engine.ledger.records import IdempotencyKey, ProgressEntry, StoredAnswer, Ticket
from engine.leg import Leg
from engine.measuring import Measuring
from engine.metering.pricing import Rates, charge_nanodollars
from engine.opening import opening_receipt
from engine.parsing.jobs import Prepared
from engine.relay import Relay
from engine.reserving import TokenReserve, expected_tokens
from engine.routing.values import Candidate, Plan
from engine.submitting import Submitting
from engine.tally import Tally

# A progress record is at most 256 tokens old; the meter may be 50 or so behind.
_PROGRESS_DUE_TOKENS = 192


class ExchangeBilling(HandsOver):
    """Owns the hold of one exchange, what it takes of the tokens a minute, and its receipt.

    Attributes:
        receipt: the account so far; final once the exchange is settled.
        idempotency: becomes durable with the hold; set before it is taken.
    """

    def __init__(
        self,
        ledger: Ledger,
        settings: BillingConfig,
        *,
        call: Call,
        principal: Principal,
        prepared: Prepared,
        plan: Plan[Rates],
        candidate: Candidate[Rates],
        measuring: Measuring,
        model: str,
        reference: Rates | None,
        tokens: TokenReserve,
        barrier_timeout_s: float,
        job_timeout_s: float,
        progress_due: Callable[[], None],
    ) -> None:
        """`prepared`, `candidate` and `measuring` are of the first leg; `model` is the own name of
        what was asked for; `reference` is the price that savings are told against."""
        self._ledger = ledger
        self._settings = settings
        self._request = request = prepared.request
        self._tokens = tokens
        self._barrier_timeout_s = barrier_timeout_s
        self._progress_due = progress_due
        self._clock = ledger.clock
        self._measuring = measuring
        """Of the leg that is current, or was, or will be."""
        self._reference = reference
        self._holding = Holding(
            ledger,
            settings,
            account_id=principal.account_id,
            key_id=principal.key_id,
            prepared=prepared,
            ceiling=measuring.ceiling,
            planned=plan.candidates,
        )
        self._tally = Tally()
        self._settlement: Ticket | None = None
        self._progressed = (0, 0)
        """How many legs had ended, and the tokens of the current one, when last asked."""
        self._delivered_at_leave: int | None = None
        self.receipt = opening_receipt(
            call,
            principal,
            settings,
            ledger.clock,
            model=model,
            stream=request.stream,
            plan=plan,
            first=candidate,
            measuring=measuring,
        )
        if call.agent is not None:
            self.receipt = self.receipt.replace(flags=(f"agent:{call.agent.agent_id}",))
        self.idempotency: IdempotencyKey | None = None
        self._jobbing = Submitting(request, job_timeout_s)
        self._acceptance = None

    async def reserve_tokens(self) -> None:
        """Take of the tokens a minute what the request is expected to use, until it is settled or
        `release_tokens`. Raises RateLimitedError."""
        request, bounds = self._request, self._measuring.bounds
        slice_tokens = self._settings.output_slice_tokens
        await self._tokens.take(
            expected_tokens(bounds, request.max_output_tokens, request.choices, slice_tokens)
        )

    def release_tokens(self) -> None:
        """Give them back where nothing was held, and so nothing will be settled."""
        if self._holding.held is None:
            self._tokens.close(Usage())

    @trio.lowlevel.enable_ki_protection
    def reserve(self) -> funds.FirstSlice:
        """Hold funds for the input and a slice of output. From now on `settle` is owed.

        Raises:
            GatewayError: as `check_funds`.
            UnavailableError: the ledger takes no charges now.
        """
        first = self._holding.first_slice()
        known = self.idempotency
        if known is not None:
            self.receipt = self.receipt.replace(idempotency_key=known.key)
        self._holding.take(first, self.receipt, known, self._jobbing.asked(self.receipt))
        return first

    def check_funds(self) -> None:
        """Whether they would be held now.

        Raises:
            BudgetExceededError: a budget does not cover a useful minimum.
            InsufficientFundsError: the account does not.
        """
        self._holding.first_slice()

    @property
    def owed(self) -> bool:
        """Funds are held, and the exchange has to be settled."""
        return self._holding.held is not None and self._settlement is None

    # ---- its legs -----------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    def covers(self, leg: Leg) -> bool:
        """Hold what a further leg may need beyond what is held, and limit its output to that; it
        has not been dispatched. False, and nothing has changed, where funds do not cover it."""
        owed, afresh = self._tally.owed_nanodollars, leg.role == "continuation"
        return self._holding.cover_further(leg, owed, afresh=afresh)

    @trio.lowlevel.enable_ki_protection
    def dispatched(self, leg: Leg) -> None:
        """A leg is about to go out; it has a number and a row from now on. Once, however often its
        dispatch is taken up again.

        Raises:
            UnavailableError: far too much waits to become durable; it must not go out.
        """
        if leg.number:
            return
        leg.attempt.relay.meter.limits = leg.measuring.bounds.limits
        row = self._tally.begin(leg, self._clock())
        try:
            ticket = self._ledger.attempt(self._hold, row, self._jobbing.submit(leg))
            self._jobbing.ticket = ticket
        except UnavailableError:
            self._tally.take_back(leg)
            raise
        if leg.number > 1:  # the first is what the opening receipt says
            self._show()

    @trio.lowlevel.enable_ki_protection
    def lost(self, leg: Leg, code: str) -> None:
        """A leg has ended, closed, and the client has got nothing of it: what it cost is the
        house's. `code` is that of its error, or `HEDGE_LOST`."""
        self._tally.lost(leg, code)
        if self.owed:
            self._show()

    @trio.lowlevel.enable_ki_protection
    def won(self, leg: Leg) -> None:
        """Of those under way this leg is the client's from now on."""
        self._tally.won(leg)
        if self.owed:
            self._show()

    def usage_of(self, leg: Leg) -> Usage:
        """What is billed of a leg that has broken off after some output."""
        return self._tally.broken_off(leg).usage

    @trio.lowlevel.enable_ki_protection
    def continued(self, leg: Leg) -> bool:
        """The current leg has broken off after some output, and this one is to write on, which has
        not been dispatched: what was written stays charged, and more is held. False, and nothing
        has changed, where funds do not cover it."""
        before = self._tally.current
        assert before is not None, "somebody has broken off"
        owed = self._tally.owed_nanodollars + self._tally.broken_off(before).charge_nanodollars
        if not self._holding.cover_further(leg, owed, afresh=True):
            return False
        self._tally.continued()
        self._progressed = (self._progressed[0], 0)
        return True

    def charge_with(self, leg: Leg) -> int:
        """What the rounds of an agent come to with this one, in nanodollars."""
        return self._tally.owed_nanodollars + self._tally.of_round(leg).charge_nanodollars

    def usage_with(self, leg: Leg) -> Usage:
        """What the rounds of an agent have consumed with this one."""
        return self._tally.usage_before.plus(self._tally.of_round(leg).usage)

    @trio.lowlevel.enable_ki_protection
    def next_round(self, leg: Leg) -> bool:
        """The current leg has asked for tools, and this one is to go on from what they have come
        to, which has not been dispatched: what there was stays charged, and more is held. False,
        and nothing has changed, where funds do not cover it. A leg that has failed as a round goes
        out again likewise."""
        before, owed = self._tally.current, self._tally.owed_nanodollars
        if before is not None:
            owed += self._tally.of_round(before).charge_nanodollars
        if not self._holding.cover_further(leg, owed, afresh=True):
            return False
        if before is not None:
            self._tally.ended_round(told=self._request.stream)
            self._progressed = (self._progressed[0], 0)
        return True

    @trio.lowlevel.enable_ki_protection
    def answered(self) -> None:
        """The current leg has answered its part of the request; all of it is held for."""
        self._tally.answered()
        self._show()

    def begin_anew(self) -> None:
        """Another deployment is asked for all of the request; what was answered is the house's."""
        self._tally.begin_anew()

    def _show(self) -> None:
        """Have the receipt follow the legs."""
        log, leg = self._tally.log, self._tally.current
        receipt = self.receipt.replace(attempts=log.receipts)
        if leg is not None:
            self._measuring = leg.measuring
            row = log.rows[leg.number - 1]
            route = None if receipt.route is None else receipt.route.through(log.rows, row)
            receipt = receipt.replace(
                provider=row.provider, model_used=row.upstream_model, route=route
            )
        self.receipt = receipt
        self._ledger.note(self._hold, receipt)

    def metered(self, relay: Relay) -> bool:
        """Output was metered: hold more where it is due. True if the relay had stopped at its limit
        and may go on now."""
        if relay.accepted is not None and self._request.stream and self._acceptance is None:
            self._accept(relay.accepted)
        if relay.meter.known_tokens - self._progressed[1] >= _PROGRESS_DUE_TOKENS:
            self._progress_due()
        return self._holding.extend(relay)

    def progress(self) -> ProgressEntry | None:
        """What would be billed were the process killed now; None if nothing has changed."""
        if not self.owed:
            return None
        now = self._tally.so_far()
        progressed = (len(now.ended), now.received_tokens)
        if progressed == self._progressed:
            return None
        self._progressed = progressed
        self._tokens.spent(now.usage)
        received, delivered = self._output_tokens()
        return ProgressEntry(
            request_id=self.receipt.request_id,
            usage=now.usage.units(),
            charge_nanodollars=min(now.charge_nanodollars, self._hold.amount_nanodollars),
            received_output_tokens=received,
            delivered_output_tokens=delivered,
            costs=now.costs,
            number=now.number,
            ended=now.ended,
        )

    def client_left(self) -> None:
        """The client has gone and its stream is read on: what it got is known, and shown."""
        received, self._delivered_at_leave = self._output_tokens()
        self.receipt = self.receipt.replace(
            outcome=Outcome.CLIENT_LEFT,
            state="settling",
            received_output_tokens=received,
            delivered_output_tokens=self._delivered_at_leave,
        )
        self._ledger.note(self._hold, self.receipt)

    def _output_tokens(self) -> tuple[int, int]:
        """Received, and delivered before the client left."""
        received, delivered = self._tally.output_tokens()
        left = self._delivered_at_leave
        return received, delivered if left is None else left

    # ---- the end ------------------------------------------------------------------------------

    def settle(
        self,
        outcome: Outcome,
        error: GatewayError | None = None,
        *,
        drained: bool = False,
        flags: tuple[str, ...] = (),
        answer: Callable[[], StoredAnswer | None] = lambda: None,
        owned: Callable[[Usage], Sequence[OwnedRow]] = lambda _: (),
    ) -> Usage:
        """End the exchange: post what is owed, release the rest, write the receipt. Once.

        `drained`: all of the answer was read, though the client had left. `flags` go onto the
        receipt. `answer` is asked, when the receipt is there, for what is to be kept with it, and
        `owned` for what the account has at the provider by it.

        Returns the usage that was billed or, where nothing was, consumed.
        """
        assert self._settlement is None, "an exchange is settled once"
        tally, log = self._tally, self._tally.log
        received = delivered = 0
        # After a fault of ours nothing is measured: the fault may be the measuring.
        if outcome is Outcome.COMPLETED and not self._request.stream:
            received = delivered = tally.received_tokens()  # all of it goes out next, or nothing
        elif outcome is not Outcome.GATEWAY_FAILED:
            received, delivered = self._output_tokens()
        code = str(outcome) if error is None else error.code
        bill = tally.end(outcome, code, drained=drained)
        posted = self._holding.cover(bill.charge_nanodollars)
        overrun = bill.charge_nanodollars - posted
        log.note("ended_ms", "settled_ms")
        measured, usage = bill.measured, bill.usage
        price_rates, cost_rates = self._measuring.rates(measured)
        self.receipt = self.receipt.replace(
            outcome=outcome,
            state="settled",
            attempts=log.receipts,
            usage=usage.units(),
            provenance=bill.provenance,
            usage_provenance=measured.provenance,
            counted_by=tally.counted_by,
            service_tier=measured.service_tier,
            rates_picodollars=price_rates,
            cost_rates_picodollars=cost_rates,
            received_output_tokens=received,
            delivered_output_tokens=delivered,
            price_nanodollars=posted,
            cost_nanodollars=sum([cost.amount_nanodollars for cost in log.costs]),
            overrun_nanodollars=overrun if overrun and tally.reported() else 0,
            savings_nanodollars=self._savings(bill, posted),
            flags=(*self.receipt.flags, *self._holding.flags, *flags, *measured.flags),
            error=None if error is None else ReceiptError(error.code, error.message),
            timings=log.timings,
        )
        self._settlement = self._end(bill, answer(), owned(usage))
        self._tokens.close(usage)
        self._measuring.forget_prompt()
        return usage

    def _savings(self, bill: funds.Bill, posted_nanodollars: int) -> int | None:
        if self._reference is None or not bill.billed:
            return None
        tier = bill.measured.service_tier
        return charge_nanodollars(bill.usage, self._reference, tier) - posted_nanodollars

    def _end(
        self, bill: funds.Bill, answer: StoredAnswer | None, owned: Sequence[OwnedRow]
    ) -> Ticket:
        """End the hold as the receipt says."""
        hold, receipt, costs = self._hold, self.receipt, self._tally.log.costs
        if not bill.charge_nanodollars:
            return self._ledger.void(hold, costs=costs, receipt=receipt, answer=answer, owned=owned)
        return self._ledger.settle(
            hold,
            posted_nanodollars=receipt.price_nanodollars,
            overrun_nanodollars=receipt.overrun_nanodollars,
            costs=costs,
            receipt=receipt,
            answer=answer,
            owned=owned,
        )

    def abandon(self, error: GatewayError | None) -> Usage:
        """The settlement has failed for a fault of ours. What cannot be measured is not charged;
        the hold ends all the same."""
        try:
            return self.settle(Outcome.GATEWAY_FAILED, error)
        except Exception:
            if not self.owed:
                raise
            log = self._tally.log
            log.end_rest(Outcome.GATEWAY_FAILED)
            log.uncharge()
            self.receipt = self.receipt.replace(
                outcome=Outcome.GATEWAY_FAILED, state="settled", attempts=log.receipts
            )
            self._settlement = self._ledger.void(self._hold, costs=log.costs, receipt=self.receipt)
            self._tokens.close(Usage())
            return Usage()

    async def release_prompt(self) -> None:
        """The memory of the prompt is wanted; its tokens can be counted all the same."""
        await self._measuring.release_prompt()

    async def wait_hold_durable(self) -> None:
        """The first barrier: no generated byte leaves before this returns.

        Raises:
            UnavailableError: the journal did not commit in time.
        """
        ticket = self._hold.ticket if self._acceptance is None else self._jobbing.ticket
        if not await self._wait_durable(ticket):
            raise UnavailableError("The gateway cannot record the request now.", retry_after_s=5)
        self._tally.log.note("hold_durable_ms")

    async def wait_settlement_durable(self) -> None:
        """The second barrier: the end of the answer leaves after this returns.

        Past its deadline the ending is released all the same and the receipt says `pending`; the
        ledger closes admission until its journal is well.
        """
        assert self._settlement is not None
        durable = await self._wait_durable(self._settlement)
        if durable and self.receipt.state == "settled":
            self.receipt = self.receipt.replace(durability="durable")

    def head_ready(self) -> None:
        """Note the time for the receipt."""
        self._tally.log.note("head_ms")
