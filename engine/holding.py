"""The funds that one exchange holds: how much at first, how much more as it goes on.

Synchronous: nothing that changes the books has a checkpoint in it. Attempts that run at the same
time share what is held, because the customer pays one of them: it covers the dearest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from engine import funds
from engine.config import BillingConfig
from engine.errors import BudgetExceededError, InsufficientFundsError
from engine.ledger.job_rows import JobRow
from engine.ledger.ledger import Ledger
from engine.ledger.receipts import Receipt
from engine.ledger.records import Hold, IdempotencyKey
from engine.leg import Leg
from engine.metering.pricing import (
    Ceiling,
    Rates,
    bound_nanodollars,
    extension_nanodollars,
)
from engine.parsing.jobs import Prepared
from engine.relay import Relay
from engine.routing.values import Candidate

_BUDGET = "budget"
"""The flag of a receipt whose answer a budget has cut, or lowered the limit of."""


class Holding:
    """Of one exchange.

    Attributes:
        held: what is held; None before.
        covered_tokens: the output that it covers, of an attempt that has yet to generate any; None
            where output is free.
        flags: for the receipt.
    """

    __slots__ = (
        "_account_id",
        "_affordable",
        "_bounds",
        "_ceiling",
        "_choices",
        "_dearest",
        "_first",
        "_key_id",
        "_ledger",
        "_max_output_tokens",
        "_of_job",
        "_output_max",
        "_settings",
        "_stream",
        "covered_tokens",
        "flags",
        "held",
    )

    def __init__(
        self,
        ledger: Ledger,
        settings: BillingConfig,
        *,
        account_id: str,
        key_id: str | None,
        prepared: Prepared,
        ceiling: Ceiling,
        planned: Sequence[Candidate[Rates]],
    ) -> None:
        """`ceiling` is of the first attempt; others of what is `planned` may follow it."""
        self._ledger = ledger
        self._settings = settings
        self._account_id = account_id
        self._key_id = key_id
        self._of_job = prepared.request.job is not None
        self._stream = prepared.request.stream and not self._of_job
        """It can be extended, or cut: what its provider goes on with by itself can be neither."""
        self._choices = prepared.request.choices
        self._bounds = bounds = prepared.bounds
        self._first = self._ceiling = self._dearest = ceiling
        """`_ceiling` is what a token can cost at most, of what is held for."""
        model = planned[0].model
        for candidate in planned:
            if candidate.model is not model:
                price, model = candidate.model.price, candidate.model
                other = price.ceiling(bounds.input_tokens, bounds.service_tier, bounds.pieces)
                self._dearest = _dearest(self._dearest, other)
        self._max_output_tokens = prepared.max_output_tokens
        self._output_max = self._output_max_of(prepared)
        self._affordable: int | None = None
        """Tokens that each attempt has been limited to for want of funds."""
        self.covered_tokens: int | None = None
        self.held: Hold | None = None
        self.flags: tuple[str, ...] = ()

    @property
    def hold(self) -> Hold:
        """What is held."""
        assert self.held is not None, "nothing is spent before it is held"
        return self.held

    def first_slice(self) -> funds.FirstSlice:
        """What would be held now: enough for the dearest planned attempt or, where that would lower
        or refuse what is asked, for the first one. Then others are held for when they are made.

        Raises:
            BudgetExceededError: a budget does not cover a useful minimum.
            InsufficientFundsError: the account does not.
        """
        if self._dearest is not self._first:
            try:
                first = self._slice(self._dearest)
            except InsufficientFundsError:
                first = None
            if first is not None and first.lowered_limit is None:
                self._ceiling = self._dearest
                return first
        try:
            self._ceiling = self._first
            return self._slice(self._first)
        except InsufficientFundsError as error:
            raise self._over_budget(self._available()) or error from None

    def _slice(self, ceiling: Ceiling) -> funds.FirstSlice:
        return funds.first_slice(
            input_bound_tokens=self._bounds.input_tokens,
            max_output_tokens=self._max_output_tokens,
            choices=self._choices,
            stream=self._stream,
            unseen_tokens=self._bounds.output_tokens,
            ceiling=ceiling,
            available_nanodollars=self._spendable(),
            settings=self._settings,
            lowerable=self._bounds.demand is None or self._bounds.demand.lowerable,
        )

    def take(
        self,
        first: funds.FirstSlice,
        receipt: Receipt,
        idempotency: IdempotencyKey | None,
        job: JobRow | None = None,
    ) -> None:
        """Hold the first slice. Raises UnavailableError: the ledger takes no charges now."""
        if first.lowered_limit is not None:
            self._note_budget(self._available())
        self.held = self._ledger.hold(
            self._account_id,
            receipt.request_id,
            first.amount_nanodollars,
            receipt,
            idempotency=idempotency,
            job=job,
        )
        self.covered_tokens = None if self._of_job else first.covered_tokens
        if first.lowered_limit is not None:
            self._affordable = first.lowered_limit * self._choices

    def cover_further(self, leg: Leg, owed_nanodollars: int, *, afresh: bool) -> bool:
        """Hold what another attempt may need beyond what is held, and limit its output to that.
        False, and no change, when funds do not cover it.

        `owed_nanodollars` are charged already, for what was written of the answer before it. One
        that writes on begins `afresh`, with a slice of its own; any other one may generate what the
        one before it may.
        """
        prepared, bounds = leg.prepared, leg.prepared.bounds
        ceiling = _dearest(self._ceiling, leg.measuring.ceiling)
        wanted = funds.wanted_tokens(
            max_output_tokens=prepared.max_output_tokens,
            choices=self._choices,
            stream=self._stream,
            unseen_tokens=bounds.output_tokens,
            settings=self._settings,
        )
        if self._affordable is not None:
            wanted = min(wanted, self._affordable)
        if not afresh:
            wanted = max(wanted, self.covered_tokens or 0)
        bound = bound_nanodollars(bounds.input_tokens, wanted, leg.measuring.ceiling)
        needed = owed_nanodollars + bound
        short = needed - self.hold.amount_nanodollars
        if short > 0 and not self._ledger.extend(self.hold, short):
            return False
        self._ceiling = ceiling
        self.covered_tokens = wanted if ceiling.output and not self._of_job else None
        output_max = self._output_max_of(prepared)
        self._output_max = output_max if afresh else max(output_max, self._output_max)
        leg.attempt.relay.output_limit = self.covered_tokens
        return True

    def extend(self, relay: Relay) -> bool:
        """Hold more when three quarters of a slice are spent; True if the relay had stopped at its
        limit and may go on now."""
        limit, covered = relay.output_limit, self.covered_tokens
        if limit is None or covered is None:
            return False
        if limit < covered:  # it was held for another attempt, of which only one is paid
            relay.output_limit = covered
            return relay.exhausted
        more = self._settings.output_slice_tokens
        if relay.exhausted:
            more = max(more, relay.meter.wanted_tokens - covered)
        elif covered >= self._output_max or not funds.extension_due(
            covered, relay.meter.spent_tokens, more
        ):
            return False
        amount_nanodollars = extension_nanodollars(more, self._ceiling)
        if not self._ledger.extend(self.hold, amount_nanodollars):
            if relay.exhausted:
                self._note_budget(amount_nanodollars)
            return False
        self.covered_tokens = relay.output_limit = covered + more
        return relay.exhausted

    def cover(self, charge_nanodollars: int) -> int:
        """What of a charge can be posted: the provider's own figures may exceed what was held, and
        then what there is, pays."""
        short = charge_nanodollars - self.hold.amount_nanodollars
        if short > 0 and (spendable := self._spendable()) > 0:
            self._ledger.extend(self.hold, min(short, spendable))
        return min(charge_nanodollars, self.hold.amount_nanodollars)

    def _output_max_of(self, prepared: Prepared) -> float:
        each = prepared.max_output_tokens
        return math.inf if each is None else each * self._choices

    def _spendable(self) -> int:
        return self._ledger.spendable_nanodollars(self._account_id, self._key_id)

    def _available(self) -> int:
        return self._ledger.available_nanodollars(self._account_id)

    def _over_budget(self, amount_nanodollars: int) -> BudgetExceededError | None:
        return self._ledger.budget_refusal(self._account_id, self._key_id, amount_nanodollars)

    def _note_budget(self, amount_nanodollars: int) -> None:
        """Say on the receipt that a budget cut the answer, or lowered its limit, if one has."""
        if self._over_budget(amount_nanodollars) is not None:
            self.flags = (_BUDGET,)


def _dearest(one: Ceiling, other: Ceiling) -> Ceiling:
    """What either of them can cost."""
    return Ceiling(
        input=max(one.input, other.input),
        output=max(one.output, other.output),
        fixed=max(one.fixed, other.fixed),
    )
