"""What a configuration can say of who may do what: operators, plans, limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from engine.admission.keys import KEY_PREFIX
from engine.config_prices import PriceConfig
from engine.config_state import Family

ADMIN_VARIABLE: Final = "PARSHALL_ADMIN_KEY"
"""Of the environment: it stands in for a `secret` of `[admin]` that is left out."""


@dataclass(frozen=True, slots=True)
class OperatorConfig:
    """One of several operators; the name of the table is who did it in the log."""

    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class AdminConfig:
    """Who may use the API of operators, and from where."""

    secret: str | None = field(default=None, repr=False)
    allow: tuple[str, ...] = ()
    """Addresses, networks, or `unix`; left out: anywhere."""
    operators: Mapping[str, OperatorConfig] = field(default_factory=dict)

    def credentials(self) -> Iterator[tuple[str, str]]:
        """Each operator's name in the log and secret; none: nobody is one."""
        if self.secret is not None:
            yield "admin", self.secret
        for name, operator in self.operators.items():
            yield f"admin:{name}", operator.secret


@dataclass(frozen=True, slots=True)
class LimitsConfig:
    """Limits of all, and what new keys and accounts are given."""

    key_prefix: str = KEY_PREFIX
    """New keys begin with it; those that were made before stay good."""
    default_plan: str | None = None
    """Of new accounts; left out: none, which is everything, without limits."""
    requests_per_ip: int = 5_000
    """In each window, whoever asks; this machine and trusted proxies are not counted."""
    per_ip_window_s: int = 600


@dataclass(frozen=True, slots=True)
class PlanConfig:
    """What the accounts on a plan may do; what is left out is not limited."""

    models: tuple[str, ...] | None = None
    """Names, and beginnings of names with `*` after them; left out: all."""
    requests_per_min: int | None = None
    tokens_per_min: int | None = None
    concurrent_streams: int | None = None
    monthly_budget_usd: Decimal | None = None
    """Hard, of each account, by UTC month."""
    storage_max_bytes: int | None = None
    """Of the files of each account; left out: as `[files]` has it."""
    families: frozenset[Family] | None = None
    """What is passed through for them, of what `[state]` has; left out: all of that."""
    prices: Mapping[str, PriceConfig] = field(default_factory=dict)
    """What they pay for these models, before all other prices of the configuration."""
