"""Counting text as it arrives: the sum over pieces is the count of the whole."""

from __future__ import annotations

import random
import sys

import pytest
import toktok

from engine.metering.tokens import (
    FAMILIES,
    TextCounter,
    count_prompt,
    counted_by,
    counter_for,
    encoding_for,
    family_of,
)

PROSE = (
    "Streams of beautiful tokens arrive in pieces that end in the middle of words. "
    "Über-große Flüsse, 3.14159 and naïve cafés; def f(x): return x ** 2  # code too.\n\n"
    "Counting each piece by itself doubles the sum, so text is gathered first. "
)


@pytest.mark.parametrize(
    ("model", "encoding"),
    [
        ("gpt-4o-mini", "o200k_base"),
        ("gpt-4-turbo", "cl100k_base"),
        ("gpt-5", "o200k_base"),
        ("openai/gpt-3.5-turbo", "cl100k_base"),
        ("chatgpt-4o-latest", "o200k_base"),
        ("o3-mini", "o200k_base"),
        ("gpt-oss-120b", "o200k_harmony"),
        ("claude-opus-4", "o200k_base"),
        ("qwen3-max", "qwen3.5"),
        ("Qwen/Qwen3-235B-A22B", "qwen3.5"),
        ("my-own", "o200k_base"),
    ],
)
def test_each_model_is_counted_with_its_vocabulary(model: str, encoding: str) -> None:
    assert encoding_for(model) == encoding


@pytest.mark.parametrize("encoding", ["o200k_base", "cl100k_base", "o200k_harmony", "qwen3.5"])
def test_our_counter_is_the_librarys(encoding: str) -> None:
    assert [counter_for(encoding)(PROSE)] == toktok.batch_count([PROSE], encoding, 1)


def test_spaces_without_end_are_not_looked_through_one_by_one() -> None:
    steps = 0

    def note(_frame: object, event: str, function: object) -> None:
        nonlocal steps
        steps += event == "c_call" and getattr(function, "__name__", "") == "rfind"

    counter = TextCounter(counter_for("o200k_base"))
    sys.setprofile(note)
    try:
        counter.add("two words" + " " * 1_000_000)
    finally:
        sys.setprofile(None)

    assert steps < 1_000
    assert counter.known_tokens > 10


@pytest.mark.parametrize("seed", range(20))
def test_pieces_add_up_to_the_whole(seed: int) -> None:
    chance = random.Random(seed)
    text = PROSE * 40
    counter = TextCounter(counter_for("o200k_base"))
    at = 0
    while at < len(text):
        size = chance.choice([1, 3, 8, 40, 300])
        counter.add(text[at : at + size])
        at += size
    assert counter.total() == counter_for("o200k_base")(text), f"seed {seed}"


def test_the_known_count_is_at_most_200_characters_behind() -> None:
    count = counter_for("o200k_base")
    counter = TextCounter(count)
    text = ""
    for end in range(3_000):
        counter.add(PROSE[end % len(PROSE)])
        text += PROSE[end % len(PROSE)]
        # A text cut in mid-word may count a token or two more than a longer one.
        assert counter.known_tokens >= count(text[:-200]) - 2
    assert counter.known_tokens > 0


def test_text_without_spaces_is_cut_in_the_clients_favour() -> None:
    text = "字" * 100_000
    counter = TextCounter(counter_for("o200k_base"))
    for at in range(0, len(text), 100):
        counter.add(text[at : at + 100])
    exact = counter_for("o200k_base")(text)
    assert exact - 20 <= counter.total() <= exact


def test_a_huge_prompt_is_bounded_below() -> None:
    text = "hello world " * 200_000
    assert count_prompt([text[:900_000]], "o200k_base") == counter_for("o200k_base")(text[:900_000])
    assert 0 < count_prompt([text], "o200k_base") < counter_for("o200k_base")(text)


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude"),
        ("meta.llama3-70b-instruct", "llama"),
        ("publishers/google/models/gemini-2.5-pro", "gemini"),
        ("deepseek-ai/DeepSeek-V3.1", "deepseek"),
        ("gpt-4.1-mini", "gpt-4o"),
        ("text-davinci-003", "others"),
    ],
)
def test_a_model_is_of_a_family_under_any_providers_name(model: str, family: str) -> None:
    assert family_of(model).name == family


def test_every_family_has_a_vocabulary_and_says_how_far_it_is_off() -> None:
    for family in FAMILIES:
        assert counter_for(family.encoding)("a word") > 0
        assert counted_by(family.prefixes[0]).startswith(family.encoding)
    assert counted_by("gpt-4o") == "o200k_base: 1.00 of the count of gpt-4o (0.99 to 1.00)"
    assert counted_by("kimi-k2") == "o200k_base", "not measured"
