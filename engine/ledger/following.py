"""Who is told what operators change, and what the ledger itself keeps of it in memory."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable

from engine.ledger.changes import AccountSet, Change, Switched, SwitchKind
from engine.ledger.records import ConflictError

Listener = Callable[[Change], None]


class Following:
    """The plans of accounts and what is switched off; and everybody who follows changes.

    In the Trio thread only, without a checkpoint.
    """

    def __init__(self) -> None:
        self._listeners: list[Listener] = []
        self._plans: dict[str, str] = {}
        self._coming: Counter[str] = Counter()
        self._removing: Counter[str] = Counter()
        self._off: dict[tuple[str, str], Switched] = {}

    def add(self, listener: Listener) -> None:
        """Tell this one of every change from now on."""
        self._listeners.append(listener)

    def announce(self, change: Change) -> None:
        """A change holds from now on."""
        match change:
            case AccountSet(account_id, plan, _):
                if plan is None:
                    self._plans.pop(account_id, None)
                else:
                    self._plans[account_id] = sys.intern(plan)
            case Switched(kind, subject, off, _):
                if off:
                    self._off[kind, subject] = change
                else:
                    self._off.pop((kind, subject), None)
            case _:
                pass
        for listener in self._listeners:
            listener(change)

    def plan_of(self, account_id: str) -> str | None:
        """The name of the plan that an account is on, if it is on one."""
        return self._plans.get(account_id)

    def plans_in_use(self) -> dict[str, int]:
        """How many accounts are on each plan that has any, or are about to come to it."""
        return dict(Counter(self._plans.values()) + self._coming)

    def coming(self, plan: str | None) -> Callable[[], None]:
        """An account is on its way to a plan, until what this returns is called: nobody takes the
        plan away meanwhile. Raises ConflictError: somebody does."""
        if plan is None:
            return _nothing
        if self._removing[plan]:
            raise ConflictError(f"The plan '{plan}' is being removed.")
        return _counted(self._coming, plan)

    def removing(self, plan: str) -> Callable[[], None]:
        """A plan is being removed, until what this returns is called: no account comes to it."""
        return _counted(self._removing, plan)

    def is_off(self, kind: SwitchKind, subject: str) -> bool:
        """Whether an operator has switched it off."""
        return (kind, subject) in self._off

    def switched_off(self) -> list[Switched]:
        """What is off, in the order it was switched."""
        return list(self._off.values())


def _counted(counts: Counter[str], name: str) -> Callable[[], None]:
    counts[name] += 1

    def end() -> None:
        counts[name] -= 1
        if not counts[name]:
            del counts[name]

    return end


def _nothing() -> None:
    """Nobody is on the way."""
