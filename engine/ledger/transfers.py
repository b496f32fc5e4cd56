"""The rules of money, pure: no I/O, no clock, integers only (nanodollars).

A transfer is a set of postings that sums to zero; a balance is the sum of its postings; a transfer
never changes. A settlement takes from the hold what was consumed; what was consumed above the hold
is the house's overrun; what the providers charge is the house's cost.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from engine.ledger.records import CostLine

HOUSE_REVENUE = "house:revenue"
HOUSE_OVERRUN = "house:overrun"
HOUSE_COST = "house:cost"
HOUSE_FUNDING = "house:funding"
HOUSE_ADJUSTMENT = "house:adjustment"
HOUSE_ACCOUNTS = (HOUSE_REVENUE, HOUSE_OVERRUN, HOUSE_COST, HOUSE_FUNDING, HOUSE_ADJUSTMENT)
PROVIDER_PREFIX = "provider:"

AMOUNT_MAX_NANODOLLARS = 10**16
"""Ten million dollars: what one call may name, so that sums stay far within 64 bits."""

TEXT_MAX = 1_000
"""Characters of a reason or a reference."""

TransferKind = Literal[
    "funding", "charge", "overrun", "cost", "refund", "adjustment", "reconciliation"
]


@dataclass(frozen=True, slots=True)
class Posting:
    """One side of a transfer: what an account gains (positive) or gives (negative)."""

    account_id: str
    amount_nanodollars: int


@dataclass(frozen=True, slots=True)
class Transfer:
    """Money moved at one moment for one reason.

    Raises:
        ValueError: the postings do not sum to zero, or fewer than two accounts take part.
    """

    kind: TransferKind
    postings: tuple[Posting, ...]
    request_id: str | None = None
    reason: str | None = None
    reference: str | None = None

    def __post_init__(self) -> None:
        if sum([posting.amount_nanodollars for posting in self.postings]) != 0:
            raise ValueError(f"the postings of a {self.kind} do not sum to zero")
        if len({posting.account_id for posting in self.postings}) < 2:
            raise ValueError(f"a {self.kind} needs two accounts")


def provider_account(provider: str) -> str:
    """The account that collects what one provider charges."""
    return PROVIDER_PREFIX + provider


def check_amount(amount_nanodollars: int) -> int:
    """The amount itself.

    Raises:
        ValueError: it is negative or above `AMOUNT_MAX_NANODOLLARS`.
    """
    if amount_nanodollars < 0:
        raise ValueError("an amount is not less than nothing")
    if amount_nanodollars > AMOUNT_MAX_NANODOLLARS:
        dollars = AMOUNT_MAX_NANODOLLARS // 1_000_000_000
        raise ValueError(f"an amount is at most {dollars:,} US dollars at once")
    return amount_nanodollars


def check_positive(amount_nanodollars: int) -> int:
    """The amount itself. Raises ValueError also for zero."""
    if check_amount(amount_nanodollars) == 0:
        raise ValueError("an amount is more than nothing")
    return amount_nanodollars


def within_hold(
    posted_nanodollars: int, overrun_nanodollars: int, held_nanodollars: int
) -> tuple[int, int]:
    """What the customer pays and what the house does: the part above the hold is overrun."""
    excess = max(0, posted_nanodollars - held_nanodollars)
    return posted_nanodollars - excess, overrun_nanodollars + excess


def settlement(
    account_id: str,
    request_id: str,
    *,
    posted_nanodollars: int,
    overrun_nanodollars: int,
    costs: Sequence[CostLine],
    reason: str | None = None,
) -> tuple[Transfer, ...]:
    """The transfers of one settlement; nothing is moved for an amount of zero.

    Customer −posted, revenue +posted. Overrun: `house:overrun` −x, revenue +x. Cost, one transfer
    a provider: `house:cost` −c, `provider:<name>` +c.

    Raises:
        ValueError: an amount is negative or absurd.
    """
    transfers = []
    if check_amount(posted_nanodollars):
        postings = _move(account_id, HOUSE_REVENUE, posted_nanodollars)
        transfers.append(Transfer("charge", postings, request_id, reason))
    if check_amount(overrun_nanodollars):
        postings = _move(HOUSE_OVERRUN, HOUSE_REVENUE, overrun_nanodollars)
        transfers.append(Transfer("overrun", postings, request_id, reason))
    for provider, amount_nanodollars in _by_provider(costs).items():
        postings = _move(HOUSE_COST, provider_account(provider), amount_nanodollars)
        transfers.append(Transfer("cost", postings, request_id, reason))
    return tuple(transfers)


def funding(account_id: str, amount_nanodollars: int, reference: str) -> Transfer:
    """Money that comes in from outside.

    Raises:
        ValueError: the amount is not positive, or absurd; no reference.
    """
    check_positive(amount_nanodollars)
    _check_text("a funding", "reference", reference)
    postings = _move(HOUSE_FUNDING, account_id, amount_nanodollars)
    return Transfer("funding", postings, reference=reference)


def refund(
    account_id: str, request_id: str, amount_nanodollars: int, reason: str, reference: str
) -> Transfer:
    """Part or all of a charge, given back.

    Raises:
        ValueError: the amount is not positive, or absurd; no reason or reference.
    """
    check_positive(amount_nanodollars)
    _check_why(reason, reference)
    postings = _move(HOUSE_REVENUE, account_id, amount_nanodollars)
    return Transfer("refund", postings, request_id, reason, reference)


def adjustment(account_id: str, amount_nanodollars: int, reason: str, reference: str) -> Transfer:
    """A correction that belongs to no request: positive gives to the account, negative takes.

    Raises:
        ValueError: the amount is zero, or absurd; no reason or reference.
    """
    if check_amount(abs(amount_nanodollars)) == 0:
        raise ValueError("the amount must not be zero")
    _check_why(reason, reference)
    postings = _move(HOUSE_ADJUSTMENT, account_id, amount_nanodollars)
    return Transfer("adjustment", postings, None, reason, reference)


def reconciliation(provider: str, amount_nanodollars: int, reason: str, reference: str) -> Transfer:
    """What a provider charges more (negative: less) than its attempts were known to cost.

    Raises:
        ValueError: the amount is zero, or absurd; no reason or reference.
    """
    if check_amount(abs(amount_nanodollars)) == 0:
        raise ValueError("the amount must not be zero")
    _check_why(reason, reference)
    postings = _move(HOUSE_COST, provider_account(provider), amount_nanodollars)
    return Transfer("reconciliation", postings, None, reason, reference)


def _check_why(reason: str, reference: str) -> None:
    _check_text("a correction", "reason", reason)
    _check_text("a correction", "reference", reference)


def _check_text(of: str, name: str, text: str) -> None:
    if not text.strip():
        raise ValueError(f"{of} needs a {name}")
    if len(text) > TEXT_MAX or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError(f"the {name} is no text of at most {TEXT_MAX} characters")


def changes(transfers: Iterable[Transfer]) -> dict[str, int]:
    """What each account gains or gives in all of these transfers together."""
    totals: dict[str, int] = {}
    for transfer in transfers:
        for posting in transfer.postings:
            account_id = posting.account_id
            totals[account_id] = totals.get(account_id, 0) + posting.amount_nanodollars
    return totals


def _move(giver: str, taker: str, amount_nanodollars: int) -> tuple[Posting, Posting]:
    return Posting(giver, -amount_nanodollars), Posting(taker, amount_nanodollars)


def _by_provider(costs: Sequence[CostLine]) -> dict[str, int]:
    totals: dict[str, int] = {}
    for cost in costs:
        if check_amount(cost.amount_nanodollars):
            totals[cost.provider] = totals.get(cost.provider, 0) + cost.amount_nanodollars
    return totals
