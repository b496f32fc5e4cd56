"""Two runs, if they have measured the same: their verdicts, and a table of them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from bench.statistics.bootstrap import RESAMPLES
from bench.statistics.rows import Key, Rounds, rounds_of, values_of
from bench.statistics.values import adds_to_direct
from bench.statistics.verdict import CONTROLS, Case, judge_cases, slower
from bench.suite.figures import FIGURES
from bench.suite.model import DIRECT, Header, Interval, Machine, Sample, Verdict

_OTHER_MACHINE: Final = 0.05
"""Memory or speed that differ by more."""


class IncomparableError(ValueError):
    """The two runs have measured different things; the message says which."""


@dataclass(frozen=True, slots=True)
class Run:
    """What a raw.jsonl holds."""

    header: Header
    samples: Sequence[Sample]


@dataclass(frozen=True, slots=True)
class Judgement:
    """All verdicts on two runs, and what was left out or is to be known with them."""

    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...]

    @property
    def exit_status(self) -> Literal[0, 1]:
        """1 when something is slower."""
        return 1 if slower(self.verdicts) else 0


def judge(before: Run, after: Run, *, resamples: int = RESAMPLES) -> Judgement:
    """Every figure of every peer and load that both runs have.

    Raises:
        IncomparableError: another machine, a scenario that has become another, nothing that both
            have, or a peer that was loaded at other rates.
    """
    _check_machines(before.header.machine, after.header.machine)
    _check_scenarios(before.header, after.header)
    earlier, later = rounds_of(before.samples), rounds_of(after.samples)
    keys = [key for key in later if key in earlier]
    _check_rates(earlier, later)
    if not keys:
        raise IncomparableError("the runs have no scenario with a peer in common")
    cases = []
    for key in keys:
        for figure in after.header.figures.get(key.scenario, tuple(FIGURES)):
            if key.peer == DIRECT and adds_to_direct(figure):
                continue
            bound = after.header.bounds.get(key.scenario)
            values = [
                [value for value in of.values() if math.isfinite(value)]
                for of in (values_of(figure, rounds, key, bound) for rounds in (earlier, later))
            ]
            if any(values):
                cases.append(Case(key, figure, *values))
    verdicts = judge_cases(cases, seed=after.header.seed, resamples=resamples)
    return Judgement(verdicts, tuple(_notes(before, after, keys)))


def verdict_table(judgement: Judgement) -> str:
    """For a terminal: one line a verdict, by scenario the worst first and controls last; notes."""
    lines = [_HEAD, *(_cells(verdict) for verdict in _in_order(judgement.verdicts))]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
    text = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    counts = {
        outcome: sum(verdict.outcome == outcome for verdict in judgement.verdicts)
        for outcome in _OUTCOMES
    }
    total = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    return "\n".join([*text, "", total, *judgement.notes]) + "\n"


# -- whether they can be compared ---------------------------------------------------------------


def _check_machines(before: Machine, after: Machine) -> None:
    for what in ("cpu", "cores"):
        was, now = getattr(before, what), getattr(after, what)
        if was != now:
            raise IncomparableError(f"the runs are of different machines: {what} {was} and {now}")
    was, now = before.memory_bytes, after.memory_bytes
    if abs(now - was) > _OTHER_MACHINE * was:
        raise IncomparableError(
            f"the runs are of different machines: {was >> 20} and {now >> 20} MiB of memory"
        )


def _check_scenarios(before: Header, after: Header) -> None:
    for name in sorted(before.digests.keys() & after.digests.keys()):
        was, now = before.digests[name], after.digests[name]
        if was != now:
            raise IncomparableError(
                f"scenario '{name}' has become another ({was}, now {now}): "
                "run the earlier program again with the scenario as it is now"
            )


def _check_rates(earlier: Mapping[Key, Rounds], later: Mapping[Key, Rounds]) -> None:
    for scenario, peer in dict.fromkeys(key[:2] for key in later):
        was, now = (_rates(rounds, scenario, peer) for rounds in (earlier, later))
        if was and not was & now:
            raise IncomparableError(
                f"'{peer}' was loaded otherwise in '{scenario}': "
                f"at {_said(was)}, now at {_said(now)}"
            )


def _rates(rounds: Iterable[Key], scenario: str, peer: str) -> set[float]:
    return {key.rate_max for key in rounds if (key.scenario, key.peer) == (scenario, peer)}


def _said(rates: Iterable[float]) -> str:
    return ", ".join(f"{rate:g} tokens/s" if rate else "the full load" for rate in sorted(rates))


def _notes(before: Run, after: Run, keys: Sequence[Key]) -> Iterator[str]:
    shared = set(keys)
    for run, where in ((before, "earlier"), (after, "later")):
        left = sorted({key[:2] for key in rounds_of(run.samples) if key not in shared})
        if left:
            named = ", ".join(f"{peer} in {scenario}" for scenario, peer in left)
            yield f"Only the {where} run has, at its load: {named}."
    if not any(key.peer in CONTROLS for key in keys):
        yield (
            f"No control ({' or '.join(CONTROLS)}) is in both runs: "
            "a slower machine looks like a slower gateway."
        )
    for what in ("kernel", "system", "python"):
        was, now = (getattr(run.header.machine, what) for run in (before, after))
        if was != now:
            yield f"The {what} is another: {was}, now {now}."
    for name, known in (("version", "versions"), ("revision", "revisions")):
        was, now = (getattr(run.header, known) for run in (before, after))
        for peer in sorted(was.keys() & now.keys()):
            if was[peer] != now[peer]:
                yield f"{peer} has another {name}: {was[peer]}, now {now[peer]}."
    speed = [
        statistics.median(sample.guards.calibration_ms for sample in run.samples)
        for run in (before, after)
    ]
    if speed[0] and abs(speed[1] / speed[0] - 1) > _OTHER_MACHINE:
        yield (
            f"The machine took {speed[0]:.1f} ms, now {speed[1]:.1f} ms for the same fixed work: "
            "the controls say how much of a change that explains."
        )


# -- the table ----------------------------------------------------------------------------------

_HEAD: Final = ("scenario", "peer", "figure", "before", "after", "change", "noise", "verdict")
_OUTCOMES: Final = ("slower", "faster", "unclear", "same")


def _in_order(verdicts: Sequence[Verdict]) -> list[Verdict]:
    scenarios = list(dict.fromkeys(verdict.scenario for verdict in verdicts))
    return sorted(
        verdicts,
        key=lambda verdict: (
            scenarios.index(verdict.scenario),
            verdict.peer in CONTROLS,
            _OUTCOMES.index(verdict.outcome),
        ),
    )


def _cells(verdict: Verdict) -> tuple[str, ...]:
    row = FIGURES[verdict.figure]
    peer = verdict.peer
    if verdict.rate_max:
        peer += f" at {verdict.rate_max:g}/s"
    outcome = verdict.outcome + (f": {verdict.note}" if verdict.note else "")
    unit = f" {row.unit}" if row.unit else ""
    noise = f"±{verdict.noise:.3g}{unit}" if row.additive else f"±{verdict.noise:.1%}"
    return (
        verdict.scenario,
        peer,
        row.title,
        _figure(verdict.before, unit),
        _figure(verdict.after, unit),
        _change(verdict),
        noise if verdict.noise else "",
        outcome,
    )


def _figure(interval: Interval | None, unit: str) -> str:
    return "n/a" if interval is None else f"{interval.middle:.3g}{unit}"


def _change(verdict: Verdict) -> str:
    match verdict:
        case Verdict(ratio=Interval() as ratio):
            return f"{ratio.middle - 1:+.1%} ({ratio.low - 1:+.1%} to {ratio.high - 1:+.1%})"
        case Verdict(difference=Interval() as change):
            return f"{change.middle:+.3g} ({change.low:+.3g} to {change.high:+.3g})"
    return ""
