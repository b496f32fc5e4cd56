"""What a token and a request cost is what the baseline says, and more is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.counts.check import (
    PYTHON,
    beaten,
    least,
    measure,
    missed,
    read_baseline,
    table,
    write_baseline,
)
from bench.counts.paths import Count, measure_relays
from engine.relay import StreamRelay

CHAT = "relay of a token, chat"
KNOWN = {"a": Count(100.0, 0.5), "b": Count(40.0, None)}


@pytest.fixture(scope="module")
def baseline() -> dict[str, Count]:
    known = read_baseline()
    if known is None:
        pytest.skip(f"no baseline for Python {PYTHON}: `python -m bench.counts --write`")
    return known


def test_no_more_work_than_the_baseline(baseline: dict[str, Count]) -> None:
    counts = measure(baseline)
    assert not missed(counts, baseline), f"\n{table(counts, baseline)}"


def test_one_more_call_an_event_is_noticed(
    baseline: dict[str, Count], monkeypatch: pytest.MonkeyPatch
) -> None:
    pass_by = StreamRelay.pass_by

    def with_one_more(relay: StreamRelay, data: bytes) -> bytes | None:
        assert not relay.pending_bytes
        return pass_by(relay, data)

    monkeypatch.setattr(StreamRelay, "pass_by", with_one_more)
    found = missed(measure_relays([CHAT]), baseline)
    assert [line for line in found if line.startswith(f"{CHAT}:") and "calls" in line], found


def test_slow_work_in_few_calls_is_noticed(
    baseline: dict[str, Count], monkeypatch: pytest.MonkeyPatch
) -> None:
    pass_by = StreamRelay.pass_by

    def with_a_loop(relay: StreamRelay, data: bytes) -> bytes | None:
        sum(range(500))
        return pass_by(relay, data)

    monkeypatch.setattr(StreamRelay, "pass_by", with_a_loop)
    found = missed(measure_relays([CHAT]), baseline)
    assert [line for line in found if line.startswith(f"{CHAT}:") and "CPU" in line], found


@pytest.mark.parametrize(
    ("count", "is_missed", "is_beaten"),
    [
        (Count(104.0, 0.7), False, False),
        (Count(106.0, 0.5), True, False),
        (Count(100.0, 0.81), True, False),
        (Count(94.0, 0.5), False, True),
        (Count(100.0, 0.1), False, False),
    ],
)
def test_within_the_margin_or_not(count: Count, is_missed: bool, is_beaten: bool) -> None:
    counts = {**KNOWN, "a": count}
    assert bool(missed(counts, KNOWN)) == is_missed
    assert bool(beaten(counts, KNOWN)) == is_beaten


def test_a_path_without_a_baseline_is_missed() -> None:
    assert missed({**KNOWN, "new": Count(1.0, None)}, KNOWN) == [
        "new is on one side only: write the baseline anew"
    ]


def test_of_two_measurements_the_least_counts() -> None:
    assert least(Count(10.0, 0.7), Count(11.0, 0.6)) == Count(10.0, 0.6)
    assert least(Count(10.0, None), Count(9.0, None)) == Count(9.0, None)


def test_the_table_says_what_to_do() -> None:
    assert "As the baseline" in table(KNOWN, KNOWN)
    assert "Take the work out" in table({**KNOWN, "a": Count(200.0, 0.5)}, KNOWN)
    assert "commit the baseline" in table({**KNOWN, "a": Count(50.0, 0.5)}, KNOWN)
    assert "There is no baseline" in table(KNOWN, None)


def test_each_python_keeps_its_own_baseline(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    write_baseline(KNOWN, path, "3.11")
    write_baseline({"a": Count(90.123, 0.5)}, path, "3.12")
    assert path.read_text() == (
        '{\n  "3.11": {\n    "a": {\n      "calls": 100.0,\n      "cpu": 0.5\n    },\n'
        '    "b": {\n      "calls": 40.0,\n      "cpu": null\n    }\n  },\n'
        '  "3.12": {\n    "a": {\n      "calls": 90.12,\n      "cpu": 0.5\n    }\n  }\n}\n'
    )
