"""What attempts leave behind of a deployment: outcomes, limits, keys, how busy it is."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from engine.admission.switches import Switches
from engine.routing.breaker import PROBE_S
from engine.routing.failures import Failure
from engine.routing.health import NO_KEY, HealthBook, Visit
from engine.routing.values import (
    BreakerRules,
    Candidate,
    Deployment,
    Model,
    Role,
    RoutingRules,
)

NEAR = Deployment("near", "small-1", 0, "o200k_base")
FAR = Deployment("far", "small-1", 0, "o200k_base", keys=2)
MODEL = Model("small", 0, (NEAR, FAR), hedge=True)
NOW = 1_000.0
DOWN = Failure("unreachable")


def candidate(deployment: Deployment[int] = NEAR, key: int = 0) -> Candidate[int]:
    return Candidate(MODEL, deployment, key, "")


def begin(book: HealthBook, deployment: Deployment[int] = NEAR, now: float = NOW) -> Visit:
    visit = book.begin(candidate(deployment), now)
    assert visit is not None
    return visit


def break_it(book: HealthBook, deployment: Deployment[int] = NEAR, now: float = NOW) -> None:
    for _ in range(book.rules.breaker.failures):
        begin(book, deployment, now).failed(DOWN, now)


def book(rules: RoutingRules | None = None) -> HealthBook:
    return HealthBook(rules, lambda: 0.5)


def head(**lines: str) -> list[tuple[bytes, bytes]]:
    return [(name.replace("_", "-").encode(), value.encode()) for name, value in lines.items()]


# ---- busy, and what attempts say of a deployment ------------------------------------------------


def test_it_is_busy_from_the_beginning_of_an_attempt_to_its_end() -> None:
    known = book()
    visits = [begin(known) for _ in range(3)]
    assert known.of(NEAR).busy == 3
    for visit in visits:
        visit.close(NOW)
        visit.close(NOW)
    assert known.of(NEAR).busy == 0


def test_no_more_attempts_than_it_may_have_at_once() -> None:
    narrow = replace(NEAR, concurrency_max=2)
    known = book()
    first, _ = begin(known, narrow), begin(known, narrow)
    assert known.of(narrow).free_key(narrow, NOW) == NO_KEY
    assert known.begin(candidate(narrow), NOW) is None
    assert known.of(narrow).back_at(narrow, NOW) == NOW + 1
    first.close(NOW)
    assert known.begin(candidate(narrow), NOW) is not None


def test_failures_open_its_breaker_and_successes_close_it() -> None:
    known = book()
    break_it(known)
    assert known.begin(candidate(), NOW) is None
    assert known.of(NEAR).back_at(NEAR, NOW) == NOW + 5
    for at in (NOW + 5, NOW + 6):
        begin(known, now=at).generated(at + 0.1)
    assert known.of(NEAR).breaker.state(NOW + 7) == "closed"


def test_half_open_one_at_a_time_may_begin() -> None:
    known = book()
    break_it(known)
    probe = begin(known, now=NOW + 5)
    assert known.begin(candidate(), NOW + 5) is None
    probe.close(NOW + 5.5)
    assert known.begin(candidate(), NOW + 5.5) is not None, "the first one's client has left"
    assert known.of(NEAR).back_at(NEAR, NOW + 5.6) == NOW + 5.5 + PROBE_S


def test_a_failure_after_output_counts_beside_the_success_that_the_output_was() -> None:
    known = book(RoutingRules(breaker=BreakerRules(failures=99, requests_min=20, share=0.5)))
    for step in range(10):
        assert known.of(NEAR).breaker.state(NOW) == "closed", step
        visit = begin(known)
        visit.generated(NOW)
        visit.failed(Failure("broken", generated=True), NOW)
    assert known.of(NEAR).breaker.state(NOW) == "open", "half of twenty"


def test_what_was_told_counts_once_and_nothing_after_the_end() -> None:
    known = book()
    visit = begin(known)
    visit.generated(NOW + 1)
    visit.generated(NOW + 9)
    visit.succeeded(NOW + 9)
    visit.close(NOW + 9)
    visit.failed(DOWN, NOW + 9)
    health = known.of(NEAR)
    assert health.latency.mean_s(NOW + 1) == 1.0
    assert (health.busy, health.breaker.state(NOW + 9)) == (0, "closed")


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_request_that_is_at_fault_speaks_for_its_deployment(status: int) -> None:
    known = book()
    for _ in range(4):
        begin(known).failed(DOWN, NOW)
    begin(known).failed(Failure("answered", status), NOW)
    begin(known).failed(DOWN, NOW)
    assert known.of(NEAR).breaker.state(NOW) == "closed", "not five in a row"


def test_who_lost_a_race_is_late_by_as_long_at_least_and_neither_well_nor_broken() -> None:
    known = book()
    break_it(known)
    probe = begin(known, now=NOW + 5)
    probe.lost_race(NOW + 7)
    health = known.of(NEAR)
    assert health.latency.mean_s(NOW + 7) == 2.0
    assert health.breaker.state(NOW + 7) == "half-open"
    assert health.breaker.admits(NOW + 7)


def test_who_lost_a_race_that_it_joined_late_is_not_quick() -> None:
    known = book()
    begin(known, now=NOW - 1).generated(NOW)
    begin(known).lost_race(NOW + 0.001)
    assert known.of(NEAR).latency.mean_s(NOW) == 1.0


def test_first_tokens_are_of_the_model_whoever_they_come_from() -> None:
    known = book()
    for number in range(20):
        begin(known, NEAR if number % 2 else FAR).generated(NOW + 0.1)
    late_s = known.model(MODEL).first_tokens.quantile_s(0.95)
    assert late_s == pytest.approx(0.1, rel=0.1)


def test_an_answer_in_one_piece_says_nothing_of_first_tokens() -> None:
    known = book()
    begin(known).succeeded(NOW + 30)
    assert known.of(NEAR).latency.mean_s(NOW + 30) == 0.0


# ---- limits -------------------------------------------------------------------------------------


def test_who_is_asked_to_wait_waits() -> None:
    known = book()
    begin(known).failed(Failure("answered", 429, retry_after_s=7.0), NOW)
    health = known.of(NEAR)
    assert health.free_key(NEAR, NOW + 6.9) == NO_KEY
    assert health.back_at(NEAR, NOW + 1) == NOW + 7
    assert health.free_key(NEAR, NOW + 7) == 0
    assert health.breaker.state(NOW) == "closed", "it is well"


def test_who_asks_for_a_day_is_asked_again_all_the_same() -> None:
    known = book()
    begin(known).failed(Failure("answered", 429, retry_after_s=86_400.0), NOW)
    assert known.of(NEAR).free_key(NEAR, NOW + 299, strict=False) == NO_KEY
    assert known.of(NEAR).free_key(NEAR, NOW + 300, strict=False) == 0


def test_what_a_key_was_refused_for_is_not_said_of_a_new_one() -> None:
    known = book()
    begin(known).failed(Failure("answered", 429, retry_after_s=60.0), NOW)
    model = candidate().model
    known.renew(known.rules, model.deployments, [model])
    assert known.of(NEAR).free_key(NEAR, NOW, strict=False) == NO_KEY
    known.renew(known.rules, model.deployments, [model], [NEAR.provider])
    assert known.of(NEAR).free_key(NEAR, NOW, strict=False) == 0


def test_a_key_is_out_for_a_moment_for_what_may_be_the_requests_fault() -> None:
    """Again and again: then it is the key's."""
    known, now = book(), NOW
    for out_s in (1.0, 2.0, 4.0):
        begin(known, now=now).failed(Failure("answered", 403, "upstream_credentials_refused"), now)
        assert known.of(NEAR).keys_free_at(NEAR, now) == now + out_s
        now += out_s


