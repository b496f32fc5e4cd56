"""Plans by table: to which deployments, in which order, and why to no others."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

import pytest

from engine.admission.switches import Switches
from engine.capabilities import UNKNOWN, Capabilities
from engine.errors import ModelNotFoundError, ModelUnavailableError
from engine.routing.failures import Failure
from engine.routing.health import HealthBook
from engine.routing.limits_seen import Allowance
from engine.routing.plan import plan
from engine.routing.ring import digest_of
from engine.routing.values import (
    Asked,
    AutoChoice,
    AutoTable,
    Candidate,
    Deployment,
    Features,
    Model,
    Plan,
    RoutingRules,
    Strategy,
)

NOW = 1_000.0


def deployment(
    provider: str,
    *,
    can: Capabilities = UNKNOWN,
    cost: int = 0,
    priority: int = 0,
    concurrency_max: int | None = None,
    keys: int = 1,
) -> Deployment[int]:
    return Deployment(
        provider,
        "small-1",
        0,
        "o200k_base",
        capabilities=can,
        priority=priority,
        concurrency_max=concurrency_max,
        keys=keys,
        rank_cost=cost,
    )


NEAR, FAR, SPARE = deployment("near"), deployment("far"), deployment("spare", priority=1)


@dataclass
class World:
    """Models, and all else that a plan is made of."""

    models: dict[str, Model[int]]
    off: Switches = field(default_factory=Switches)
    book: HealthBook = field(default_factory=lambda: HealthBook(draw=lambda: 0.5))
    forbidden: Collection[str] = ()
    draw: Callable[[], float] = field(default_factory=lambda: random.Random(1).random)

    def plan(
        self, asked: Asked | str = "small", *, now: float = NOW, explain: bool = False
    ) -> Plan[int]:
        asked = Asked(asked) if isinstance(asked, str) else asked
        return plan(
            asked,
            self.models,
            lambda name: name not in self.forbidden,
            self.off,
            self.book,
            now,
            self.draw,
            explain=explain,
        )

    def paths(self, asked: Asked | str = "small", *, now: float = NOW) -> list[str]:
        """Providers, or `PROVIDER of MODEL` where it is not the model that was asked for."""
        name = asked if isinstance(asked, str) else asked.model
        return [_told(each, name) for each in self.plan(asked, now=now).candidates]

    def break_down(self, *rows: Deployment[int], now: float = NOW) -> None:
        for row in rows:
            for _ in range(self.book.rules.breaker.failures):
                visit = self.book.begin(Candidate(self.models["small"], row, 0, ""), now)
                assert visit is not None
                visit.failed(Failure("unreachable"), now)

    def passed(self, asked: Asked | str = "small") -> Mapping[str, str]:
        return {each.path: each.why for each in self.plan(asked, explain=True).passed}


def _told(candidate: Candidate[int], name: str) -> str:
    provider, model = candidate.deployment.provider, candidate.model.name
    return provider if model == name else f"{provider} of {model}"


def world(*rows: Deployment[int], strategy: Strategy = "cheapest", **others: object) -> World:
    model = Model("small", 0, rows or (NEAR, FAR, SPARE), strategy=strategy, **others)  # type: ignore[arg-type]
    return World({"small": model})


# ---- models, fallbacks, aliases ------------------------------------------------------------------


def test_a_model_with_one_deployment_is_planned_at_it() -> None:
    (candidate,) = world(NEAR).plan().candidates
    assert (candidate.deployment, candidate.key, candidate.why) == (NEAR, 0, "the only deployment")


def test_priorities_come_in_turn() -> None:
    rows = deployment("last", priority=9), SPARE, FAR, NEAR
    assert world(*rows).paths() == ["far", "near", "spare", "last"]


@pytest.mark.parametrize(
    ("strategy", "why"),
    [
        ("weighted", "drawn by weight"),
        ("least-busy", "least busy"),
        ("latency", "lowest latency"),
        ("cheapest", "cheapest"),
    ],
)
def test_each_strategy_says_why(strategy: Strategy, why: str) -> None:
    found = world(strategy=strategy).plan().candidates
    assert {each.deployment.path for each in found[:2]} == {NEAR.path, FAR.path}
    assert [each.why for each in found] == [why, why, "the only deployment"]


def test_no_more_candidates_than_there_may_be_attempts() -> None:
    rows = [deployment(f"p{number}") for number in range(9)]
    some = world(*rows)
    assert len(some.plan().candidates) == RoutingRules().attempts_max == 4
    some.book.rules = RoutingRules(attempts_max=2)
    assert len(some.plan().candidates) == 2


def test_after_its_own_deployments_come_those_of_its_fallbacks() -> None:
    some = world(NEAR, fallbacks=("large", "missing", "other"))
    some.models["large"] = Model("large", 0, (deployment("a"), NEAR), fallbacks=("other",))
    some.models["other"] = Model("other", 0, (deployment("b"),))
    assert some.paths() == ["near", "a of large", "b of other"], "each deployment once"
    assert some.plan().candidates[1].why == "a fallback, drawn by weight"
    some.forbidden = {"large"}
    assert some.paths() == ["near", "b of other"]


def test_an_alias_is_the_model_by_another_name() -> None:
    some = world(NEAR)
    some.models["tiny"] = some.models["small"]
    (candidate,) = some.plan("tiny").candidates
    assert candidate.model.name == "small"
    some.forbidden = {"small"}
    with pytest.raises(ModelNotFoundError, match="'tiny'"):
        some.plan("tiny")


@pytest.mark.parametrize("forbidden", [(), ("missing",)])
def test_a_model_that_is_not_there_is_not_found_whatever_is_off(forbidden: tuple[str]) -> None:
    some = world()
    some.forbidden = forbidden
    some.off.turn("model", "missing", off=True)
    with pytest.raises(ModelNotFoundError, match="'missing'"):
        some.plan("missing")


# ---- switches ------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [("provider", "near"), ("deployment", "near/small-1")])
def test_what_is_left_serves(place: tuple[str, str]) -> None:
    some = world()
    some.off.turn(*place, off=True)
    assert some.paths() == ["far", "spare"]
    some.off.turn(*place, off=False)
    assert some.paths() == ["near", "far", "spare"]


def test_a_deployment_is_named_by_its_provider_and_the_whole_of_its_model() -> None:
    long = Deployment("far", "org/small-1", 0, "o200k_base")
    some = world(NEAR, long)
    some.off.turn("deployment", "far/org/small-1", off=True)
    assert some.paths() == ["near"]


@pytest.mark.parametrize("rows", [(NEAR,), (NEAR, FAR)], ids=["one", "two"])
@pytest.mark.parametrize(
    "places", [[("model", "small")], [("provider", "near"), ("provider", "far")]]
)
def test_a_model_of_which_nothing_is_left_is_unavailable(
    places: list[tuple[str, str]], rows: tuple[Deployment[int], ...]
) -> None:
    some = world(*rows)
    for place in places:
        some.off.turn(*place, off=True)
    with pytest.raises(ModelUnavailableError) as caught:
        some.plan()
    assert (caught.value.status, caught.value.code) == (503, "model_unavailable")
    assert caught.value.retry_after_s == 30, "an operator has to act"


def test_the_fallbacks_of_a_model_that_is_off_serve() -> None:
    some = world(NEAR, fallbacks=("large",))
    some.models["large"] = Model("large", 0, (FAR,))
    some.off.turn("model", "small", off=True)
    assert some.paths() == ["far of large"]


# ---- health --------------------------------------------------------------------------------------


def test_who_is_broken_is_passed_over_until_its_breaker_lets_one_through() -> None:
    some = world()
    some.break_down(NEAR)
    assert some.paths() == ["far", "spare"]
    assert some.paths(now=NOW + 5) == ["near", "far", "spare"]
    assert some.book.begin(some.plan(now=NOW + 5).candidates[0], NOW + 5) is not None
    assert some.paths(now=NOW + 5) == ["far", "spare"], "one at a time"


def test_where_all_are_broken_it_is_told_when_to_come_again() -> None:
    some = world()
    some.break_down(NEAR, now=NOW)
    some.break_down(FAR, now=NOW + 1)
    some.break_down(SPARE, now=NOW + 2)
    with pytest.raises(ModelUnavailableError) as caught:
        some.plan(now=NOW + 2.5)
    assert caught.value.retry_after_s == 3, "the first of them in 2.5 s"


@pytest.mark.parametrize(("wait_s", "told_s"), [(0.2, 1), (7.1, 8), (3_600.0, 15)])
def test_nobody_is_sent_away_for_long(wait_s: float, told_s: int) -> None:
    some = world(NEAR)
    visit = some.book.begin(some.plan().candidates[0], NOW)
    assert visit is not None
    visit.failed(Failure("answered", 429, retry_after_s=wait_s), NOW)
    with pytest.raises(ModelUnavailableError) as caught:
        some.plan()
    assert caught.value.retry_after_s == told_s


def test_who_has_enough_to_do_is_passed_over() -> None:
    some = world(deployment("near", concurrency_max=1), FAR)
    assert some.book.begin(some.plan().candidates[0], NOW) is not None
    assert some.paths() == ["far"]


def test_what_is_left_of_a_limit_counts_unless_nobody_else_is_left() -> None:
    some = world(NEAR, FAR)
    for row in (NEAR, FAR):
        limits = some.book.of(row).limits_of(0)
        limits.allowances["requests"] = Allowance("requests", 0, None, NOW, NOW + 60)
        expected = ["far"] if row is NEAR else ["near", "far"]
        assert some.paths() == expected
    some.book.of(NEAR).limits_of(0).until = NOW + 10
    assert some.paths() == ["far"], "that one has said so"


def test_a_key_that_was_refused_is_used_unless_nobody_else_is_left() -> None:
    some = world(NEAR, FAR)
    refused = Failure("answered", 401, "upstream_credentials_refused")
    for expected in (["far"], ["near", "far"]):
        visit = some.book.begin(some.plan().candidates[0], NOW)
        assert visit is not None
        visit.failed(refused, NOW)
        assert some.paths() == expected


def test_the_key_of_a_candidate_is_the_next_that_is_free() -> None:
    some = world(deployment("near", keys=3))
    keys = []
    for _ in range(4):
        (candidate,) = some.plan().candidates
        keys.append(candidate.key)
        assert some.book.begin(candidate, NOW) is not None
    assert keys == [0, 1, 2, 0]


# ---- capabilities --------------------------------------------------------------------------------


LACKS = [  # what a deployment is known to lack, what needs it
    (Capabilities(media=frozenset({"image"})), Asked("small", media=frozenset({"audio"}))),
    (Capabilities(tools=False), Asked("small", tools=True)),
    (Capabilities(json_schema=False), Asked("small", json_schema=True)),
    (
        Capabilities(context_window_tokens=1_000),
        Asked("small", expected_input_tokens=900, max_output_tokens=101),
    ),
]


@pytest.mark.parametrize(("can", "asked"), LACKS)
def test_who_is_known_to_lack_something_is_passed_over(can: Capabilities, asked: Asked) -> None:
    some = world(deployment("near", can=can), FAR)
    assert some.paths(asked) == ["far"], "of whom nothing is known"
    assert some.paths(Asked("small")) == ["near", "far"]


@pytest.mark.parametrize(("can", "asked"), LACKS)
def test_where_all_lack_it_they_say_so_themselves(can: Capabilities, asked: Asked) -> None:
    some = world(deployment("near", can=can), deployment("far", can=can))
    assert some.paths(asked) == ["near", "far"]
    assert world(deployment("near", can=can)).paths(asked) == ["near"]


def test_who_lacks_something_does_not_stand_in_for_who_is_broken() -> None:
    some = world(deployment("near", can=Capabilities(tools=False)), FAR)
    some.break_down(FAR)
    with pytest.raises(ModelUnavailableError) as caught:
        some.plan(Asked("small", tools=True))
    assert caught.value.retry_after_s == 5


def test_what_just_fits_fits() -> None:
    some = world(deployment("near", can=Capabilities(context_window_tokens=1_000)), FAR)
    asked = Asked("small", expected_input_tokens=900, max_output_tokens=100)
    assert some.paths(asked) == ["near", "far"]


def test_a_window_is_that_of_a_conversation() -> None:
    """Of many inputs, or of a recording, a request holds more than any one of them may."""
    can = Capabilities(context_window_tokens=1_000, serves=frozenset({"embed"}))
    some = world(deployment("near", can=can), FAR)
    assert some.paths(Asked("small", expected_input_tokens=9_000, service="embed")) == [
        "near", "far",
    ]  # fmt: skip
    assert some.paths(Asked("small", expected_input_tokens=10)) == ["far"], "it does not chat"


# ---- sticky --------------------------------------------------------------------------------------


def test_sessions_stay_and_spread() -> None:
    rows = [deployment(f"p{number}") for number in range(3)]
    some = world(*rows, sticky="session")
    firsts = {}
    for number in range(60):
        asked = Asked("small", session=digest_of(f"session {number}"))
        first, *others = some.plan(asked).candidates
        assert first.why == "belongs to the session or prefix"
        assert {each.deployment.path for each in (first, *others)} == {row.path for row in rows}
        assert some.plan(asked).candidates[0].deployment == first.deployment
        firsts[number] = first.deployment.path
    assert set(firsts.values()) == {row.path for row in rows}


def test_without_what_it_is_sticky_by_the_strategy_decides() -> None:
    some = world(NEAR, FAR, sticky="prefix")
    plans = some.plan(), some.plan(Asked("small", session=digest_of("a session")))
    assert {each.candidates[0].why for each in plans} == {"cheapest"}
    asked = Asked("small", prefix=digest_of("a prompt"))
    assert some.plan(asked).candidates[0].why == "belongs to the session or prefix"


# ---- auto ----------------------------------------------------------------------------------------


def auto_world() -> World:
    """Two models of which `auto` chooses."""
    weak = deployment("weak", cost=1, can=Capabilities(context_window_tokens=1_000))
    strong = deployment("strong", cost=9)
    table = AutoTable((AutoChoice("large", 3), AutoChoice("small", 1)), reference="large")
    return World(
        {
            "small": Model("small", 0, (weak,)),
            "large": Model("large", 0, (strong,)),
            "auto": Model("auto", 0, (), auto=table),
        }
    )


HARD = Features(words=5_000, code=50, mathematics=50, tools=50, depth=50, reasoning=True)


def test_auto_takes_the_cheapest_that_suits_the_request() -> None:
    some = auto_world()
    found = some.plan(Asked("auto", features=Features(words=3)))
    assert [each.model.name for each in found.candidates] == ["small", "large"]
    assert found.auto is not None
    assert (found.auto.level, found.auto.chosen, found.auto.reference) == ("easy", "small", "large")
    assert found.candidates[0].why == "for a request that is easy, the only deployment"


def test_auto_takes_a_strong_one_for_a_hard_request_and_a_weak_one_before_none() -> None:
    some = auto_world()
    found = some.plan(Asked("auto", features=HARD))
    assert [each.model.name for each in found.candidates] == ["large", "small"]
    assert found.auto is not None
    assert (found.auto.level, found.auto.chosen) == ("hard", "large")
    assert found.auto.reasons
    some.break_down(some.models["large"].deployments[0])
    found = some.plan(Asked("auto", features=HARD))
    assert found.auto is not None
    assert found.auto.chosen == "small"


def test_auto_knows_what_fits_and_what_the_caller_may_use() -> None:
    some = auto_world()
    asked = Asked("auto", features=Features(), expected_input_tokens=2_000)
    assert some.paths(asked) == ["strong of large"]
    some.forbidden = {"large"}
    assert some.paths(asked) == ["weak of small"], "nobody fits: it says so itself"
    for forbidden in ({"auto"}, {"small", "large"}):
        some.forbidden = forbidden
        with pytest.raises(ModelNotFoundError):
            some.plan(asked)


# ---- explained -----------------------------------------------------------------------------------


def test_everything_that_is_passed_over_says_why() -> None:
    rows = [deployment(f"p{number}") for number in range(3)]
    lacking = deployment("lacking", can=Capabilities(tools=False))
    full = deployment("full", concurrency_max=1)
    limited, spent, broken, trying = (
        deployment(name) for name in ("limited", "spent", "broken", "trying")
    )
    some = world(
        lacking,
        full,
        limited,
        spent,
        broken,
        trying,
        *rows,
        NEAR,
        FAR,
        fallbacks=("large", "other"),
    )
    some.models["large"] = Model("large", 0, (NEAR,))
    some.models["other"] = Model("other", 0, (NEAR,))
    some.forbidden = {"other"}
    some.break_down(trying, now=NOW - 5)
    some.break_down(broken)
    some.book.of(limited).limits_of(0).until = NOW + 7
    some.book.of(spent).limits_of(0).allowances["tokens"] = Allowance(
        "tokens", 5, None, NOW, NOW + 9
    )
    for row in (full, trying):
        assert some.book.begin(Candidate(some.models["small"], row, 0, ""), NOW) is not None
    some.off.turn("deployment", NEAR.path, off=True, reason="tests")
    asked = Asked("small", tools=True, expected_input_tokens=10)
    assert some.passed(asked) == {
        "lacking/small-1": "cannot call functions",
        "full/small-1": "has 1 requests under way, its most",
        "limited/small-1": "its provider takes no more by any key, for 7.0 s more",
        "spent/small-1": "its keys are refused or its limits used up, it seems, for 9.0 s more",
        "broken/small-1": "its breaker is open for 5.0 s more",
        "trying/small-1": "its breaker is half-open, and another request tries it",
        "near/small-1": "switched off",
        "other": "the account or the key may not use the model",
    }
    assert some.paths(asked) == ["p0", "p1", "p2", "far"]
    some.book.rules = replace(some.book.rules, attempts_max=3)
    assert some.passed(asked)["far/small-1"] == "enough others come before"


def test_a_fallback_at_the_same_deployment_is_none() -> None:
    some = world(NEAR, fallbacks=("large", "other"))
    some.models["large"] = Model("large", 0, (NEAR,))
    some.models["other"] = Model("other", 0, (FAR,))
    some.off.turn("model", "other", off=True)
    assert some.passed() == {
        "near/small-1": "planned already, for another model",
        "other": "the model is switched off",
    }


def test_where_nothing_is_left_an_explanation_says_when_something_will_be() -> None:
    some = world(NEAR, FAR)
    some.break_down(NEAR, FAR)
    found = some.plan(explain=True)
    assert (found.candidates, found.retry_at, len(found.passed)) == ((), NOW + 5, 2)
    some.off.turn("model", "small", off=True)
    assert some.plan(explain=True).retry_at is None
