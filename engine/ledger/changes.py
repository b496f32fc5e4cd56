"""What operators change while the gateway runs, told to whoever keeps it in memory.

A listener is called in the Trio thread, without a checkpoint, in the order of the journal. What
restricts (a key is closed, something is switched off) is told before it is written down, and again
once it is: whoever follows takes the same change twice, and changes of what it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from engine.ledger.records import KeyRow, TermsRow

PriceScope = Literal["account", "plan", "all"]
SwitchKind = Literal["provider", "deployment", "model", "key", "account"]


@dataclass(frozen=True, slots=True)
class KeyPut:
    """A key is valid from now on."""

    key: KeyRow
    terms: TermsRow


@dataclass(frozen=True, slots=True)
class KeyClosed:
    """A key is valid no more, for good."""

    key_id: str


@dataclass(frozen=True, slots=True)
class TermsSet:
    """A key has other terms. It may have been closed before."""

    key_id: str
    terms: TermsRow


@dataclass(frozen=True, slots=True)
class AccountSet:
    """How an account stands. Whoever never heard of one: no plan, not off.

    Attributes:
        plan: its name; None: none.
        off: an operator has switched it off, which is told as `Switched` too.
    """

    account_id: str
    plan: str | None
    off: bool


@dataclass(frozen=True, slots=True)
class PlanSet:
    """A plan that operators have made; without a body it is gone.

    Attributes:
        body: JSON that its maker understands.
    """

    name: str
    body: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class PriceSet:
    """A price that operators have set for a model; without rates there is none any more.

    Attributes:
        owner: the account's id or the plan's name; empty for the scope "all".
        rates: JSON that its maker understands.
    """

    scope: PriceScope
    owner: str
    model: str
    rates: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Switched:
    """Something is switched off, or on again."""

    kind: SwitchKind
    subject: str
    off: bool
    reason: str


Change = KeyPut | KeyClosed | TermsSet | AccountSet | PlanSet | PriceSet | Switched