def test_where_nobody_says_how_long_it_is_longer_each_time() -> None:
    known, now, waits = book(), NOW, []
    for _ in range(7):
        begin(known, now=now).failed(Failure("answered", 429), now)
        until = known.of(NEAR).keys_free_at(NEAR, now)
        waits.append(until - now)
        now = until
    assert waits == pytest.approx([0.5, 1, 2, 4, 8, 15, 15]), "half of what it is at most"
    begin(known, now=now).succeeded(now)
    begin(known, now=now).failed(Failure("answered", 429), now)
    assert known.of(NEAR).keys_free_at(NEAR, now) == pytest.approx(now + 0.5)


def test_how_long_is_a_guess_that_counts_only_where_others_are_free() -> None:
    known = book()
    begin(known).failed(Failure("answered", 429), NOW)
    health = known.of(NEAR)
    assert health.free_key(NEAR, NOW) == NO_KEY
    assert health.free_key(NEAR, NOW, strict=False) == 0
    begin(known).generated(NOW + 0.1)
    assert health.free_key(NEAR, NOW + 0.1) == 0, "it was wrong"


def test_a_burst_of_refusals_is_one() -> None:
    known = book()
    visits = [begin(known) for _ in range(10)]
    for visit in visits:
        visit.failed(Failure("answered", 429), NOW)
    assert known.of(NEAR).keys_free_at(NEAR, NOW) == pytest.approx(NOW + 0.5)


