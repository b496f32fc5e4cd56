"""What a configuration can say of what providers keep for accounts: who keeps it, and of which
families of routes it may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Literal, get_args

from engine.metering.pricing import PriceError, rate_picodollars
from engine.toml import TableReader
from engine.usage import MoreUnit

Family = Literal[
    "assistants",
    "threads",
    "vector_stores",
    "batches",
    "conversations",
    "responses",
    "fine_tuning",
    "containers",
]
"""A part of what is passed through, as it is switched on and off; see `engine.passing.table`."""

FAMILIES: Final[tuple[Family, ...]] = get_args(Family)


@dataclass(frozen=True, slots=True)
class StatePricesConfig:
    """US dollars that customers pay for what is no answer of a model: per thousand searches of a
    vector store, per session of code in a container with 1 GB, per gigabyte (2^30 bytes) of vector
    stores for a day. Left out: the provider's list price times `markup`; searches are not on it."""

    file_searches: Decimal | None = None
    code_sessions: Decimal | None = None
    gigabyte_days: Decimal | None = None

    def units(self) -> Mapping[MoreUnit, Decimal]:
        """Those that are said, by what they are for."""
        said: tuple[tuple[MoreUnit, Decimal | None], ...] = (
            ("file_searches", self.file_searches),
            ("code_sessions", self.code_sessions),
            ("megabyte_days", self.gigabyte_days),
        )
        return {unit: usd for unit, usd in said if usd is not None}


@dataclass(frozen=True, slots=True)
class StateConfig:
    """What is passed through to a provider that keeps it."""

    provider: str | None = None
    """Who is asked for what belongs to nobody yet; left out: the only one that keeps state."""
    families: frozenset[Family] = frozenset(FAMILIES)
    """What is passed through at all; plans may narrow it."""
    ids_per_account_max: int = 1_000_000
    """An account that has so many things there makes no more."""
    keep_days: int = field(default=90, metadata={"positive": False})
    """Responses and their items are known so long, and what was deleted is nobody else's; 0: for
    ever. Providers keep responses for a shorter time."""
    prices: StatePricesConfig = StatePricesConfig()
    storage_free_bytes: int = field(default=2**30, metadata={"positive": False})
    """Of an account's vector stores together so much costs nothing."""


def check_state(state: StateConfig, providers: Mapping[str, object], reader: TableReader) -> None:
    """Whether there is who it names, and what things cost can be billed. Raises ConfigError, with
    the line."""
    for unit, usd in state.prices.units().items():
        try:
            rate_picodollars(usd, unit)
        except PriceError as error:
            raise reader.error(("state", "prices"), f"cannot be used: {error}") from None
    if state.provider is not None and state.provider not in providers:
        raise reader.error(
            ("state", "provider"),
            f"'{state.provider}' is not configured{reader.suggestion(state.provider, providers)}",
        )
