"""What is seen of a prompt, and that spaces and line breaks change nothing of it."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.routing.features import WORDS, WORDS_MAX, features_of
from engine.routing.values import Features

PROMPTS = (
    "Hello there.",
    "What is the capital of Australia?",
    "Translate 'good morning' into Spanish, please.",
    "Write a haiku about rain on a tin roof.",
    "Give me three names for a grey cat.",
    "Summarise this mail in a sentence: we meet on Tuesday at ten instead of Monday.",
    "Write a Python function that reverses a list in place.",
    "Refactor this: ```def f(x): return x if x else None```",
    "Why does `for (var i = 0; i < 3; i++) {}` leak i in JavaScript?",
    "SELECT * FROM users WHERE id = 1; -- explain this SQL query",
    "Design a lock-free queue in Rust and prove that it is linearizable.",
    "Find the race condition: two goroutines share a map without a mutex.",
    "Prove that √2 is irrational.",
    "Compute the integral of x^2 e^x dx from 0 to 1.",
    "Show that every group of prime order is cyclic, by Lagrange's theorem.",
    "Let \\frac{a}{b} be a rational number; derive the recurrence.",
    "Beweise, dass es unendlich viele Primzahlen gibt.",
    "Докажите, что сумма углов треугольника равна 180 градусам.",
    "证明素数有无穷多个,并分析每一步。",
    "日本の首都はどこですか。",
    "ما هي عاصمة مصر؟",
    "Ποια είναι η πρωτεύουσα της Ελλάδας;",
    "מהי בירת ישראל?",
    "भारत की राजधानी क्या है?",
    "한국의 수도는 어디인가요?",
    "Let α and β be the roots; find α + β.",
    "Plan a migration of 400 services to another region and weigh the trade-offs step by step.",
    "Compare two vaccines given the evidence, and justify your assessment of the risks.",
    "- first\n- second\n- third\nWhich of these is last?",
    "| a | b |\n|---|---|\n| 1 | 2 |\nAdd the columns up.",
)


def seen(*texts: str, words: Mapping[str, tuple[str, ...]] = WORDS) -> Features:
    return features_of(texts, tools=0, schema=False, reasoning=False, depth=len(texts), words=words)


def respaced(text: str, space: str) -> str:
    return re.sub(r"\s+", space, text)


SPACES = (" ", "  ", "\n", "\t \r\n", "\u00a0\u2003")


@pytest.mark.parametrize("prompt", PROMPTS, ids=range(len(PROMPTS)))
def test_spaces_change_nothing(prompt: str) -> None:
    for space in SPACES:
        assert seen(space + respaced(prompt, space) + space) == seen(prompt), repr(space)


@settings(deadline=None, max_examples=40)
@given(
    words=st.lists(st.sampled_from([*"abcdef", "prove", "def", "()", "数", "=>", "x" * 90])),
    spaces=st.lists(st.text(" \n\t\u3000", min_size=1, max_size=9), min_size=1),
    repeated=st.sampled_from([1, 200]),
)
def test_spaces_change_nothing_of_any_text(
    words: list[str], spaces: list[str], repeated: int
) -> None:
    words *= repeated
    text = "".join(word + spaces[at % len(spaces)] for at, word in enumerate(words))
    assert seen(text) == seen(" ".join(words))


@pytest.mark.parametrize(
    ("prompt", "code", "mathematics", "hard", "languages"),
    [
        ("What is the capital of Australia?", 0, 0, 0, 0),
        ("Write a Python function that reverses a list.", 2, 0, 0, 0),
        ("SELECT * FROM t", 1, 0, 0, 0),
        ("Prove that √2 is irrational.", 0, 3, 1, 0),
        ("Why does this query deadlock?", 2, 0, 0, 0),
        ("Weigh the trade-offs step by step.", 0, 0, 2, 0),
        ("Докажите теорему.", 0, 1, 1, 1),
        ("日本の首都はどこですか。", 0, 0, 0, 1),
        ("证明素数有无穷多个", 0, 2, 1, 1),
        ("Let α and β be roots.", 0, 0, 0, 0),
        ("Ποια είναι;", 0, 0, 0, 1),
        ("Привет, Ελλάδα", 0, 0, 0, 2),
        ("improvement of approved provenance", 0, 0, 0, 0),
    ],
)
def test_what_is_found(prompt: str, code: int, mathematics: int, hard: int, languages: int) -> None:
    found = seen(prompt)
    assert (found.code, found.mathematics, found.hard, found.languages) == (
        code,
        mathematics,
        hard,
        languages,
    )


def test_what_else_is_asked_for_is_passed_on() -> None:
    asked = features_of(["Hi"], tools=3, schema=True, reasoning=True, depth=7)
    assert asked == Features(words=1, tools=3, schema=True, reasoning=True, depth=7)


def test_words_of_the_configuration_stand_in_place_of_the_usual_ones() -> None:
    own = {"code": ("Fortran", "do loop")}
    assert seen("Python fortran DO  LOOP", words=own).code == 2
    assert seen("Prove it", words=own).mathematics == 1, "what it does not name stays"


def test_the_last_turns_count_of_a_long_conversation() -> None:
    turns = ["prove the theorem " * 100] + ["blah " * 500] * 4
    assert seen(*turns).mathematics == 0
    assert seen(*reversed(turns)).mathematics == 2
    assert seen(*turns).words == WORDS_MAX


def test_both_ends_of_a_long_text_count() -> None:
    filler = "blah " * 5_000
    assert seen(f"Prove this. {filler}").mathematics == 1
    assert seen(f"{filler} Prove this.").mathematics == 1
    assert seen(f"{filler} Prove this. {filler}").mathematics == 0


def test_text_without_spaces_is_counted_by_its_characters() -> None:
    assert seen("数" * 800).words == 401
    assert seen("data" * 100_000).words == 1