@pytest.mark.parametrize(("status", "limited"), [(500, False), (503, True), (529, True)])
def test_who_is_overloaded_and_says_until_when_is_left_alone(status: int, limited: bool) -> None:
    known = book()
    begin(known).failed(Failure("answered", status, retry_after_s=3.0), NOW)
    assert (known.of(NEAR).free_key(NEAR, NOW + 1) == NO_KEY) is limited


def test_what_is_left_of_a_limit_is_learned_from_any_answer() -> None:
    known = book()
    visit = begin(known)
    visit.answered(
        head(x_ratelimit_remaining_requests="1", x_ratelimit_reset_requests="20s"), NOW, 0
    )
    assert known.of(NEAR).free_key(NEAR, NOW) == 0
    begin(known)
    health = known.of(NEAR)
    assert health.free_key(NEAR, NOW + 1) == NO_KEY, "that was the last one"
    assert health.free_key(NEAR, NOW + 1, strict=False) == 0, "as far as one can tell"
    assert health.free_key(NEAR, NOW + 20) == 0


def test_tokens_are_learned_too() -> None:
    known = book()
    begin(known).answered(
        head(
            x_ratelimit_limit_tokens="10000",
            x_ratelimit_remaining_tokens="2000",
            x_ratelimit_reset_tokens="80s",
        ),
        NOW,
        0,
    )
    health = known.of(NEAR)
    assert health.free_key(NEAR, NOW, 2_000) == 0
    assert health.free_key(NEAR, NOW, 3_000) == NO_KEY
    assert health.keys_free_at(NEAR, NOW, 3_000) == pytest.approx(NOW + 10)
    begin(known).answered(
        head(x_ratelimit_limit_tokens="10000", x_ratelimit_remaining_tokens="2501"), NOW, 0
    )
    assert health.free_key(NEAR, NOW, 3_000) == 0, "there is plenty again"


# ---- keys ---------------------------------------------------------------------------------------


def test_keys_are_taken_in_turn() -> None:
    known, taken = book(), []
    for _ in range(4):
        key = known.of(FAR).free_key(FAR, NOW)
        taken.append(key)
        assert known.begin(candidate(FAR, key), NOW) is not None
    assert taken == [0, 1, 0, 1]


