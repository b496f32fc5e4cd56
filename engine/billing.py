"""The money side of one exchange: hold, extend, progress, settle. Synchronous but for the barriers.

Nothing that changes the books has a checkpoint in it, so no cancellation can fall between knowing
what was generated and recording it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import trio

from engine import funds
from engine.admission.keys import Principal
from engine.attempt import Attempt
from engine.attempt_log import AttemptLog
from engine.config import BillingConfig
from engine.errors import (
    BudgetExceededError,
    GatewayError,
    InsufficientFundsError,
    UnavailableError,
)
from engine.events import Call, Outcome, Usage
from engine.ledger.ledger import Ledger
from engine.ledger.receipts import Receipt, ReceiptError
from engine.ledger.records import (
    AttemptRow,
    CostLine,
    Hold,
    IdempotencyKey,
    ProgressEntry,
    StoredAnswer,
    Ticket,
)
from engine.measuring import Measuring, delivered_tokens
from engine.metering.pricing import Rates, charge_nanodollars, extension_nanodollars
from engine.parsing.jobs import Prepared
from engine.relay import Relay
from engine.routing.plan import Deployment, Model

# A progress record is at most 256 tokens old; the meter may be 50 or so behind.
_PROGRESS_DUE_TOKENS = 192

_BUDGET = "budget"
"""The flag of a receipt whose answer a budget has cut, or lowered the limit of."""


class ExchangeBilling:
    """Owns the hold of one exchange and its receipt.

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
        model: Model[Rates],
        waive: bool,
        barrier_timeout_s: float,
        progress_due: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._settings = settings
        self._request = request = prepared.request
        self._price = model.price
        self._deployment: Deployment[Rates] = model.deployments[0]
        self._barrier_timeout_s = barrier_timeout_s
        self._progress_due = progress_due
        self._clock = ledger.clock
        self._measuring = Measuring(
            bounds=prepared.bounds,
            prompt=prepared.input,
            stream=request.stream,
            deployment=self._deployment,
            price=model.price,
            waive=waive,
        )
        self._max_output_tokens = max_output_tokens = prepared.max_output_tokens
        self._output_max = (
            math.inf if max_output_tokens is None else max_output_tokens * request.choices
        )
        self._log = AttemptLog(self._deployment.provider, self._deployment.upstream_model)
        self._attempt: Attempt | None = None
        self._settlement: Ticket | None = None
        self._progress_tokens = 0
        self._delivered_at_leave: int | None = None
        self._flags: tuple[str, ...] = ()
        price_rates, cost_rates = self._measuring.rates()
        self.receipt = Receipt(
            request_id=call.request_id,
            account_id=principal.account_id,
            key_id=principal.key_id,
            created_at_ms=ledger.clock(),
            operation=call.operation,
            protocol=call.protocol,
            stream=request.stream,
            model=model.name,
            client_request_id=call.client_request_id,
            model_used=self._deployment.upstream_model,
            provider=self._deployment.provider,
            credits_per_usd=settings.credits_per_usd,
            service_tier=self._measuring.bounds.service_tier,
            rates_picodollars=price_rates,
            cost_rates_picodollars=cost_rates,
        )
        self._held: Hold | None = None
        self.idempotency: IdempotencyKey | None = None

    @trio.lowlevel.enable_ki_protection
    def reserve(self) -> funds.FirstSlice:
        """Hold funds for the input and a slice of output. From now on `settle` is owed.

        Raises:
            BudgetExceededError: a budget does not.
            InsufficientFundsError: the account does not cover a useful minimum.
            UnavailableError: the ledger takes no charges now.
        """
        account_id, first = self.receipt.account_id, self.check_funds()
        if first.lowered_limit is not None:
            self._note_budget(self._ledger.available_nanodollars(account_id))
        known = self.idempotency
        if known is not None:
            self.receipt = self.receipt.replace(idempotency_key=known.key)
        self._held = self._ledger.hold(
            account_id,
            self.receipt.request_id,
            first.amount_nanodollars,
            self.receipt,
            idempotency=known,
        )
        return first

    def check_funds(self) -> funds.FirstSlice:
        """What would be held now. Raises as `reserve` for want of funds."""
        account_id, request = self.receipt.account_id, self._request
        spendable_nanodollars = self._ledger.spendable_nanodollars(account_id, self.receipt.key_id)
        try:
            return funds.first_slice(
                input_bound_tokens=self._measuring.bounds.input_tokens,
                max_output_tokens=self._max_output_tokens,
                choices=request.choices,
                stream=request.stream,
                unseen_tokens=self._measuring.bounds.output_tokens,
                ceiling=self._measuring.ceiling,
                available_nanodollars=spendable_nanodollars,
                settings=self._settings,
            )
        except InsufficientFundsError as error:
            available_nanodollars = self._ledger.available_nanodollars(account_id)
            raise self._over_budget(available_nanodollars) or error from None

    @property
    def _hold(self) -> Hold:
        assert self._held is not None, "nothing is spent before it is held"
        return self._held

    @property
    def owed(self) -> bool:
        """Funds are held, and the exchange has to be settled."""
        return self._held is not None and self._settlement is None

    def dispatched(self, attempt: Attempt) -> None:
        """An attempt is about to go out; it has a row from now on. Once, however often its
        dispatch is taken up again."""
        if self._attempt is attempt:
            return
        self._attempt = attempt
        attempt.relay.meter.limits = self._measuring.bounds.limits
        row = AttemptRow(
            self._log.begin(),
            self._deployment.provider,
            self._deployment.upstream_model,
            self._clock(),
        )
        self._ledger.attempt(self._hold, row)

    def followed(self, error: GatewayError) -> None:
        """The attempt has failed without output and another will follow it."""
        self._log.follow(self._attempt, error)

    def metered(self, relay: Relay) -> bool:
        """Output was metered: extend the hold when three quarters of a slice are spent.

        True if the relay had stopped at its limit and may go on now.
        """
        if relay.meter.known_tokens - self._progress_tokens >= _PROGRESS_DUE_TOKENS:
            self._progress_due()
        covered = relay.output_limit
        if covered is None:
            return False
        more = self._settings.output_slice_tokens
        if relay.exhausted:
            more = max(more, relay.meter.wanted_tokens - covered)
        elif covered >= self._output_max or not funds.extension_due(
            covered, relay.meter.spent_tokens, more
        ):
            return False
        amount_nanodollars = extension_nanodollars(more, self._measuring.ceiling)
        if not self._ledger.extend(self._hold, amount_nanodollars):
            if relay.exhausted:
                self._note_budget(amount_nanodollars)
            return False
        relay.output_limit = covered + more
        return relay.exhausted

    def progress(self) -> ProgressEntry | None:
        """What would be billed were the process killed now; None if nothing has changed."""
        attempt = self._attempt
        if attempt is None or not attempt.answered or not self._request.stream or not self.owed:
            return None
        meter = attempt.relay.meter
        meter.delivered_to(attempt.sink.delivered_bytes)  # whatever the figures: it lets go of that
        if not meter.has_output or (tokens := meter.received_tokens()) == self._progress_tokens:
            return None
        self._progress_tokens = tokens
        usage = self._measuring.usage_so_far(attempt, tokens)
        tier = self._measuring.service_tier(meter)
        charge = charge_nanodollars(usage, self._price, tier)
        return ProgressEntry(
            request_id=self.receipt.request_id,
            usage=usage.units(),
            charge_nanodollars=min(charge, self._hold.amount_nanodollars),
            received_output_tokens=tokens,
            delivered_output_tokens=self._delivered(attempt, tokens),
            costs=self._costs(charge_nanodollars(usage, self._deployment.cost, tier)),
        )

    def client_left(self) -> None:
        """The client has gone and its stream is read on: what it got is known, and shown."""
        attempt = self._attempt
        assert attempt is not None, "there is a stream to read on"
        received = attempt.relay.meter.received_tokens()
        self._delivered_at_leave = min(received, delivered_tokens(attempt))
        self.receipt = self.receipt.replace(
            outcome=Outcome.CLIENT_LEFT,
            state="settling",
            received_output_tokens=received,
            delivered_output_tokens=self._delivered_at_leave,
        )
        self._ledger.note(self._hold, self.receipt)

    def settle(
        self,
        outcome: Outcome,
        error: GatewayError | None = None,
        *,
        drained: bool = False,
        flags: tuple[str, ...] = (),
        answer: Callable[[], StoredAnswer | None] = lambda: None,
    ) -> Usage:
        """End the exchange: post what is owed, release the rest, write the receipt. Once.

        `drained`: all of the answer was read, though the client had left. `flags` go onto the
        receipt. `answer` is asked, when the receipt is there, for what is to be kept with it.

        Returns the usage that was billed or, where nothing was, consumed.
        """
        assert self._settlement is None, "an exchange is settled once"
        attempt = self._attempt
        received = delivered = 0
        # After a fault of ours nothing is measured: the fault may be the measuring.
        if attempt is not None and outcome is not Outcome.GATEWAY_FAILED:
            received = attempt.relay.meter.received_tokens()
            delivered = self._delivered(attempt, received)
            if outcome is Outcome.COMPLETED and not self._request.stream:
                delivered = received  # all of it goes out next, or nothing
        bill = self._measuring.bill(outcome, attempt, drained=drained)
        hold = self._hold
        short = bill.charge_nanodollars - hold.amount_nanodollars
        spendable = self._ledger.spendable_nanodollars(hold.account_id, hold.key_id)
        if short > 0 and spendable > 0:
            # The provider's own figures may exceed what was held: what there is, pays.
            self._ledger.extend(hold, min(short, spendable))
        posted = min(bill.charge_nanodollars, hold.amount_nanodollars)
        overrun = 0
        if attempt is not None and attempt.relay.meter.reported is not None:
            overrun = bill.charge_nanodollars - posted
        self._log.note("ended_ms", "settled_ms")
        price_rates, cost_rates = self._measuring.rates(bill.measured)
        self.receipt = self.receipt.replace(
            outcome=outcome,
            state="settled",
            attempts=self._log.receipts(attempt, outcome, error, bill.cost_nanodollars),
            usage=bill.usage.units(),
            provenance=bill.provenance,
            usage_provenance=bill.measured.provenance,
            counted_by=self._measuring.counted_by(bill.measured),
            service_tier=bill.measured.service_tier,
            rates_picodollars=price_rates,
            cost_rates_picodollars=cost_rates,
            received_output_tokens=received,
            delivered_output_tokens=delivered,
            price_nanodollars=posted,
            cost_nanodollars=bill.cost_nanodollars,
            overrun_nanodollars=overrun,
            flags=(*self.receipt.flags, *self._flags, *flags, *bill.measured.flags),
            error=None if error is None else ReceiptError(error.code, error.message),
            timings=self._log.timings,
        )
        self._settlement = self._end(bill, answer())
        self._measuring.forget_prompt()
        return bill.usage

    def _end(self, bill: funds.Bill, answer: StoredAnswer | None) -> Ticket:
        """End the hold as the receipt says."""
        hold, receipt, costs = self._hold, self.receipt, self._costs(bill.cost_nanodollars)
        if not bill.charge_nanodollars:
            return self._ledger.void(hold, costs=costs, receipt=receipt, answer=answer)
        return self._ledger.settle(
            hold,
            posted_nanodollars=receipt.price_nanodollars,
            overrun_nanodollars=receipt.overrun_nanodollars,
            costs=costs,
            receipt=receipt,
            answer=answer,
        )

    def abandon(self, error: GatewayError | None) -> Usage:
        """The settlement has failed for a fault of ours. What cannot be measured is not charged;
        the hold ends all the same."""
        try:
            return self.settle(Outcome.GATEWAY_FAILED, error)
        except Exception:
            if not self.owed:
                raise
            self.receipt = self.receipt.replace(outcome=Outcome.GATEWAY_FAILED, state="settled")
            self._settlement = self._ledger.void(self._hold, costs=(), receipt=self.receipt)
            return Usage()

    async def release_prompt(self) -> None:
        """The memory of the prompt is wanted; its tokens can be counted all the same."""
        await self._measuring.release_prompt()

    async def wait_hold_durable(self) -> None:
        """The first barrier: no generated byte leaves before this returns.

        Raises:
            UnavailableError: the journal did not commit in time.
        """
        if not await self._wait_durable(self._hold.ticket):
            raise UnavailableError("The gateway cannot record the request now.", retry_after_s=5)
        self._log.note("hold_durable_ms")

    async def wait_settlement_durable(self) -> None:
        """The second barrier: the end of the answer leaves after this returns.

        Past its deadline the ending is released all the same and the receipt says `pending`; the
        ledger closes admission until its journal is well.
        """
        assert self._settlement is not None
        if await self._wait_durable(self._settlement):
            self.receipt = self.receipt.replace(durability="durable")

    def head_ready(self) -> None:
        """Note the time for the receipt."""
        self._log.note("head_ms")

    async def _wait_durable(self, ticket: Ticket) -> bool:
        if self._ledger.is_durable(ticket):
            return True
        with trio.CancelScope(shield=True) as scope:
            scope.deadline = trio.current_time() + self._barrier_timeout_s
            await self._ledger.wait_durable(ticket)
        return self._ledger.is_durable(ticket)

    def _over_budget(self, amount_nanodollars: int) -> BudgetExceededError | None:
        receipt = self.receipt
        return self._ledger.budget_refusal(receipt.account_id, receipt.key_id, amount_nanodollars)

    def _note_budget(self, amount_nanodollars: int) -> None:
        """Say on the receipt that a budget cut the answer, or lowered its limit, if one has."""
        if self._over_budget(amount_nanodollars) is not None:
            self._flags = (_BUDGET,)

    def _delivered(self, attempt: Attempt, received_tokens: int) -> int:
        if self._delivered_at_leave is not None:
            return self._delivered_at_leave
        return min(received_tokens, delivered_tokens(attempt))

    def _costs(self, amount_nanodollars: int) -> tuple[CostLine, ...]:
        if not amount_nanodollars:
            return ()
        return (CostLine(self._deployment.provider, amount_nanodollars),)
