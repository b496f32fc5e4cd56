"""What a key or an account may do: with which models, how much a minute, how much at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Final, Literal

_ANY: Final = "*"


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one key, account or plan; None is no limit.

    Attributes:
        requests_per_min: so many at once, and then one each 60 s / `requests_per_min`.
        tokens_per_min: of input and output together, cached input too.
        concurrent_streams: exchanges under way at once, answers in one piece too.

    Raises:
        ValueError: a limit is below 1; what is to be refused altogether is switched off.
    """

    requests_per_min: int | None = None
    tokens_per_min: int | None = None
    concurrent_streams: int | None = None

    def __post_init__(self) -> None:
        for spec in fields(Limits):
            limit = getattr(self, spec.name)
            if limit is not None and limit < 1:
                raise ValueError(f"'{spec.name}' has to be at least 1, not {limit}")

    @property
    def unlimited(self) -> bool:
        """Whether there is nothing to keep."""
        return self == NO_LIMITS


NO_LIMITS: Final = Limits()

PRESETS: Final[Mapping[str, Limits]] = {
    f"per-{rate}": Limits(requests_per_min=rate) for rate in (30, 60, 120, 240, 400)
}
"""Limits of keys that are often wanted, by name."""


@dataclass(frozen=True, slots=True)
class ModelSet:
    """Models by their names and by how their names begin.

    >>> some = ModelSet.of(["gpt-5-mini", "in-house*"])
    >>> "in-house-small" in some, "gpt-5" in some
    (True, False)
    """

    names: frozenset[str]
    prefixes: tuple[str, ...]

    @classmethod
    def of(cls, patterns: Iterable[str]) -> ModelSet:
        """Of names, and of patterns that end in `*`; `*` alone is all."""
        found = set(patterns)
        prefixes = {pattern for pattern in found if pattern.endswith(_ANY)}
        return cls(frozenset(found - prefixes), tuple(sorted(each[:-1] for each in prefixes)))

    @property
    def patterns(self) -> tuple[str, ...]:
        """What it can be made of again."""
        return (*sorted(self.names), *(prefix + _ANY for prefix in self.prefixes))

    def __contains__(self, name: object) -> bool:
        return name in self.names or (isinstance(name, str) and name.startswith(self.prefixes))

    def is_within(self, other: ModelSet) -> bool:
        """Whether the other has every model that this one can ever have."""
        return all(name in other for name in self.names) and all(
            prefix.startswith(other.prefixes) for prefix in self.prefixes
        )


ALL_MODELS: Final = ModelSet(frozenset(), ("",))


@dataclass(frozen=True, slots=True)
class Plan:
    """What the accounts on it may do.

    Attributes:
        monthly_budget_nanodollars: hard, by UTC month; None: none.
        storage_max_bytes: of the files of each account; None: what the gateway gives everybody.
        families: what is passed through for them of all that is; None: all of it.
        source: whether the configuration names it or an operator made it.
    """

    name: str
    models: ModelSet = ALL_MODELS
    limits: Limits = NO_LIMITS
    monthly_budget_nanodollars: int | None = None
    storage_max_bytes: int | None = None
    families: frozenset[str] | None = None
    source: Literal["file", "ledger"] = "file"
