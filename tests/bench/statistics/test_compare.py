"""Two runs: whether they can be compared at all, and the table of what became of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from bench.statistics.compare import IncomparableError, Run, judge, verdict_table
from bench.suite.figures import Figure
from bench.suite.model import Guards, Sample
from tests.bench.suite.samples import HEADER, QUIET, sample

NOISE = [0.98, 1.01, 1.0, 1.03, 0.99, 1.02]
FIGURES: tuple[Figure, ...] = ("cpu_us_per_token", "added_first_token_p50_ms", "errors_share")


def run(us: float = 51.0, header: dict[str, Any] | None = None, **fields: Any) -> Run:
    """Six rounds of direct, nginx, and a gateway that takes so many µs a token."""
    samples: list[Sample] = []
    for repeat, noise in enumerate(NOISE):
        for peer, cost_us in (("direct", None), ("nginx", 15.0), ("parshall", us)):
            cpu_s = None if cost_us is None else cost_us * noise / 1e3
            samples.append(sample(peer=peer, repeat=repeat, cpu_s=cpu_s, tokens=1_000, **fields))
    changes = {"figures": {"paced": FIGURES}} | (header or {})
    return Run(dataclasses.replace(HEADER, **changes), samples)


def test_nothing_changed() -> None:
    judgement = judge(run(), run(), resamples=200)
    assert {verdict.outcome for verdict in judgement.verdicts} == {"same"}
    assert judgement.exit_status == 0
    assert judgement.notes == ()


def test_a_slower_gateway_is_an_exit_status() -> None:
    judgement = judge(run(51), run(151), resamples=200)
    slower = [each for each in judgement.verdicts if each.outcome == "slower"]
    assert [(each.peer, each.figure) for each in slower] == [("parshall", "cpu_us_per_token")]
    assert judgement.exit_status == 1
    assert judge(run(151), run(51), resamples=200).exit_status == 0, "faster is no fault"


def test_refused_rounds_are_not_compared() -> None:
    after = run(51)
    after = Run(after.header, [*after.samples, sample(repeat=9, cpu_s=9.0, refused="busy")])
    assert judge(run(), after, resamples=200).exit_status == 0


def test_each_load_is_compared_with_its_like() -> None:
    before, after = (
        Run(run().header, [*run().samples, *run(us, rate_max=400.0).samples]) for us in (60, 90)
    )
    judgement = judge(before, after, resamples=200)
    assert [
        (each.peer, each.rate_max) for each in judgement.verdicts if each.outcome == "slower"
    ] == [("parshall", 400.0)]


# -- what cannot be compared --------------------------------------------------------------------

MACHINE = HEADER.machine


@pytest.mark.parametrize(
    ("after", "message"),
    [
        (run(header={"digests": {"paced": "another"}}), "'paced' has become another"),
        (
            run(header={"machine": dataclasses.replace(MACHINE, cores=4)}),
            "different machines: cores 2 and 4",
        ),
        (
            run(header={"machine": dataclasses.replace(MACHINE, cpu="another")}),
            "different machines: cpu a CPU and another",
        ),
        (
            run(header={"machine": dataclasses.replace(MACHINE, memory_bytes=16 << 30)}),
            "8192 and 16384 MiB of memory",
        ),
        (run(rate_max=400.0), "at the full load, now at 400 tokens/s"),
        (run(scenario="unary"), "no scenario with a peer in common"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_a_reason(after: Run, message: str) -> None:
    with pytest.raises(IncomparableError, match=message):
        judge(run(), after)


def test_what_differs_otherwise_is_said() -> None:
    slow = Guards(**{**dataclasses.asdict(QUIET), "calibration_ms": 60.0})
    later = run(
        header={
            "machine": dataclasses.replace(MACHINE, kernel="6.2"),
            "versions": {"parshall": "1.1", "nginx": "1.22.1"},
        },
        guards=slow,
    )
    earlier = run()
    earlier = Run(earlier.header, [*earlier.samples, sample(peer="smg")])
    assert judge(earlier, later, resamples=50).notes == (
        "Only the earlier run has, at its load: smg in paced.",
        "The kernel is another: 6.1, now 6.2.",
        "parshall has another version: 1.0, now 1.1.",
        (
            "The machine took 41.5 ms, now 60.0 ms for the same fixed work: "
            "the controls say how much of a change that explains."
        ),
    )


def test_without_a_control_that_is_said() -> None:
    alone = Run(run().header, [each for each in run().samples if each.peer == "parshall"])
    (note,) = judge(alone, alone, resamples=50).notes
    assert note.startswith("No control (direct or nginx)")


# -- the table ----------------------------------------------------------------------------------


def test_the_table_has_the_worst_first_and_controls_last() -> None:
    text = verdict_table(judge(run(51), run(151), resamples=200))
    head, worst, *others = text.splitlines()
    assert head.split("  ")[0] == "scenario"
    assert worst.startswith("paced     parshall  CPU per token")
    assert "51.3 µs  152 µs   +196.1% (" in worst
    assert worst.endswith("slower")
    peers = [line.split()[1] for line in others if line.startswith("paced")]
    assert peers == ["parshall", "parshall", "direct", "nginx", "nginx", "nginx"]
    assert text.endswith("\n1 slower, 0 faster, 0 unclear, 6 same\n")
