"""`auto` by table: what a score is made of, the level it gives, which models come in what order."""

from __future__ import annotations

from dataclasses import fields

import pytest

from engine.routing.auto import FULL_AT, SCORE_MAX, judge, ranked
from engine.routing.values import WEIGHTS, AutoChoice, AutoTable, Features, Level

TABLE = AutoTable(
    choices=(),
    medium=30,
    hard=60,
    weights={"words": 20, "code": 20, "mathematics": 20, "reasoning": 30, "depth": 10},
)


def choices(*strengths: int) -> tuple[AutoChoice, ...]:
    """Models `a`, `b`, … of these strengths."""
    return tuple(AutoChoice(chr(ord("a") + at), each) for at, each in enumerate(strengths))


def names(found: tuple[AutoChoice, ...]) -> str:
    return "".join(choice.model for choice in found)


def test_every_weight_has_an_amount_that_is_worth_it() -> None:
    assert WEIGHTS.keys() == FULL_AT.keys()
    assert sum(WEIGHTS.values()) >= SCORE_MAX, "some prompt has every score"
    features = {field.name for field in fields(Features)}
    assert FULL_AT.keys() <= features


@pytest.mark.parametrize(
    ("features", "score", "level", "reasons"),
    [
        (Features(), 0, "easy", ()),
        (Features(words=1), 0, "easy", ()),
        (Features(words=750), 10, "easy", ("words 750: +10",)),
        (Features(words=10_000), 20, "easy", ("words 10000: +20",)),
        (
            Features(code=2, depth=10, words=375),
            18,
            "easy",
            ("words 375: +5", "code 2: +8", "depth 10: +5"),
        ),
        (Features(reasoning=True), 30, "medium", ("reasoning 2: +30",)),
        (Features(hard=1), 15, "easy", ("reasoning 1: +15",)),
        (Features(hard=2), 30, "medium", ("reasoning 2: +30",)),
        (Features(hard=50, reasoning=True), 30, "medium", ("reasoning 2: +30",)),
        (
            Features(reasoning=True, code=5, mathematics=2),
            60,
            "hard",
            ("code 5: +20", "mathematics 2: +10", "reasoning 2: +30"),
        ),
        (Features(tools=8, schema=True, languages=2), 0, "easy", ()),
    ],
)
def test_a_score_is_the_sum_of_its_reasons(
    features: Features, score: int, level: Level, reasons: tuple[str, ...]
) -> None:
    judged = judge(features, TABLE)
    assert (judged.score, judged.level, judged.reasons) == (score, level, reasons)
    assert sum(int(reason.rpartition("+")[2]) for reason in reasons) == score


def test_no_score_is_above_all_there_is() -> None:
    heavy = AutoTable((), weights={"words": 90, "code": 90})
    assert judge(Features(words=10_000, code=100), heavy).score == SCORE_MAX


@pytest.mark.parametrize(
    ("score", "level"), [(29, "easy"), (30, "medium"), (59, "medium"), (60, "hard")]
)
def test_the_levels_begin_where_the_table_says(score: int, level: Level) -> None:
    table = AutoTable((), medium=30, hard=60, weights={"words": FULL_AT["words"]})
    assert judge(Features(words=score), table).level == level


COSTS = {"a": 50, "b": 10, "c": 30, "d": 10}


@pytest.mark.parametrize(
    ("level", "strengths", "order"),
    [
        ("easy", (1, 1, 1), "bca"),
        ("easy", (3, 2, 1), "bca"),
        ("medium", (3, 1, 2), "cab"),
        ("hard", (3, 2, 3), "cab"),
        ("hard", (1, 1, 1), "bca"),
        ("hard", (1, 2, 1), "bca"),
        ("hard", (2, 1, 2), "cab"),
        ("easy", (1, 1, 1, 1), "bdca"),
        ("hard", (1, 3, 1, 3), "bdca"),
    ],
)
def test_the_cheapest_of_the_strong_enough_then_the_strongest_of_the_others(
    level: Level, strengths: tuple[int, ...], order: str
) -> None:
    assert names(ranked(choices(*strengths), level, COSTS.get)) == order


def test_who_cannot_serve_is_left_out() -> None:
    assert names(ranked(choices(3, 3, 1), "hard", {"a": 9, "c": 1}.get)) == "ac"
    assert ranked(choices(3), "easy", lambda _name: None) == ()
