"""Which of several models suits a request: a score, its level, and the models in their order.

The score is a sum that anyone can check: each feature is worth its weight at most, in proportion
to how far it goes, and the reasons name every term. No clock, no chance, no model is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from engine.routing.values import AutoChoice, AutoTable, Features, Level

FULL_AT: Final[Mapping[str, int]] = MappingProxyType(
    {
        "words": 1_500,
        "code": 5,
        "mathematics": 4,
        "tools": 8,
        "schema": 1,
        "reasoning": 2,
        "languages": 2,
        "depth": 20,
    }
)
"""From how much of a feature on it is worth its whole weight."""

SCORE_MAX: Final = 100
_STRENGTHS: Final[Mapping[Level, int]] = MappingProxyType({"easy": 1, "medium": 2, "hard": 3})


@dataclass(frozen=True, slots=True)
class Judgement:
    """How hard a request is.

    Attributes:
        score: 0 to 100.
        reasons: each term of the score, e.g. `words 812: +8`.
    """

    score: int
    level: Level
    reasons: tuple[str, ...]


def judge(features: Features, table: AutoTable) -> Judgement:
    """The score of a prompt by the weights of a table.

    >>> judge(Features(words=750, tools=4), AutoTable((), weights={"words": 20, "tools": 10}))
    Judgement(score=15, level='easy', reasons=('words 750: +10', 'tools 4: +5'))
    """
    score, reasons = 0, []
    for name, amount in _amounts(features).items():
        full, weight = FULL_AT[name], table.weights.get(name, 0)
        worth = weight * min(amount, full) // full
        if worth:
            score += worth
            reasons.append(f"{name} {amount}: +{worth}")
    score = min(score, SCORE_MAX)
    return Judgement(score, _level(score, table), tuple(reasons))


def ranked(
    choices: Iterable[AutoChoice], level: Level, rank_cost: Callable[[str], int | None]
) -> tuple[AutoChoice, ...]:
    """The models that may serve a request of this level, the first to be tried first.

    Those that are strong enough, the cheapest first; then, for when none of them can be had, the
    others, the strongest first. Of equal ones the first in the configuration. `rank_cost` says what
    a model costs, None of one that cannot serve the request.
    """
    wanted = _STRENGTHS[level]
    costs = [(choice, rank_cost(choice.model)) for choice in choices]
    able = [(choice, cost) for choice, cost in costs if cost is not None]
    strong = [(cost, choice) for choice, cost in able if choice.strength >= wanted]
    weak = [(-choice.strength, cost, choice) for choice, cost in able if choice.strength < wanted]
    return (
        *(choice for _, choice in sorted(strong, key=lambda each: each[0])),
        *(choice for _, _, choice in sorted(weak, key=lambda each: each[:2])),
    )


def _amounts(features: Features) -> dict[str, int]:
    """How much there is of what has a weight. Words that ask for thought are worth what asking for
    thinking is, and a request for it all of it."""
    reasoning = FULL_AT["reasoning"] if features.reasoning else features.hard
    return {
        "words": features.words,
        "code": features.code,
        "mathematics": features.mathematics,
        "tools": features.tools,
        "schema": int(features.schema),
        "reasoning": reasoning,
        "languages": features.languages,
        "depth": features.depth,
    }


def _level(score: int, table: AutoTable) -> Level:
    if score >= table.hard:
        return "hard"
    return "medium" if score >= table.medium else "easy"
