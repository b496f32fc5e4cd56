"""Values of two runs against one another: what became slower, and what only looks so.

A figure is slower when three things hold:

1. Welch's t test on its rounds (on their logarithms, but for additive figures) says so at 5 %
   after Holm's correction over all figures compared. It is weighted: half of the 5 % is for the
   few figures that a change of the program is expected to move (`PRIMARY`), so that these lose
   little to the many others. The intervals shown are the bootstrap's, but eight rounds resampled
   have no tails that could be corrected for thirty figures.
2. It is worse by more than 3 %; an additive figure, by more than `LEAST` too.
3. It is worse by more than the controls may have moved, the peers that nobody changed: than the
   farthest that the interval of one of them reaches. So a machine that is slower than it was slows
   nobody.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bench.statistics import student
from bench.statistics.bootstrap import (
    RESAMPLES,
    ROUNDS_MIN,
    bootstrap,
    difference,
    ratio,
    squared_error,
    welch_freedom,
)
from bench.statistics.rows import Key
from bench.suite.figures import FIGURES, Figure
from bench.suite.model import Interval, Outcome, Verdict

FALSE_ALARMS: Final = 0.05
"""The probability that an unchanged run has any figure faster or slower, at most."""
LEAST_RATIO: Final = 0.03
SAME_RATIO: Final = 0.10
"""An interval within ±10 % (or the noise) is `same`; a wider one without a verdict `unclear`."""
CONTROLS: Final = ("direct", "nginx")
PRIMARY: Final[frozenset[Figure]] = frozenset({"cpu_us_per_token", "cpu_us_per_request"})
LEAST: Final[Mapping[Figure, float]] = {
    **{figure: 0.1 for figure, row in FIGURES.items() if row.additive and row.unit == "ms"},
    "stalls_per_1000_tokens": 0.5,
    "cancel_never_share": 0.02,
    "tokens_after_leaving": 0.5,
    "billing_error_share": 0.000_1,
    "errors_share": 0.001,
}
"""The least change of an additive figure that matters, in its unit."""


@dataclass(frozen=True, slots=True)
class Case:
    """One figure of one peer at one load: its finite values, a round each, of both runs."""

    key: Key
    figure: Figure
    earlier: Sequence[float]
    later: Sequence[float]

    @property
    def measured(self) -> tuple[str, Figure]:
        """What it has in common with its controls, which are not measured at every load."""
        return self.key.scenario, self.figure

    @property
    def additive(self) -> bool:
        """Whether a difference tells, not a ratio."""
        return FIGURES[self.figure].additive

    @property
    def control(self) -> bool:
        """Whether nobody changed it."""
        return self.key.peer in CONTROLS


def judge_cases(
    cases: Sequence[Case], *, seed: int, resamples: int = RESAMPLES
) -> tuple[Verdict, ...]:
    """A verdict on each, in their order; all of them are one family of tests.

    Those on controls are never an alarm: they are `same` or `unclear`, and say what the machine
    did.
    """
    changes = [change_of(case, seed, resamples) for case in cases]
    noises: dict[tuple[str, Figure], float] = {}
    for case, change in zip(cases, changes, strict=True):
        if case.control and change is not None:
            moved = _moved(change, case.additive)
            noises[case.measured] = max(noises.get(case.measured, 0.0), moved)
    tested = [
        place for place, case in enumerate(cases) if not case.control and changes[place] is not None
    ]
    weights = weights_of([cases[place].figure for place in tested])
    shown = holm([p_value(cases[place]) for place in tested], weights)
    significant = dict(zip(tested, shown, strict=True))
    verdicts = []
    for place, (case, change) in enumerate(zip(cases, changes, strict=True)):
        noise = 0.0 if case.control else noises.get(case.measured, 0.0)
        outcome = _outcome(case, change, noise, significant.get(place, False))
        verdicts.append(
            Verdict(
                case.key.scenario,
                case.key.peer,
                case.figure,
                outcome,
                None if case.additive else change,
                noise,
                _note(case, change),
                bootstrap(case.earlier, seed=seed, resamples=resamples),
                bootstrap(case.later, seed=seed, resamples=resamples),
                change if case.additive else None,
                case.key.rate_max,
            )
        )
    return tuple(verdicts)


def change_of(case: Case, seed: int, resamples: int = RESAMPLES) -> Interval | None:
    """The ratio of the means, or the difference where the figure is additive."""
    compare = difference if case.additive else ratio
    return compare(case.later, case.earlier, seed=seed, resamples=resamples)


def p_value(case: Case) -> float:
    """Of Welch's test, two-sided, that nothing has changed; the values are as `change_of` needs."""
    earlier, later = case.earlier, case.later
    if not case.additive:
        earlier, later = ([math.log(value) for value in each] for each in (earlier, later))
    change = statistics.fmean(later) - statistics.fmean(earlier)
    error = math.sqrt(squared_error(earlier) + squared_error(later))
    if not error:
        return 1.0 if not change else 0.0
    return student.two_sided(change / error, welch_freedom(later, earlier))


def weights_of(figures: Sequence[Figure]) -> list[float]:
    """That add up to 1: half of it for the primary figures, where there are some and others."""
    primary = sum(figure in PRIMARY for figure in figures)
    others = len(figures) - primary
    groups = bool(primary) + bool(others)
    return [1 / groups / (primary if figure in PRIMARY else others) for figure in figures]


def holm(p_values: Sequence[float], weights: Sequence[float]) -> list[bool]:
    """Which are significant when all are to be right together, but for `FALSE_ALARMS`.

    S. Holm, "A simple sequentially rejective multiple test procedure" (1979), section 4: weighted.
    """
    shown = [False] * len(p_values)
    left = sum(weights)
    by_evidence = sorted(range(len(p_values)), key=lambda each: p_values[each] / weights[each])
    for each in by_evidence:
        if p_values[each] > FALSE_ALARMS * weights[each] / left:
            break
        shown[each] = True
        left -= weights[each]
    return shown


def _moved(change: Interval, additive: bool) -> float:
    """How far from no change this one's interval reaches, as a ratio or in the unit."""
    if additive:
        return max(abs(change.low), abs(change.high))
    return math.exp(max(abs(math.log(change.low)), abs(math.log(change.high)))) - 1


def _outcome(case: Case, change: Interval | None, noise: float, significant: bool) -> Outcome:
    if change is None:
        return "unclear"
    if case.additive:
        middle, low, high = change.middle, change.low, change.high
        scale = abs(statistics.fmean(case.earlier))
        least = max(LEAST[case.figure], LEAST_RATIO * scale, noise)
        within = max(least, SAME_RATIO * scale)
    else:
        middle, low, high = (math.log(end) for end in (change.middle, change.low, change.high))
        least = math.log1p(max(LEAST_RATIO, noise))
        within = max(least, math.log1p(SAME_RATIO))
    if significant and abs(middle) > least:
        return "slower" if (middle > 0) == FIGURES[case.figure].lower_is_better else "faster"
    return "same" if -within <= low and high <= within else "unclear"


def _note(case: Case, change: Interval | None) -> str:
    if case.control:
        return "a control: nobody changed it"
    if change is not None:
        return ""
    if min(len(case.earlier), len(case.later)) < ROUNDS_MIN:
        rounds = f"{len(case.earlier)} and {len(case.later)}"
        return f"{rounds} rounds with a figure: {ROUNDS_MIN} each are needed"
    return "a value that is not positive has no ratio"


def slower(verdicts: Iterable[Verdict]) -> tuple[Verdict, ...]:
    """Those for which a comparison fails."""
    return tuple(verdict for verdict in verdicts if verdict.outcome == "slower")
