"""The breaker as scripts of what happens when, and against a list of all outcomes."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from engine.routing.breaker import PROBE_S, Breaker, State
from engine.routing.values import BreakerRules

RULES = BreakerRules(
    failures=3, share=0.5, requests_min=8, window_s=30.0, open_s=5.0, open_max_s=15.0
)


def fail(breaker: Breaker, at: float, draw: float = 0.5) -> None:
    """An attempt that fails as it begins."""
    assert breaker.admits(at)
    breaker.failed(at, breaker.begin(at), draw)


def succeed(breaker: Breaker, at: float) -> None:
    assert breaker.admits(at)
    breaker.succeeded(at, breaker.begin(at))


def opened(at: float = 100.0) -> Breaker:
    """One that has just opened for the first time, for five seconds."""
    breaker = Breaker(RULES)
    for _ in range(RULES.failures):
        fail(breaker, at)
    assert breaker.state(at) == "open"
    return breaker


def test_a_new_one_is_closed_and_admits_everybody() -> None:
    breaker = Breaker(RULES)
    assert (breaker.state(0.0), breaker.admits(0.0), breaker.opens_at(7.0)) == ("closed", True, 7.0)


def test_it_opens_at_so_many_failures_in_a_row_and_no_earlier() -> None:
    breaker = Breaker(RULES)
    for at in (1.0, 2.0):
        fail(breaker, at)
    succeed(breaker, 3.0)
    for at in (4.0, 5.0):
        fail(breaker, at)
    assert breaker.state(5.0) == "closed"
    fail(breaker, 6.0)
    assert (breaker.state(6.0), breaker.admits(6.0), breaker.generation) == ("open", False, 1)


def test_it_opens_at_a_share_of_the_outcomes_of_its_window() -> None:
    breaker = Breaker(RULES)
    for at in range(4):
        succeed(breaker, at)
    for at in (4, 5):
        fail(breaker, at)
    succeed(breaker, 6)
    assert breaker.state(6) == "closed"
    fail(breaker, 7)
    assert breaker.state(7) == "closed", "three of eight"
    fail(breaker, 8)
    assert breaker.state(8) == "closed", "four of nine"
    succeed(breaker, 9)
    for at in (10, 11):
        fail(breaker, at)
    assert breaker.state(11) == "open", "six of twelve, and never three in a row"


def test_what_is_older_than_the_window_is_forgotten() -> None:
    breaker = Breaker(RULES)
    for at in (0.0, 0.1):
        fail(breaker, at)
    succeed(breaker, 0.2)
    for at in (0.3, 0.4):
        fail(breaker, at)
    later = 0.4 + RULES.window_s
    for step in range(4):
        succeed(breaker, later + step / 10)
    for step in (4, 5):
        fail(breaker, later + step / 10)
    assert breaker.state(later + 1) == "closed", "two of six: the four before are gone"


@pytest.mark.parametrize(
    ("draw", "open_s"), [(0.0, 4.0), (0.5, 5.0), (1.0, 6.0)], ids=["soon", "middle", "late"]
)
def test_it_stays_open_for_a_time_that_is_drawn(draw: float, open_s: float) -> None:
    breaker = Breaker(RULES)
    for _ in range(RULES.failures):
        fail(breaker, 10.0, draw)
    assert breaker.opens_at(10.0) == pytest.approx(10.0 + open_s)
    assert breaker.state(9.9 + open_s) == "open"
    assert breaker.state(10.1 + open_s) == "half-open"


def test_half_open_it_admits_one_at_a_time_and_two_successes_close_it() -> None:
    breaker = opened(100.0)
    assert breaker.admits(105.0)
    probe = breaker.begin(105.0)
    assert (breaker.state(105.1), breaker.admits(105.1)) == ("half-open", False)
    breaker.succeeded(105.2, probe)
    assert breaker.state(105.2) == "half-open"
    succeed(breaker, 105.3)
    assert (breaker.state(105.3), breaker.admits(105.3)) == ("closed", True)


def test_a_failed_probe_opens_it_for_twice_as_long_up_to_a_bound() -> None:
    breaker, at = opened(100.0), 105.0
    for open_s in (10.0, 15.0, 15.0):
        fail(breaker, at)
        assert breaker.opens_at(at) == pytest.approx(at + open_s)
        at += open_s


def test_a_success_before_a_failure_does_not_close_it() -> None:
    breaker = opened(100.0)
    succeed(breaker, 105.0)
    fail(breaker, 105.1)
    assert breaker.state(105.1) == "open"
    at = breaker.opens_at(105.1)
    succeed(breaker, at)
    assert breaker.state(at) == "half-open", "two in a row, not two"


def test_a_probe_that_says_nothing_makes_room_when_it_ends_or_after_a_while() -> None:
    breaker = opened(100.0)
    probe = breaker.begin(105.0)
    breaker.let_go(106.0, probe)
    assert breaker.admits(106.0), "its client left"
    breaker.begin(106.0)
    assert breaker.opens_at(106.0) == 106.0 + PROBE_S
    assert not breaker.admits(105.9 + PROBE_S)
    assert breaker.admits(106.0 + PROBE_S), "nobody has heard of it"


def test_what_began_before_it_opened_is_not_counted() -> None:
    breaker = Breaker(RULES)
    old = [breaker.begin(99.0) for _ in range(6)]
    for _ in range(RULES.failures):
        fail(breaker, 100.0)
    breaker.failed(101.0, old[0])
    breaker.succeeded(102.0, old[1])
    assert breaker.opens_at(102.0) == pytest.approx(105.0), "as it was"
    probe = breaker.begin(105.0)
    breaker.let_go(105.1, old[2])
    assert not breaker.admits(105.2), "the probe has not ended"
    breaker.failed(105.2, old[3])
    breaker.succeeded(105.3, probe)
    succeed(breaker, 105.4)
    assert breaker.state(105.4) == "closed"
    for late in old[3:]:
        breaker.failed(106.0, late)
    assert breaker.state(106.0) == "closed", "timeouts of the outage that is over"


def test_after_a_minute_closed_it_opens_as_shortly_as_the_first_time() -> None:
    for quiet_s, open_s in ((59.0, 10.0), (60.0, 5.0)):
        breaker = opened(100.0)
        for at in (105.0, 105.0):
            succeed(breaker, at)
        again = 105.0 + quiet_s
        for _ in range(RULES.failures):
            fail(breaker, again)
        assert breaker.opens_at(again) == pytest.approx(again + open_s), quiet_s


def test_closed_it_is_as_one_that_has_known_nothing() -> None:
    breaker = opened(100.0)
    for at in (105.0, 105.1):
        succeed(breaker, at)
    for at in (105.2, 105.3):
        fail(breaker, at)
    assert breaker.state(105.3) == "closed", "three in a row, from the start"


def test_somebody_else_may_find_it_well_or_broken() -> None:
    breaker = opened(100.0)
    breaker.probe_soon(101.0)
    assert breaker.state(101.0) == "half-open"
    breaker.begin(101.0)
    breaker.probe_soon(101.5)
    assert not breaker.admits(101.5), "one at a time, all the same"
    breaker.trip(102.0)
    assert breaker.state(102.0) == "open"
    until = breaker.opens_at(102.0)
    breaker.trip(103.0)
    assert breaker.opens_at(103.0) == until, "it is open"
    well = Breaker(RULES)
    well.probe_soon(1.0)
    assert well == Breaker(RULES)
    well.trip(1.0)
    assert well.state(1.0) == "open"


def test_without_a_number_of_failures_there_is_no_breaker() -> None:
    breaker = Breaker(BreakerRules(failures=0))
    for at in range(100):
        fail(breaker, at)
    breaker.trip(100.0)
    assert breaker == Breaker(BreakerRules(failures=0))


def test_one_that_is_reset_knows_nothing() -> None:
    breaker = Breaker(RULES)
    for at in (1.0, 2.0):
        fail(breaker, at)
    breaker.reset()
    for at in (3.0, 4.0):
        fail(breaker, at)
    assert breaker.state(4.0) == "closed"
    fail(breaker, 5.0)
    breaker.reset()
    assert breaker.state(5.0) == "closed"


def test_another_window_forgets_what_was_counted_by_the_one_before() -> None:
    breaker = Breaker(RULES)
    for at in (1_000.0, 1_000.1):
        fail(breaker, at)
    breaker.rules = BreakerRules(failures=9, requests_min=3, window_s=3_000.0)
    succeed(breaker, 1_001.0)
    fail(breaker, 1_002.0)
    assert breaker.state(1_002.0) == "closed", "one of two, in the window of now"


@dataclass
class Naive:
    """What a breaker should be, by a list of all that was heard since it last changed."""

    rules: BreakerRules
    heard: list[tuple[float, bool]] = field(default_factory=list)
    until: float | None = None
    trips: int = 0
    closed_at: float = -1e9
    generation: int = 0

    def state(self, now: float) -> State:
        if self.until is None:
            return "closed"
        return "open" if now < self.until else "half-open"

    def hear(self, now: float, *, well: bool) -> None:
        self.heard.append((now, well))
        if self.until is not None:
            if not well:
                self._open(now)
            elif len(self.heard) == 2:
                self.until, self.closed_at, self.heard = None, now, []
            return
        first = self._bucket(now) - 5
        window = [each for at, each in self.heard if self._bucket(at) >= first]
        last = [each for _, each in self.heard[-self.rules.failures :]]
        in_a_row = len(last) == self.rules.failures and not any(last)
        bad = window.count(False)
        share = len(window) >= self.rules.requests_min and bad >= self.rules.share * len(window)
        if not well and (in_a_row or share):
            if now - self.closed_at >= 60.0:
                self.trips = 0
            self._open(now)

    def _bucket(self, at: float) -> int:
        return int(at * 6 / self.rules.window_s)

    def _open(self, now: float) -> None:
        self.until = now + min(15.0, 5.0 * 2**self.trips)
        self.trips += 1
        self.generation += 1
        self.heard = []


@pytest.mark.parametrize("seed", range(30))
def test_against_a_list_of_outcomes_at_random(seed: int) -> None:
    chance = random.Random(seed)
    breaker, naive = Breaker(RULES), Naive(RULES)
    now, bad_share = 0.0, 0.3
    states: set[State] = set()
    for step in range(600):
        now += chance.choice((0.01, 0.2, 1.0, 4.0))
        if step % 50 == 0:
            bad_share = chance.choice((0.05, 0.4, 0.6, 1.0))
        assert breaker.state(now) == naive.state(now), f"seed {seed}, step {step}"
        states.add(breaker.state(now))
        if not breaker.admits(now):
            continue
        generation = breaker.begin(now)
        assert generation == naive.generation
        well = chance.random() >= bad_share
        naive.hear(now, well=well)
        (breaker.succeeded if well else breaker.failed)(now, generation)
    assert states == {"closed", "open", "half-open"}, f"seed {seed}"


# ---- whose requests fail ------------------------------------------------------------------------


def test_one_account_alone_takes_it_from_nobody() -> None:
    """However often it sends what can never be answered."""
    breaker = Breaker(RULES)
    for step in range(1_000):
        at = 100.0 + step / 4
        if step % 4 == 0:
            breaker.succeeded(at, breaker.begin(at), "other")
        breaker.failed(at, breaker.begin(at), 0.5, "poisoner")
    assert breaker.state(at) == "closed"
    assert breaker.generation == 0


def test_where_nobody_else_is_served_one_account_is_enough() -> None:
    breaker = Breaker(RULES)
    breaker.succeeded(100.0, 0, "other")
    breaker.succeeded(101.0, 0, "only")
    for _ in range(RULES.failures):
        assert breaker.state(131.0) == "closed"
        breaker.failed(131.0, 0, 0.5, "only")
    assert breaker.state(131.0) == "open", "the other one was served too long ago"


def test_what_fails_for_several_accounts_is_broken() -> None:
    breaker = Breaker(RULES)
    for account in ("a", "b", "c"):
        breaker.succeeded(100.0, 0, account)
    for account in ("a", "a", "a", "a", "b"):
        assert breaker.state(101.0) == "closed"
        breaker.failed(101.0, 0, 0.5, account)
    assert breaker.state(101.0) == "open", "two of the one and one of the other"


def test_who_cannot_be_reached_is_broken_whoever_asks() -> None:
    breaker = Breaker(RULES)
    breaker.succeeded(100.0, 0, "other")
    for _ in range(RULES.failures):
        breaker.failed(101.0, 0)
    assert breaker.state(101.0) == "open"
