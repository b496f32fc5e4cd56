"""From samples to rows: every figure with its interval, its ratios, and what a reader must know."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from bench.statistics.bootstrap import RESAMPLES, ROUNDS_MIN, bootstrap, paired_ratio
from bench.statistics.speed import steadied
from bench.statistics.values import (
    KIB,
    adds_to_direct,
    flaw_for,
    keeps,
    memory_slope,
    sound_for,
    value_of,
)
from bench.suite.figures import FIGURES, Figure
from bench.suite.model import DIRECT, Bound, Header, Row, Sample, Scenario

COMPARED_TO: Final = (DIRECT, "nginx", "parshall")
"""Peers that others are shown as ratios to, and that are measured at the others' loads too."""

CPU: Final[frozenset[Figure]] = frozenset({"cpu_us_per_token", "cpu_us_per_request"})
"""Figures that a slower core makes greater."""
DECISIVE: Final[frozenset[Figure]] = CPU | {"memory_kib_per_stream"}
"""Figures whose intervals say whether there have been rounds enough."""
NARROW: Final = 0.06
"""±6 %: such an interval ends the repetition before all of `Scenario.repeats`."""
WIDE: Final = 0.10
"""±10 %: a wider one goes on after them, to `Scenario.repeats_max`."""

BUSY_CORE: Final = 0.85
"""A gateway that takes less of its core has not been at its limit."""
_PROCESS: Final = ("cpu_", "memory_")
_WAITED: Final = "cancel_"


class Key(NamedTuple):
    """What is compared with its like."""

    scenario: str
    peer: str
    rate_max: float


Rounds = Mapping[int, Sequence[Sample]]
"""Samples of one key: round → its steps, rising."""


def rounds_of(samples: Iterable[Sample]) -> dict[Key, dict[int, list[Sample]]]:
    """By key, in order of appearance. Of a window that was repeated, the less flawed."""
    found: dict[Key, dict[tuple[int, int], Sample]] = {}
    for sample in samples:
        windows = found.setdefault(Key(sample.scenario, sample.peer, sample.rate_max), {})
        place = sample.repeat, sample.step
        if place not in windows or _flaw(sample) <= _flaw(windows[place]):
            windows[place] = sample
    rounds: dict[Key, dict[int, list[Sample]]] = {}
    for key, windows in found.items():
        mine = rounds.setdefault(key, {})
        for repeat, step in sorted(windows):
            mine.setdefault(repeat, []).append(windows[repeat, step])
    return rounds


def _flaw(sample: Sample) -> int:
    return 2 if sample.refused else 1 if sample.late else 0


def values_of(
    figure: Figure, rounds: Mapping[Key, Rounds], key: Key, bound: Bound | None
) -> dict[int, float]:
    """Round → the figure; without rounds that have none, with those where it is infinite."""
    direct = rounds.get(key._replace(peer=DIRECT), {})
    values = {
        repeat: value_of(figure, samples, direct.get(repeat, ()), bound)
        for repeat, samples in rounds[key].items()
    }
    return {repeat: value for repeat, value in values.items() if not math.isnan(value)}


def steady_values_of(
    figure: Figure, rounds: Mapping[Key, Rounds], key: Key, bound: Bound | None
) -> dict[int, float]:
    """As `values_of`, without what the machine's speed in a round did to a figure of CPU time.

    The other gateways tell it, at whatever load; `direct` and its provider have another core.
    """
    values = values_of(figure, rounds, key, bound)
    if figure not in CPU or not all(0 < value < math.inf for value in values.values()):
        return values
    others = [
        other
        for other in rounds
        if other.scenario == key.scenario and other.peer != DIRECT and other != key
    ]
    return steadied(values, [values_of(figure, rounds, other, bound) for other in others])


def rows_of(
    header: Header, samples: Iterable[Sample], *, resamples: int = RESAMPLES
) -> tuple[Row, ...]:
    """Every figure the header names, of every peer at every load; all there is where it names none.

    Rows of one scenario are neighbours, and within it those of one peer and load.
    """
    rounds = rounds_of(samples)
    places = {scenario: place for place, scenario in enumerate(_in_order(rounds))}
    rows: list[Row] = []
    for key in sorted(rounds, key=lambda key: places[key.scenario]):
        bound = header.bounds.get(key.scenario)
        wanted = header.figures.get(key.scenario)
        for figure in wanted or FIGURES:
            if key.peer == DIRECT and adds_to_direct(figure):
                continue
            row = _row(figure, rounds, key, bound, header.seed, resamples)
            if wanted or row.interval is not None:
                rows.append(row)
    return tuple(rows)


def needs_more(scenario: Scenario, samples: Iterable[Sample]) -> frozenset[tuple[str, float]]:
    """Which (peer, rate_max) want another round of this scenario, after some.

    Up to `ROUNDS_MIN` all; then until a decisive figure is known to `NARROW` or, after
    `Scenario.repeats`, to `WIDE`; at most `Scenario.repeats_max`. Peers without a decisive figure
    take `Scenario.repeats`. Whom a peer is compared with goes on as long as that peer does, and
    `direct`, where there are others, only so.
    """
    rounds = rounds_of(sample for sample in samples if sample.scenario == scenario.name)
    judged = [key for key in rounds if key.peer != DIRECT] or list(rounds)
    wanting = {key for key in judged if _wants_more(scenario, rounds, key)}
    loads = {key.rate_max for key in wanting}
    compared = {key for key in rounds if key.peer in COMPARED_TO and key.rate_max in loads}
    return frozenset((key.peer, key.rate_max) for key in wanting | compared)


