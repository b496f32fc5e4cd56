"""The books in memory: what each account has and holds. Synchronous, no I/O, no clock.

The books change at once; the journal makes the same change durable a moment later.
"""

from __future__ import annotations

from collections.abc import Iterable

from engine.errors import InsufficientFundsError, NotFoundError
from engine.ledger.budgets import Budgets, Crossing
from engine.ledger.receipts import format_usd
from engine.ledger.transfers import Transfer, changes


class Allowance:
    """What this node may spend for one account: granted funds, part of them held.

    With one process and one database the grant is the whole balance. A node of a cluster would be
    granted a slice; holds stay synchronous either way, and slices never exceed the balance.
    """

    __slots__ = ("granted_nanodollars", "held_nanodollars")

    def __init__(self, granted_nanodollars: int) -> None:
        self.granted_nanodollars = granted_nanodollars
        self.held_nanodollars = 0

    @property
    def available_nanodollars(self) -> int:
        return self.granted_nanodollars - self.held_nanodollars

    def reserve(self, amount_nanodollars: int) -> bool:
        """Hold this much, or nothing: False when less is available."""
        if amount_nanodollars > self.available_nanodollars:
            return False
        self.held_nanodollars += amount_nanodollars
        return True

    def release(self, amount_nanodollars: int) -> None:
        """Give a hold back."""
        assert amount_nanodollars <= self.held_nanodollars, "released more than was held"
        self.held_nanodollars -= amount_nanodollars


class Books:
    """Balances of all accounts; the allowances of the customers among them, and their budgets."""

    def __init__(self) -> None:
        self._allowances: dict[str, Allowance] = {}
        self._house: dict[str, int] = {}
        self.budgets = Budgets()

    def add_customer(self, account_id: str, balance_nanodollars: int = 0) -> None:
        """Know this account; one already known stays as it is."""
        if account_id not in self._allowances:
            self._allowances[account_id] = Allowance(balance_nanodollars)

    def add_house(self, account_id: str, balance_nanodollars: int = 0) -> None:
        """Know this account of the house or of a provider."""
        self._house.setdefault(account_id, balance_nanodollars)

    def allowance(self, account_id: str) -> Allowance:
        """Raises NotFoundError for an account that is not a customer's."""
        try:
            return self._allowances[account_id]
        except KeyError:
            raise NotFoundError("There is no such account.") from None

    def spendable_nanodollars(self, account_id: str, key_id: str | None, at_ms: int) -> int:
        """What is available, within what the hard budgets leave. Raises NotFoundError."""
        available = self.allowance(account_id).available_nanodollars
        room = self.budgets.room(account_id, key_id, at_ms)
        return available if room is None else max(0, min(available, room))

    def reserve(
        self, account_id: str, key_id: str | None, amount_nanodollars: int, at_ms: int
    ) -> None:
        """Hold this much of the account and of the budgets.

        Raises:
            BudgetExceededError: a hard budget leaves less; nothing was held.
            InsufficientFundsError: less is available; nothing was held.
            NotFoundError: no such account.
        """
        allowance = self.allowance(account_id)
        refusal = self.budgets.refusal(account_id, key_id, amount_nanodollars, at_ms)
        if refusal is not None:
            raise refusal
        if not allowance.reserve(amount_nanodollars):
            raise InsufficientFundsError(
                f"The account has ${format_usd(max(0, allowance.available_nanodollars))} available;"
                f" this request needs ${format_usd(amount_nanodollars)}."
            )
        self.budgets.reserve(account_id, key_id, amount_nanodollars)

    def adopt(self, account_id: str, key_id: str | None, amount_nanodollars: int) -> None:
        """Go on holding what an earlier process held: that was covered then."""
        self.allowance(account_id).held_nanodollars += amount_nanodollars
        self.budgets.reserve(account_id, key_id, amount_nanodollars)

    def grow(
        self, account_id: str, key_id: str | None, amount_nanodollars: int, at_ms: int
    ) -> bool:
        """Hold this much more, or nothing: False when funds or a budget leave less."""
        if self.budgets.refusal(account_id, key_id, amount_nanodollars, at_ms) is not None:
            return False
        if not self.allowance(account_id).reserve(amount_nanodollars):
            return False
        self.budgets.reserve(account_id, key_id, amount_nanodollars)
        return True

    def end(
        self,
        account_id: str,
        key_id: str | None,
        held_nanodollars: int,
        posted_nanodollars: int,
        at_ms: int,
    ) -> list[Crossing]:
        """Give a hold back, and count against the budgets what was posted of it; which soft
        percentages that has reached. The balances change by `apply`."""
        self.allowance(account_id).release(held_nanodollars)
        self.budgets.reserve(account_id, key_id, -held_nanodollars)
        return self.budgets.spend(account_id, key_id, posted_nanodollars, at_ms)

    def apply(self, transfers: Iterable[Transfer]) -> None:
        """Change the balances; accounts of providers appear as they are first paid."""
        for account_id, amount_nanodollars in changes(transfers).items():
            allowance = self._allowances.get(account_id)
            if allowance is not None:
                allowance.granted_nanodollars += amount_nanodollars
            else:
                self._house[account_id] = self._house.get(account_id, 0) + amount_nanodollars

    def revert(self, transfers: Iterable[Transfer]) -> None:
        """Take back what `apply` did, for transfers the database has refused."""
        for account_id, amount_nanodollars in changes(transfers).items():
            allowance = self._allowances.get(account_id)
            if allowance is not None:
                allowance.granted_nanodollars -= amount_nanodollars
            else:
                self._house[account_id] -= amount_nanodollars

    @property
    def held_nanodollars(self) -> int:
        return sum(allowance.held_nanodollars for allowance in self._allowances.values())

    def balances(self) -> dict[str, int]:
        """Every account's balance, the house's included. They sum to zero."""
        customers = {key: value.granted_nanodollars for key, value in self._allowances.items()}
        return customers | self._house
