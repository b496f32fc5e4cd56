"""What is flagged between two runs, and how often it is right."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

import pytest

from bench.statistics.rows import Key
from bench.statistics.verdict import (
    FALSE_ALARMS,
    Case,
    change_of,
    holm,
    judge_cases,
    p_value,
    slower,
    weights_of,
)
from bench.suite.figures import FIGURES, Figure
from bench.suite.model import Scenario, Verdict
from bench.suite.scenarios import DEFAULTS, find_scenario

CPU: Figure = "cpu_us_per_token"
CALM = [51.0, 50.0, 52.0, 51.5, 50.5, 51.0, 49.5, 52.5]


def case(
    earlier: Sequence[float], later: Sequence[float], figure: Figure = CPU, peer: str = "parshall"
) -> Case:
    return Case(Key("paced", peer, 0.0), figure, earlier, later)


def times(values: Sequence[float], factor: float) -> list[float]:
    return [value * factor for value in values]


def judged(*cases: Case) -> Verdict:
    """The verdict on the first, in the company of the others."""
    return judge_cases(cases, seed=1, resamples=400)[0]


# -- one figure ---------------------------------------------------------------------------------


def test_a_hundred_microseconds_a_token_are_slower() -> None:
    verdict = judged(case(CALM, [value + 100 for value in CALM]))
    assert verdict.outcome == "slower"
    assert verdict.ratio is not None
    assert verdict.ratio.middle == pytest.approx(151 / 51, rel=0.01)
    assert verdict.before is not None
    assert verdict.before.middle == pytest.approx(51)


def test_a_run_is_the_same_as_itself() -> None:
    assert judged(case(CALM, CALM)).outcome == "same"
    assert judged(case([7.0] * 4, [7.0] * 4)).outcome == "same"


@pytest.mark.parametrize(
    ("figure", "factor", "outcome"),
    [
        (CPU, 1.2, "slower"),
        (CPU, 0.8, "faster"),
        ("requests_per_s", 1.2, "faster"),
        ("requests_per_s", 0.8, "slower"),
        ("memory_mib", 1.2, "slower"),
    ],
)
def test_the_figure_says_which_way_is_worse(figure: Figure, factor: float, outcome: str) -> None:
    assert judged(case(CALM, times(CALM, factor), figure)).outcome == outcome


def test_what_is_certain_but_small_is_the_same() -> None:
    steady = [50.0, 50.01, 49.99, 50.0, 50.02, 49.98]
    assert judged(case(steady, times(steady, 1.02))).outcome == "same"
    assert judged(case(steady, times(steady, 1.04))).outcome == "slower"


def test_what_is_large_but_uncertain_is_unclear() -> None:
    verdict = judged(case([40.0, 60.0, 50.0, 70.0], [50.0, 80.0, 55.0, 75.0]))
    assert verdict.outcome == "unclear"


def test_too_few_rounds_are_unclear_and_said() -> None:
    verdict = judged(case(CALM[:3], CALM))
    assert (verdict.outcome, verdict.ratio) == ("unclear", None)
    assert verdict.note == "3 and 8 rounds with a figure: 4 each are needed"


def test_zero_has_no_ratio() -> None:
    verdict = judged(case([0.0, *CALM], CALM, "lateness_p50_ms"))
    assert (verdict.outcome, verdict.ratio) == ("unclear", None)
    assert "not positive" in verdict.note


def test_an_additive_figure_is_compared_by_difference() -> None:
    errors: Figure = "errors_share"
    verdict = judged(case([0.0] * 4, [0.01, 0.02, 0.015, 0.012], errors))
    assert verdict.outcome == "slower"
    assert verdict.ratio is None
    assert verdict.difference is not None
    assert verdict.difference.middle == pytest.approx(0.01425)
    assert judged(case([0.0] * 4, [0.0001] * 4, errors)).outcome == "same", "too little to matter"
    assert judged(case([0.0] * 4, [1.0] * 4, "cancel_never_share")).outcome == "slower"


# -- controls -----------------------------------------------------------------------------------


def test_a_slower_machine_slows_nobody() -> None:
    ours = case(CALM, times(CALM, 1.15))
    control = case(times(CALM, 0.3), times(CALM, 0.3 * 1.15), peer="nginx")
    assert judged(ours).outcome == "slower"
    verdict = judged(ours, control)
    assert verdict.outcome == "same"
    assert verdict.noise > 0.15


def test_what_the_machine_does_not_explain_is_slower() -> None:
    control = case(times(CALM, 0.3), times(CALM, 0.3 * 1.05), peer="nginx")
    assert judged(case(CALM, times(CALM, 1.3)), control).outcome == "slower"


def test_a_control_is_never_an_alarm() -> None:
    verdict = judged(case(CALM, times(CALM, 3), peer="nginx"))
    assert verdict.outcome == "unclear"
    assert slower([verdict]) == ()


def test_a_control_at_one_load_speaks_for_the_others() -> None:
    ours = Case(Key("paced", "litellm", 400.0), CPU, CALM, times(CALM, 1.15))
    control = case(CALM, times(CALM, 1.15), peer="nginx")
    assert judged(ours, control).outcome == "same"


# -- many figures -------------------------------------------------------------------------------


def test_holm_rejects_from_the_smallest_on() -> None:
    equal = [0.25] * 4
    assert holm([0.010, 0.040, 0.030, 0.005], equal) == [True, False, False, True]
    assert holm([0.013, 0.013, 0.013, 0.013], equal) == [False] * 4
    assert holm([], []) == []


def test_half_of_the_doubt_is_for_what_is_expected_to_change() -> None:
    figures: list[Figure] = [CPU, "gap_p50_ms", "gap_p99_ms"]
    assert weights_of(figures) == [0.5, 0.25, 0.25]
    assert weights_of([CPU, CPU]) == [0.5, 0.5]
    assert holm([0.02, 0.06, 0.02], weights_of(figures)) == [True, False, True]
    assert holm([0.03, 0.02, 0.02], weights_of(figures)) == [False, False, False]


def test_no_change_has_evidence_as_chance_has_it() -> None:
    """p-values of unchanged figures are even between 0 and 1."""
    chance = random.Random(7)
    found = []
    for _ in range(400):
        earlier, later = ([chance.lognormvariate(0, 0.1) for _ in range(6)] for _ in range(2))
        found.append(p_value(case(earlier, later)))
    for share in (0.05, 0.25, 0.5):
        below = sum(value < share for value in found) / len(found)
        assert below == pytest.approx(share, abs=0.06), "seed 7"


# -- whole runs ---------------------------------------------------------------------------------

SCENARIOS: list[Scenario] = [find_scenario(name) for name in DEFAULTS]
SPREADS: dict[str, float] = {"parshall": 0.073, "nginx": 0.104}
"""Of CPU a token, a round: what five windows of two seconds had on a busy machine, 0.09 and 0.13,
taken to windows of three. Others are as wide as `_spread` says."""
SEED = 4


def _spread(figure: Figure, peer: str) -> float:
    if figure.startswith("cpu_"):
        return SPREADS[peer]
    return 0.05 if figure.startswith(("memory_", "requests_")) else 0.2


def two_runs(chance: random.Random, slowdown_us: float = 0.0, machine: float = 1.0) -> list[Case]:
    """The default scenarios, twice: 60 figures of a gateway of 51 µs, and of nginx, of 15."""
    cases = []
    for scenario in SCENARIOS:
        for peer, cpu_us in (("parshall", 51.0), ("nginx", 15.0)):
            for figure in scenario.figures:
                cpu = figure.startswith("cpu_")
                was = cpu_us if cpu else 1.0
                now = was * machine if cpu else was
                if cpu and peer == "parshall":
                    now += slowdown_us
                spread = _spread(figure, peer)
                draw = chance.gauss if FIGURES[figure].additive else _log_normal(chance)
                cases.append(
                    Case(
                        Key(scenario.name, peer, 0.0),
                        figure,
                        [draw(was, spread) for _ in range(scenario.repeats)],
                        [draw(now, spread) for _ in range(scenario.repeats)],
                    )
                )
    return cases


def _log_normal(chance: random.Random) -> Callable[[float, float], float]:
    return lambda middle, spread: middle * math.exp(chance.gauss(0, spread))


def flagged(runs: int, slowdown_us: float = 0.0, machine: float = 1.0) -> float:
    """The share of comparisons in which something is slower or faster.

    Of 1,000 unchanged ones 10 are, of 1,000 that are slower by a fifth 939: `--long` looks at them.
    """
    chance, found = random.Random(SEED), 0
    for _ in range(runs):
        verdicts = judge_cases(two_runs(chance, slowdown_us, machine), seed=1, resamples=40)
        found += any(verdict.outcome in ("slower", "faster") for verdict in verdicts)
    return found / runs


@pytest.fixture
def runs(request: pytest.FixtureRequest) -> int:
    return 1_000 if request.config.getoption("--long") else 30


def test_an_unchanged_run_is_hardly_ever_flagged(runs: int) -> None:
    assert flagged(runs) < FALSE_ALARMS, f"seed {SEED}"


def test_a_fifth_more_is_nearly_always_flagged(runs: int) -> None:
    assert flagged(runs, slowdown_us=10.2) > 0.9, f"seed {SEED}"


def test_a_hundred_microseconds_are_always_flagged(runs: int) -> None:
    assert flagged(max(10, runs // 10), slowdown_us=100.0) == 1.0, f"seed {SEED}"


def test_the_ratio_holds_the_truth_in_whole_runs() -> None:
    chance = random.Random(SEED)
    held = 0
    for _ in range(60):
        found = change_of(two_runs(chance, slowdown_us=51.0)[0], seed=1, resamples=200)
        assert found is not None
        held += found.low <= 2.0 <= found.high
    assert held / 60 > 0.88, f"seed {SEED}"
