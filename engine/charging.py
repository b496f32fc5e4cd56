"""Charges that stand by themselves: for what a provider keeps or runs for an account, and is no
answer of a model. Each has a hold, a receipt, and an attempt that says what it cost the house.

Prices are `[state.prices]`, else the provider's list times the markup. The list is OpenAI's page of
prices: a session of code in a container of 1 GB, a gigabyte of vector stores for a day. A search of
a vector store that no response asks for is not on it, and costs nothing unless the operator says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

import trio

from engine.config import Config
from engine.events import Outcome, Provenance
from engine.ledger.receipts import Attempt, Receipt
from engine.ledger.records import AttemptRow, CostLine, Hold, Ticket
from engine.metering.pricing import Rates, charge_nanodollars, rate_picodollars
from engine.parts import Parts
from engine.usage import MoreUnit, Usage

_LIST: Final = Rates(
    more={
        "code_sessions": rate_picodollars(Decimal("0.03"), "code_sessions"),
        "megabyte_days": rate_picodollars(Decimal("0.1"), "megabyte_days"),
    }
)


@dataclass(frozen=True, slots=True)
class Bill:
    """What is to be charged to whom.

    Attributes:
        request_id: of the receipt; nobody is charged twice for one.
        operation: as the receipt calls it.
        about: what it is for, as the receipt's `client_request_id`.
        provider: its name in the configuration.
    """

    request_id: str
    account_id: str
    key_id: str | None
    operation: str
    model: str
    provider: str
    units: Mapping[MoreUnit, int]
    about: str | None = None


class Charge:
    """One that is held for; made by `Charging.open`."""

    def __init__(self, parts: Parts, bill: Bill) -> None:
        self._parts = parts
        self._bill = bill
        self._price, self._cost = rates_of(parts.config)
        self._usage = Usage(more=dict(bill.units))
        self._price_nanodollars = charge_nanodollars(self._usage, self._price)
        self._cost_nanodollars = charge_nanodollars(self._usage, self._cost)
        self._receipt = _opening(bill, self._price, self._cost, parts)
        self._hold: Hold | None = None
        self._settlement: Ticket | None = None

    def hold(self) -> None:
        """Take what may be owed; what costs nothing leaves no trace. Raises as `Charging.open`."""
        if not self._price_nanodollars and not self._cost_nanodollars:
            return
        bill, ledger = self._bill, self._parts.ledger
        self._hold = ledger.hold(
            bill.account_id, bill.request_id, self._price_nanodollars, self._receipt
        )
        ledger.attempt(
            self._hold, AttemptRow(1, bill.provider, bill.model, self._receipt.created_at_ms)
        )

    def settle(self) -> None:
        """It is owed. Once."""
        if self._hold is None:
            return
        bill, cost = self._bill, self._cost_nanodollars
        units = {str(unit): count for unit, count in bill.units.items()}
        told = dict.fromkeys(units, Provenance.REPORTED)
        attempt = replace(
            self._attempt(Outcome.COMPLETED),
            won=True,
            usage=units,
            usage_provenance=told,
            price_nanodollars=self._price_nanodollars,
            cost_nanodollars=cost,
        )
        self._settlement = self._parts.ledger.settle(
            self._hold,
            posted_nanodollars=self._price_nanodollars,
            overrun_nanodollars=0,
            costs=[CostLine(bill.provider, cost)] if cost else (),
            receipt=self._receipt.replace(
                outcome=Outcome.COMPLETED,
                provider=bill.provider,
                model_used=bill.model,
                attempts=(attempt,),
                usage=units,
                usage_provenance=told,
                provenance=Provenance.REPORTED,
            ),
        )

    def give_back(self) -> None:
        """It is not owed, unless it was settled."""
        if self._hold is not None and self._hold.open:
            outcome = Outcome.UPSTREAM_FAILED
            receipt = self._receipt.replace(outcome=outcome, attempts=(self._attempt(outcome),))
            self._parts.ledger.void(self._hold, costs=(), receipt=receipt)

    async def wait_durable(self) -> None:
        """Wait until what was settled would survive a crash; no longer than answers wait for it."""
        if self._settlement is not None:
            with trio.move_on_after(self._parts.config.storage.barrier_timeout_s, shield=True):
                await self._parts.ledger.wait_durable(self._settlement)

    def _attempt(self, outcome: Outcome) -> Attempt:
        took_ms = float(self._parts.clock() - self._receipt.created_at_ms)
        bill = self._bill
        return Attempt(
            1, bill.provider, bill.model, outcome=str(outcome), started_ms=0.0, ended_ms=took_ms
        )


class Charging:
    """Of one gateway."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @contextmanager
    def open(self, bill: Bill) -> Iterator[Charge]:
        """Hold for what may be owed, for the block, which settles it; else it is given back.

        Raises:
            InsufficientFundsError, BudgetExceededError: it is not covered.
            UnavailableError: the ledger takes no charges now.
        """
        charge = Charge(self._parts, bill)
        charge.hold()
        try:
            yield charge
        finally:
            charge.give_back()


def rates_of(config: Config) -> tuple[Rates, Rates]:
    """What customers pay, and what the house does."""
    listed = _LIST.times(config.billing.markup)
    said = {unit: rate_picodollars(usd, unit) for unit, usd in config.state.prices.units().items()}
    return Rates(more={**listed.more, **said}), _LIST


def _opening(bill: Bill, price: Rates, cost: Rates, parts: Parts) -> Receipt:
    def known(rates: Rates) -> dict[str, int]:
        return {str(unit): rates.more[unit] for unit in bill.units if unit in rates.more}

    return Receipt(
        request_id=bill.request_id,
        account_id=bill.account_id,
        key_id=bill.key_id,
        created_at_ms=parts.clock(),
        operation=bill.operation,
        protocol="openai",
        stream=False,
        model=bill.model,
        client_request_id=bill.about,
        credits_per_usd=parts.config.billing.credits_per_usd,
        rates_picodollars=known(price),
        cost_rates_picodollars=known(cost),
    )
