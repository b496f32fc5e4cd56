"""Waiting for a host that rations CPU time."""

from __future__ import annotations

import math

from bench.suite.patience import CALM_MAX, LOOKS, WAIT_MAX_S, stolen_share, wait_calm

CALM_S = (LOOKS - 1) * 20.0


class Host:
    """Takes most of the time away until `given_back_s`, and once more for a moment at `relapse_s`;
    else a little of it."""

    def __init__(self, given_back_s: float, relapse_s: float = math.inf) -> None:
        self.now_s = 0.0
        self._given_back_s, self._relapse_s = given_back_s, relapse_s

    def stolen(self) -> float:
        relapsed = self._relapse_s <= self.now_s < self._relapse_s + 30
        return 0.9 if self.now_s < self._given_back_s or relapsed else CALM_MAX / 2

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def waited_s(self) -> float:
        return wait_calm(self.stolen, lambda: self.now_s, self.sleep)


def test_it_idles_until_little_was_taken_away_for_a_while() -> None:
    assert 300 + CALM_S <= Host(300).waited_s() <= 300 + CALM_S + 20


def test_a_relapse_begins_the_while_anew() -> None:
    assert Host(300, relapse_s=360).waited_s() >= 380 + CALM_S


def test_a_single_tick_that_a_short_look_takes_for_much_does_not() -> None:
    looks = iter([0.9] + [0.02] * 8 + [0.16] + [0.02] * 20)
    now_s = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds

    assert wait_calm(lambda: next(looks), lambda: now_s, sleep) == LOOKS * 20.0


def test_a_host_that_never_gives_back_is_not_waited_for_without_end() -> None:
    assert WAIT_MAX_S <= Host(math.inf).waited_s() <= WAIT_MAX_S + 40


def test_what_is_taken_away_is_a_share() -> None:
    assert 0.0 <= stolen_share() <= 64.0
