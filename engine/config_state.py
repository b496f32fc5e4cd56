"""What a configuration can say of what providers keep for accounts: who keeps it, and of which
families of routes it may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from engine.toml import TableReader

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


def check_state(state: StateConfig, providers: Mapping[str, object], reader: TableReader) -> None:
    """Whether there is who it names. Raises ConfigError, with the line."""
    if state.provider is not None and state.provider not in providers:
        raise reader.error(
            ("state", "provider"),
            f"'{state.provider}' is not configured{reader.suggestion(state.provider, providers)}",
        )