def _wants_more(scenario: Scenario, rounds: Mapping[Key, Rounds], key: Key) -> bool:
    made = len(rounds[key])
    if made < min(ROUNDS_MIN, scenario.repeats):
        return True
    if made >= scenario.repeats_max:
        return False
    widths = []
    for figure in DECISIVE.intersection(scenario.figures):
        values = steady_values_of(figure, rounds, key, scenario.bound)
        interval = bootstrap(tuple(values.values()), seed=scenario.seed)
        if interval is not None:
            widths.append(interval.half_width_ratio)
    if not widths:
        return made < scenario.repeats
    return max(widths) > (NARROW if made < scenario.repeats else WIDE)


def _in_order(rounds: Mapping[Key, Rounds]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(key.scenario for key in rounds))


def _row(
    figure: Figure,
    rounds: Mapping[Key, Rounds],
    key: Key,
    bound: Bound | None,
    seed: int,
    resamples: int,
) -> Row:
    mine = values_of(figure, rounds, key, bound)
    finite = all(math.isfinite(value) for value in mine.values())
    ratios = {}
    for peer in COMPARED_TO:
        other = key._replace(peer=peer)
        if peer == key.peer or other not in rounds or not finite or FIGURES[figure].additive:
            continue
        theirs = values_of(figure, rounds, other, bound)
        common = sorted(mine.keys() & theirs.keys())
        against = [theirs[repeat] for repeat in common]
        if all(math.isfinite(value) for value in against):
            ours = [mine[repeat] for repeat in common]
            ratio = paired_ratio(ours, against, seed=seed, resamples=resamples)
            if ratio is not None:
                ratios[peer] = ratio
    interval = None
    if finite:
        steady = steady_values_of(figure, rounds, key, bound)
        interval = bootstrap(tuple(steady.values()), seed=seed, resamples=resamples)
    notes = _notes(figure, rounds[key], mine, bound)
    return Row(*key[:2], figure, interval, ratios, key.rate_max, "; ".join(notes))


# -- what a reader must know --------------------------------------------------------------------


def _notes(
    figure: Figure, rounds: Rounds, values: Mapping[int, float], bound: Bound | None
) -> list[str]:
    notes = []
    flawed = [
        next(filter(None, (flaw_for(figure, sample) for sample in samples)), "")
        for samples in rounds.values()
    ]
    reasons = Counter(reason for reason in flawed if reason)
    if figure == "streams_sustained" and bound is not None and values:
        notes += _limit_notes(rounds, reasons, bound)
    elif reasons:
        notes.append(f"{reasons.total()} of {len(rounds)} rounds refused: {_most(reasons)}")
    never = sum(math.isinf(value) for value in values.values())
    if never and figure.startswith(_WAITED):
        limit_s = max(s.cancel_ms.limit_ms for samples in rounds.values() for s in samples) / 1e3
        notes.append(f"not within {limit_s:g} s in {never} of {len(values)} rounds")
    elif not values and reasons.total() < len(rounds):
        notes.append(_absent(figure))
    elif len(values) < ROUNDS_MIN and reasons.total() < len(rounds):
        notes.append(f"{len(values)} of the {ROUNDS_MIN} rounds that an interval takes")
    if figure == "memory_kib_per_stream" and values:
        sound = [sound_for(figure, samples) for samples in rounds.values()]
        slopes = [memory_slope(samples, "rss_bytes") for samples in sound]
        known = [slope for slope in slopes if not math.isnan(slope)]
        notes.append(f"of RSS {sum(known) / len(known) / KIB:.1f} KiB")
    if figure == "requests_per_s" and values and (core := _closed_core(rounds)) < BUSY_CORE:
        notes.append(f"at least: it took {core:.2f} of a core, others were the limit")
    return notes


def _closed_core(rounds: Rounds) -> float:
    """Of a core, what the gateway took while clients asked again at once; infinite if unknown."""
    taken = [
        sample.closed.cpu_s / sample.closed.elapsed_s
        for samples in rounds.values()
        for sample in sound_for("requests_per_s", samples)
        if sample.closed is not None and sample.closed.cpu_s is not None
    ]
    return sum(taken) / len(taken) if taken else math.inf


def _limit_notes(rounds: Rounds, reasons: Counter[str], bound: Bound) -> list[str]:
    """Where the search ended for another reason than the gateway, the figure is a lower bound."""
    if reasons:
        return [f"at least, in {reasons.total()} of {len(rounds)} rounds: {_most(reasons)}"]
    whole = sum(
        all(keeps(bound, sample) for sample in samples) for samples in rounds.values() if samples
    )
    return [f"at least, in {whole} of {len(rounds)} rounds: all steps were kept"] if whole else []


def _most(reasons: Counter[str]) -> str:
    return reasons.most_common(1)[0][0]


def _absent(figure: Figure) -> str:
    if figure.startswith(_PROCESS):
        return "its processes cannot be seen"
    return "there was nothing to measure it by"
