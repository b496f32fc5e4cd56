"""Axes that can be read, curves that keep their shape, colours that stay with their peers."""

from __future__ import annotations

import random
import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest

from bench.report.looks import COLOURS, looks_of, marker
from bench.report.svg import Linear, Log, Scale, Tail, stairs, x_axis

KNOWN = ("nginx", "parshall", "litellm", "portkey", "smg", "direct")


def scales(seed: int) -> list[Scale]:
    rng = random.Random(seed)
    low = 10 ** rng.uniform(-2, 4)
    high = low * 10 ** rng.uniform(0.08, 6)
    return [Log(low, high), Linear(rng.choice([0.0, low]), high)]


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("right", [304.0, 348.0])
def test_labels_of_an_axis_stand_apart_and_are_enough(seed: int, right: float) -> None:
    for scale in scales(seed):
        axis = ET.fromstring(f"<g>{x_axis(scale, 100, right, 0, 200)}</g>")
        labels = [(float(each.get("x", "")), each.text or "") for each in axis.iter("text")]
        assert len(labels) >= 2, scale
        assert labels == sorted(labels), scale
        assert len({text for _, text in labels}) == len(labels), scale
        for (x, text), (following, other) in pairwise(labels):
            assert following - x >= 6 * (len(text) + len(other)) / 2, scale
        assert all(100 <= x <= right for x, _ in labels), scale


def test_the_tail_is_drawn_wide() -> None:
    tail = Tail(0.999)
    assert [tail.place(share) for share in (0, 0.9, 0.99, 1)] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert [label for _, label in tail.ticks(5)] == ["0", "50 %", "90 %", "99 %", "99.9 %"]


def test_what_lies_beyond_an_axis_is_at_its_end() -> None:
    assert [Log(1, 100).place(value) for value in (-5, 0, 10, 1e9)] == pytest.approx([0, 0, 0.5, 1])
    assert [Linear(0, 10).place(value) for value in (-5, 5, 99)] == [0, 0.5, 1]


def test_a_curve_leaves_out_steps_that_nobody_sees() -> None:
    points = [(x / 100, 200 - x / 100) for x in range(10_001)]
    path = ET.fromstring(stairs(points, "curve")).get("d", "")
    assert path.startswith("M0.0 200.0H")
    assert path.endswith("H100.0V100.0")
    assert 100 < len(re.findall("H", path)) < 200


def test_well_known_peers_keep_their_colours() -> None:
    alone = {peer: looks_of([peer])[peer] for peer in KNOWN}
    assert len(set(alone.values())) == len(KNOWN)
    assert looks_of([*KNOWN, "mine", "yours", "theirs"]).items() >= alone.items()


def test_others_have_one_of_their_own_as_far_as_there_are_some() -> None:
    several = [*KNOWN, "parshall@HEAD~5", "mine", "yours"]
    assert sorted(looks_of(several).values()) == list(range(COLOURS))
    assert looks_of(several) == looks_of(several[::-1])
    many = looks_of([f"peer {number}" for number in range(40)])
    assert len(many) == 40
    assert set(many.values()) == set(range(COLOURS))


def test_markers_differ_without_colour() -> None:
    drawn = {re.sub(r" p\d", "", marker(look, 0, 0)) for look in range(COLOURS)}
    assert len(drawn) == COLOURS
