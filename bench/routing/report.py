"""What became of the prompts: which level each was given, and what that costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from bench.routing.prompts import DIFFICULTIES, Difficulty

OUTPUT_TOKENS: Final[Mapping[Difficulty, int]] = {"easy": 150, "medium": 600, "hard": 1_800}
"""What an answer is taken to have, thinking included, whichever model gives it."""
HARD_TO_STRONG_MIN: Final = 0.9
EASY_TO_WEAK_MIN: Final = 0.8
_MILLION: Final = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class Cost:
    """US dollars a million tokens."""

    input: Decimal
    output: Decimal

    def of(self, input_tokens: int, output_tokens: int) -> Decimal:
        """US dollars of a request."""
        return (input_tokens * self.input + output_tokens * self.output) / _MILLION


@dataclass(frozen=True, slots=True)
class Routed:
    """One prompt: what a person calls it, what `auto` does, and what either model costs."""

    label: Difficulty
    level: Difficulty
    kind: str
    score: int
    model: str
    usd: Decimal
    reference_usd: Decimal


@dataclass(frozen=True, slots=True)
class Report:
    """Of all prompts.

    Attributes:
        confusion: prompts by label and level.
        hard_to_strong: share of those labelled hard that are judged hard.
        easy_to_weak: share of those labelled easy that are judged easy.
        saved: share of what the reference model would have cost.
        models: requests by model.
    """

    prompts: int
    confusion: Mapping[Difficulty, Mapping[Difficulty, int]]
    hard_to_strong: float
    easy_to_weak: float
    usd: Decimal
    reference_usd: Decimal
    models: Mapping[str, int]
    by_kind: Mapping[str, tuple[float, float]]
    """Of each kind the share of hard to strong, and of easy to weak."""

    @property
    def saved(self) -> float:
        """Share of what the reference would have cost."""
        return float(1 - self.usd / self.reference_usd)

    @property
    def good(self) -> bool:
        """Both shares are what they should be."""
        hard, easy = self.hard_to_strong, self.easy_to_weak
        return hard >= HARD_TO_STRONG_MIN and easy >= EASY_TO_WEAK_MIN

    def to_json(self) -> dict[str, Any]:
        """All figures."""
        return {
            "prompts": self.prompts,
            "hard_to_strong": round(self.hard_to_strong, 4),
            "easy_to_weak": round(self.easy_to_weak, 4),
            "cost_saved": round(self.saved, 4),
            "cost_usd": f"{self.usd:f}",
            "reference_usd": f"{self.reference_usd:f}",
            "models": dict(self.models),
            "confusion": {label: dict(row) for label, row in self.confusion.items()},
            "by_kind": {
                kind: {"hard_to_strong": round(hard, 4), "easy_to_weak": round(easy, 4)}
                for kind, (hard, easy) in self.by_kind.items()
            },
        }


def summarise(routed: Sequence[Routed]) -> Report:
    """The figures of all prompts; there has to be one of each label at least."""
    counts = Counter((each.label, each.level) for each in routed)
    kinds = dict.fromkeys(each.kind for each in routed)
    return Report(
        prompts=len(routed),
        confusion={
            label: {level: counts[label, level] for level in DIFFICULTIES} for label in DIFFICULTIES
        },
        hard_to_strong=_share(routed, "hard"),
        easy_to_weak=_share(routed, "easy"),
        usd=sum((each.usd for each in routed), Decimal(0)),
        reference_usd=sum((each.reference_usd for each in routed), Decimal(0)),
        models=Counter(each.model for each in routed),
        by_kind={
            kind: (_share(of_kind, "hard"), _share(of_kind, "easy"))
            for kind in kinds
            if (of_kind := [each for each in routed if each.kind == kind])
        },
    )


def _share(routed: Sequence[Routed], label: Difficulty) -> float:
    """Of those with a label, how many are judged so."""
    labelled = [each for each in routed if each.label == label]
    return sum(each.level == label for each in labelled) / len(labelled) if labelled else 0.0


def markdown(report: Report) -> str:
    """For people."""
    rows = [
        f"| of {report.prompts} prompts | |",
        "|---|---|",
        f"| hard ones to a strong model | {report.hard_to_strong:.0%} |",
        f"| easy ones to a weak model | {report.easy_to_weak:.0%} |",
        f"| cost | ${report.usd:.4f} |",
        f"| cost of the reference for all | ${report.reference_usd:.4f} |",
        f"| saved | {report.saved:.0%} |",
        "",
        "| labelled | judged easy | medium | hard |",
        "|---|---|---|---|",
        *(
            f"| {label} | " + " | ".join(str(row[level]) for level in DIFFICULTIES) + " |"
            for label, row in report.confusion.items()
        ),
        "",
        "| kind | hard to strong | easy to weak |",
        "|---|---|---|",
        *(f"| {kind} | {hard:.0%} | {easy:.0%} |" for kind, (hard, easy) in report.by_kind.items()),
        "",
        "| model | requests |",
        "|---|---|",
        *(f"| {model} | {count} |" for model, count in sorted(report.models.items())),
    ]
    return "\n".join(rows)