def test_a_refused_key_is_left_out_at_all_deployments_of_its_provider(
    caplog: pytest.LogCaptureFixture,
) -> None:
    known = book()
    other = Deployment("far", "large-1", 0, "o200k_base", keys=2)
    refused = Failure("answered", 401, "upstream_credentials_refused")
    with caplog.at_level(logging.ERROR):
        visits = [begin(known, FAR) for _ in range(3)]
        for visit in visits:
            visit.failed(refused, NOW)
    assert [record.message for record in caplog.records] == [
        "the provider far refuses key 1 of those configured"
    ]
    assert {known.of(each).free_key(each, NOW) for each in (FAR, other)} == {1}
    assert known.of(FAR).breaker.state(NOW) == "closed"
    again = known.other_key(candidate(FAR, 0), NOW)
    assert again is not None
    assert (again.deployment, again.key) == (FAR, 1)


def test_without_a_key_a_deployment_is_left_alone_while_there_are_others() -> None:
    known = book()
    for key in (0, 1):
        visit = known.begin(candidate(FAR, key), NOW)
        assert visit is not None
        visit.failed(Failure("answered", 402, "upstream_account_exhausted"), NOW)
    assert known.other_key(candidate(FAR), NOW) is None
    health = known.of(FAR)
    assert health.free_key(FAR, NOW + 299) == NO_KEY
    assert health.free_key(FAR, NOW + 300) != NO_KEY
    assert health.free_key(FAR, NOW, strict=False) != NO_KEY


def test_a_key_that_stays_refused_is_out_for_longer_and_one_that_is_taken_is_in_again() -> None:
    known, now, waits = book(), NOW, []
    refused = Failure("answered", 401, "upstream_credentials_refused")
    for _ in range(6):
        begin(known, now=now).failed(refused, now)
        until = known.of(NEAR).keys_free_at(NEAR, now)
        waits.append(until - now)
        now = until
    assert waits == [60, 120, 240, 480, 900, 900]
    begin(known, now=now).generated(now)
    begin(known, now=now).failed(refused, now)
    assert known.of(NEAR).keys_free_at(NEAR, now) == now + 60


def test_an_attempt_that_began_before_a_key_was_refused_does_not_speak_for_it() -> None:
    known = book()
    old, refused = begin(known), begin(known, now=NOW + 1)
    refused.failed(Failure("answered", 401, "upstream_credentials_refused"), NOW + 1)
    old.generated(NOW + 2)
    assert known.of(NEAR).free_key(NEAR, NOW + 2) == NO_KEY
    begin(known, now=NOW + 3).generated(NOW + 4)
    assert known.of(NEAR).free_key(NEAR, NOW + 4) == 0


def test_a_limit_is_of_a_key() -> None:
    known = book()
    begin(known, FAR).failed(Failure("answered", 429, retry_after_s=60.0), NOW)
    assert known.of(FAR).free_key(FAR, NOW) == 1


# ---- budgets ------------------------------------------------------------------------------------


def test_first_attempts_earn_retries_and_retries_do_not() -> None:
    known = book(RoutingRules(retry_share_max=0.5))
    retries = known.of(NEAR).retries
    assert retries.spend()
    for _ in range(3):
        visit = known.begin(candidate(), NOW, role="retry")
        assert visit is not None
        visit.close(NOW)
    assert not retries.spend()
    roles: tuple[Role, ...] = ("first", "fallback")
    for role in roles:
        visit = known.begin(candidate(), NOW, role=role)
        assert visit is not None
        visit.close(NOW)
    assert retries.spend()
    assert not retries.spend()


def test_requests_of_a_model_earn_its_hedges() -> None:
    known = book(RoutingRules(hedge_share_max=0.5))
    hedges = known.model(MODEL).hedges
    assert hedges.spend()
    begin(known)
    begin(known, FAR)
    assert hedges.spend()
    assert not hedges.spend()


# ---- switches, checks, other rules --------------------------------------------------------------


def test_what_is_off_is_looked_up_after_each_change() -> None:
    known, off = book(), Switches()
    health = known.of(NEAR)
    answers = []
    for kind, subject in (("provider", "near"), ("deployment", "near/small-1"), ("model", "near")):
        off.turn(kind, subject, off=True)
        answers.append(known.is_off(NEAR, health, off))
        off.turn(kind, subject, off=False)
        answers.append(known.is_off(NEAR, health, off))
    assert answers == [True, False, True, False, False, False]
    others = Switches()
    others.version = off.version
    others.turn("provider", "near", off=True)
    others.version = off.version
    assert known.is_off(NEAR, health, others), "other switches, by chance as often turned"


