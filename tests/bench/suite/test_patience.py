"""Waiting for a host that rations CPU time."""

from __future__ import annotations

import math

from bench.suite.patience import CALM_S, WAIT_MAX_S, stolen_share, wait_calm


class Host:
    """Takes the time away until `given_back_s`, and once more for a moment at `relapse_s`."""

    def __init__(self, given_back_s: float, relapse_s: float = math.inf) -> None:
        self.now_s = 0.0
        self._given_back_s, self._relapse_s = given_back_s, relapse_s

    def stolen(self) -> float:
        relapsed = self._relapse_s <= self.now_s < self._relapse_s + 30
        return 0.9 if self.now_s < self._given_back_s or relapsed else 0.0

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def waited_s(self) -> float:
        return wait_calm(self.stolen, lambda: self.now_s, self.sleep)


def test_it_idles_until_nothing_was_taken_away_for_a_while() -> None:
    assert 300 + CALM_S <= Host(300).waited_s() <= 300 + CALM_S + 40


def test_a_relapse_begins_the_while_anew() -> None:
    assert Host(300, relapse_s=400).waited_s() >= 430 + CALM_S


def test_a_host_that_never_gives_back_is_not_waited_for_without_end() -> None:
    assert WAIT_MAX_S <= Host(math.inf).waited_s() <= WAIT_MAX_S + 40


def test_what_is_taken_away_is_a_share() -> None:
    assert 0.0 <= stolen_share() <= 64.0
