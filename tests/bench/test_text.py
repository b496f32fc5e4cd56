"""The words are one token each, and n of them are n tokens however they are joined."""

from __future__ import annotations

import itertools

import pytest
import toktok
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.simulate.text import WordSource, seed_of
from bench.simulate.words import WORDS

ENCODINGS = ("o200k_base", "cl100k_base")


def count(text: str, encoding: str = "o200k_base") -> int:
    (tokens,) = toktok.batch_count([text], encoding, 1)
    return int(tokens)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_word_is_one_token_alone_and_after_a_space(encoding: str) -> None:
    texts = [form for word in WORDS for form in (word, f" {word}")]
    counts = toktok.batch_count(texts, encoding, 1)
    assert [text for text, tokens in zip(texts, counts, strict=True) if tokens != 1] == []


def test_words_are_distinct_and_need_no_escape() -> None:
    assert len(set(WORDS)) == 512
    assert all(word.isascii() and word.isalpha() and word.islower() for word in WORDS)


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(seed=st.binary(max_size=8), tokens=st.integers(0, 400), per_event=st.integers(1, 40))
@settings(deadline=None, max_examples=60)
def test_any_length_in_any_grouping_counts_exactly(
    encoding: str, seed: bytes, tokens: int, per_event: int
) -> None:
    source = WordSource(seed_of(seed))
    events = [
        source.text(start, min(start + per_event, tokens)) for start in range(0, tokens, per_event)
    ]
    assert "".join(events) == source.text(0, tokens)
    assert count("".join(events), encoding) == tokens
    # A client that counts each event by itself is right here too.
    assert sum(count(event, encoding) for event in events) == tokens


@given(cuts=st.lists(st.integers(0, 300), min_size=2, max_size=8))
@settings(deadline=None)
def test_text_is_addressed_by_token(cuts: list[int]) -> None:
    whole = WordSource(b"seed")
    other = WordSource(b"seed")
    cuts.sort()
    pieces = [other.text(start, end) for start, end in itertools.pairwise(cuts)]
    assert "".join(pieces) == whole.text(cuts[0], cuts[-1])


def test_seeds_keep_parts_apart() -> None:
    assert seed_of(b"ab", b"c") != seed_of(b"a", b"bc") != seed_of(b"abc")
    assert WordSource(seed_of(b"1")).text(0, 20) != WordSource(seed_of(b"2")).text(0, 20)


def test_text_never_changes_between_versions() -> None:
    assert (
        WordSource(seed_of(b"a request")).text(0, 8)
        == "true odd repeat unique sign phone trip real"
    )
