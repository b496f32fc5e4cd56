"""Whose a prompt is: always the same, by weight, and moved by nobody who comes or goes."""

from __future__ import annotations

from collections import Counter

import pytest

from engine.routing.ring import build_ring, digest_of

ROWS = (("near/small", 1), ("far/small", 2), ("other/small", 1))
DIGESTS = [digest_of(f"prompt {number}") for number in range(3_000)]


def owners(rows: tuple[tuple[str, int], ...]) -> list[str]:
    ring = build_ring(rows)
    return [rows[next(ring.walk(digest))][0] for digest in DIGESTS]


def test_the_same_ring_in_every_process() -> None:
    assert digest_of("a prompt").hex() == "ca518e25eebec997", "by `b2sum -l 64`"
    assert owners(ROWS) == owners(ROWS)


def test_shares_follow_the_weights() -> None:
    counts = Counter(owners(ROWS))
    for path, weight in ROWS:
        assert counts[path] / len(DIGESTS) == pytest.approx(weight / 4, rel=0.35)


def test_who_goes_moves_only_what_was_its_own() -> None:
    before, after = owners(ROWS), owners(ROWS[:2])
    moved = [path for path, now in zip(before, after, strict=True) if path != now]
    assert set(moved) == {"other/small"}
    assert len(moved) == before.count("other/small")


def test_a_walk_meets_everybody_who_has_a_weight() -> None:
    rows = (*ROWS, ("idle/small", 0))
    for digest in DIGESTS[:20]:
        assert set(build_ring(rows).walk(digest)) == {0, 1, 2}


def test_nobody_has_a_weight() -> None:
    assert list(build_ring((("idle/small", 0),)).walk(DIGESTS[0])) == []


def test_of_many_each_has_some_points_and_all_together_are_bounded() -> None:
    rows = tuple((f"provider-{number}/small", 1 + number % 10) for number in range(1_000))
    ring = build_ring(rows)
    assert set(ring.owners) == set(range(1_000))
    assert len(ring.hashes) < 6_000


def test_text_that_is_no_unicode_has_a_digest_too() -> None:
    assert len(digest_of("half a pair: \ud83d")) == 8
