"""How an exchange came to be served by whom it was: the part of a receipt that tells it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from engine.ledger.records import AttemptRow


@dataclass(frozen=True, slots=True)
class AutoDecision:
    """What a model was chosen by where the client had left that to the gateway.

    Attributes:
        score: how hard the request looks, 0 to 100.
        level: `easy`, `medium` or `hard`.
        reasons: what the score is made of, for people.
        reference: the model that savings are reckoned against; None: there is none.
    """

    score: int
    level: str
    reasons: tuple[str, ...] = ()
    reference: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "score": self.score,
            "level": self.level,
            "reasons": list(self.reasons),
            "reference": self.reference,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        return cls(
            score=value["score"],
            level=value["level"],
            reasons=tuple(value["reasons"]),
            reference=value["reference"],
        )


@dataclass(frozen=True, slots=True)
class Route:
    """Which of the planned deployments served, and why that one.

    Attributes:
        served: the public name of the model that served: what was asked for, or chosen for it, or
            stood in for it.
        strategy: how a deployment of it was picked.
        candidates: the deployments that were planned, as `PROVIDER/MODEL`, in their order.
        fallback_from: the deployment that was to serve; None: it did.
        fallback_depth: how many deployments were left behind.
        hedged: a second attempt was made while the first was waited for.
        auto: where the gateway chose the model.
    """

    served: str
    strategy: str
    candidates: tuple[str, ...]
    fallback_from: str | None = None
    fallback_depth: int = 0
    hedged: bool = False
    auto: AutoDecision | None = None

    def through(self, rows: Sequence[AttemptRow], serving: AttemptRow) -> Route:
        """The same once these attempts have been dispatched, in this order, and this one of them
        serves. What a hedge ran beside was not left behind."""
        beside = serving.number - 1 if serving.role == "hedge" else 0
        left = dict.fromkeys(
            row.path
            for row in rows
            if row.number < serving.number and row.number != beside and row.path != serving.path
        )
        return replace(
            self,
            served=serving.model or self.served,
            fallback_from=next(iter(left), None),
            fallback_depth=len(left),
            hedged=any(row.role == "hedge" for row in rows),
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "served": self.served,
            "strategy": self.strategy,
            "candidates": list(self.candidates),
            "fallback_from": self.fallback_from,
            "fallback_depth": self.fallback_depth,
            "hedged": self.hedged,
            "auto": None if self.auto is None else self.auto.to_json(),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        auto = value["auto"]
        return cls(
            served=value["served"],
            strategy=value["strategy"],
            candidates=tuple(value["candidates"]),
            fallback_from=value["fallback_from"],
            fallback_depth=value["fallback_depth"],
            hedged=value["hedged"],
            auto=None if auto is None else AutoDecision.from_json(auto),
        )
