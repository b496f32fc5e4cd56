"""The machine's speed in a round, taken out of the CPU time of one.

A core that shares its caches and its other hyperthread with strangers takes up to twice the CPU
time for the same work, for seconds or minutes at a time. It does so for all peers of a round, which
are neighbours in time. So rounds are blocks (G. Box, J. Hunter, W. Hunter, "Statistics for
Experimenters", ch. 4): what a round did to all others is taken out of what a peer took in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Final

Values = Mapping[int, float]
"""Round → the figure, positive."""
_TWO: Final = 2


def steadied(values: Values, others: Iterable[Values]) -> dict[int, float]:
    """What each round would have given on a machine of the average speed of these rounds.

    The speed is told by the others alone, so that a peer's own variance stays: by those of them
    that were measured in all of its rounds, and as far as they agree. Of fewer than two there is
    no telling, and nothing is taken out. The mean stays what it is.
    """
    rounds = sorted(values)
    known = [
        [math.log(other[repeat]) for repeat in rounds]
        for other in others
        if values.keys() <= other.keys() and all(other[repeat] > 0 for repeat in rounds)
    ]
    if len(rounds) < _TWO or len(known) < _TWO:
        return dict(values)
    steady = {
        repeat: values[repeat] / math.exp(slow)
        for repeat, slow in zip(rounds, _slowness(known), strict=True)
    }
    scale = fmean(values.values()) / fmean(steady.values())
    return {repeat: value * scale for repeat, value in steady.items()}


def _slowness(known: Sequence[Sequence[float]]) -> list[float]:
    """Of each round, in logarithms, about zero: the mean over peers, drawn to zero as far as chance
    explains it (C. Morris, "Parametric Empirical Bayes Inference", 1983)."""
    centred = [[log - fmean(logs) for log in logs] for logs in known]
    columns = list(zip(*centred, strict=True))
    means = [fmean(column) for column in columns]
    freedom = (len(known) - 1) * (len(means) - 1)
    within = sum(
        (log - mean) ** 2 for column, mean in zip(columns, means, strict=True) for log in column
    )
    between = sum(mean**2 for mean in means) / (len(means) - 1)
    by_chance = within / freedom / len(known)
    agreed = max(0.0, 1 - by_chance / between) if between else 0.0
    return [agreed * mean for mean in means]