def test_three_bad_checks_open_all_of_a_provider_and_a_good_one_lets_it_be_tried() -> None:
    known = book()
    other = Deployment("near", "large-1", 0, "o200k_base")
    for each in (NEAR, other, FAR):
        known.of(each)
    for _ in range(2):
        known.checked("near", NOW, well=False)
    assert known.of(NEAR).breaker.state(NOW) == "closed"
    known.checked("near", NOW, well=True)
    for _ in range(2):
        known.checked("near", NOW, well=False)
    assert known.of(NEAR).breaker.state(NOW) == "closed"
    known.checked("near", NOW, well=False)
    states = [known.of(each).breaker.state(NOW) for each in (NEAR, other, FAR)]
    assert states == ["open", "open", "closed"]
    known.checked("near", NOW + 1, well=True)
    assert known.of(NEAR).breaker.state(NOW + 1) == "half-open"


def test_other_rules_keep_what_is_known_of_what_stays() -> None:
    known = book()
    break_it(known)
    break_it(known, FAR)
    refused = Failure("answered", 401, "upstream_credentials_refused")
    begin(known, FAR, NOW + 5).failed(refused, NOW + 5)
    rules = RoutingRules(retry_share_max=1.0, breaker=BreakerRules(failures=1))
    known.renew(rules, [FAR], [MODEL], new_keys=["far", "new"])
    assert known.of(FAR).breaker.generation == 1
    assert known.rows([FAR], NOW + 5)[0].keys_out == 0, "it has other keys now"
    assert known.of(NEAR).breaker.generation == 0, "it was left out, and is new again"
    begin(known, NEAR).failed(DOWN, NOW)
    assert known.of(NEAR).breaker.state(NOW) == "open", "at the first failure, by these rules"
    begin(known, FAR, NOW + 5)
    health = known.of(FAR)
    while health.retries.spend():
        pass
    health.retries.earn()
    assert health.retries.spend(), "one for each"


def test_models_that_stay_keep_what_is_known_of_their_first_tokens() -> None:
    known, other = book(), Model("other", 0, (FAR,))
    for model in (MODEL, other):
        for _ in range(20):
            known.model(model).first_tokens.note(0.1)
    known.renew(RoutingRules(), [NEAR, FAR], [MODEL])
    assert known.model(MODEL).first_tokens.quantile_s(0.5) is not None
    assert known.model(other).first_tokens.quantile_s(0.5) is None


def test_rules_without_a_breaker_close_those_that_are_open() -> None:
    known = book()
    break_it(known)
    known.renew(RoutingRules(breaker=BreakerRules(failures=0)), [NEAR], [MODEL])
    assert known.of(NEAR).free_key(NEAR, NOW) == 0


# ---- what operators see -------------------------------------------------------------------------


def test_a_row_for_each_deployment() -> None:
    known = book()
    break_it(known)
    begin(known, FAR).generated(NOW + 0.5)
    begin(known, FAR).failed(Failure("answered", 429, retry_after_s=60.0), NOW)
    visit = known.begin(candidate(FAR, 1), NOW)
    assert visit is not None
    visit.failed(Failure("answered", 401, "upstream_credentials_refused"), NOW)
    near, far = known.rows([NEAR, FAR, NEAR], NOW + 0.5)
    assert (near.path, near.state, near.opened, near.busy) == ("near/small-1", "open", 1, 0)
    assert (far.state, far.busy, far.first_token_s) == ("closed", 1, 0.5)
    assert (far.limited_s, far.keys, far.keys_out) == (0.0, 2, 1), "the other key is not limited"
    begin(known, NEAR, NOW + 10).failed(Failure("answered", 429, retry_after_s=60.0), NOW + 10)
    assert known.rows([NEAR], NOW + 40)[0].limited_s == 30.0
