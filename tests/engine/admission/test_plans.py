"""What a key or an account may do: limits, and sets of models, of which some are within others."""

from __future__ import annotations

import pytest

from engine.admission.plans import ALL_MODELS, NO_LIMITS, PRESETS, Limits, ModelSet, Plan


@pytest.mark.parametrize("limit", [0, -1])
@pytest.mark.parametrize("name", ["requests_per_min", "tokens_per_min", "concurrent_streams"])
def test_a_limit_of_nothing_at_all_is_none(name: str, limit: int) -> None:
    with pytest.raises(ValueError, match=f"'{name}' has to be at least 1"):
        Limits(**{name: limit})


def test_only_what_limits_nothing_is_unlimited() -> None:
    assert Limits().unlimited
    assert not any(Limits(**{name: 1}).unlimited for name in Limits.__slots__)


def test_the_presets_are_requests_a_minute() -> None:
    assert {name: limits.requests_per_min for name, limits in PRESETS.items()} == {
        "per-30": 30,
        "per-60": 60,
        "per-120": 120,
        "per-240": 240,
        "per-400": 400,
    }
    assert all(limits == Limits(limits.requests_per_min) for limits in PRESETS.values())


@pytest.mark.parametrize(
    ("patterns", "inside", "outside"),
    [
        (["gpt-5"], ["gpt-5"], ["gpt-5-mini", "GPT-5", "gpt-", ""]),
        (["gpt-*"], ["gpt-", "gpt-5"], ["gpt", "x-gpt-5"]),
        (["*"], ["gpt-5", ""], []),
        ([], [], ["gpt-5", ""]),
        (["a", "b*", "c/d:e*"], ["a", "b", "bb", "c/d:e-1"], ["aa", "c/d", "c"]),
        (["a*b"], ["a*b"], ["ab", "axb"]),
        (["[ab]*", "?*"], ["[ab]c", "?"], ["a", "b"]),
    ],
)
def test_models_are_named_or_begin_with_something(
    patterns: list[str], inside: list[str], outside: list[str]
) -> None:
    models = ModelSet.of(patterns)
    assert [name for name in inside if name not in models] == []
    assert [name for name in outside if name in models] == []
    assert ModelSet.of(models.patterns) == models
    assert None not in models


@pytest.mark.parametrize(
    ("mine", "theirs", "within"),
    [
        (["a"], ["a", "b"], True),
        (["a", "c"], ["a", "b"], False),
        (["a-1", "a-2"], ["a*"], True),
        (["a-*"], ["a*"], True),
        (["a*"], ["a-*"], False),
        (["a*"], ["a", "ab"], False),
        (["*"], ["a*", "b*"], False),
        (["a", "b*"], ["*"], True),
        ([], ["a"], True),
        ([], [], True),
        (["a"], [], False),
    ],
)
def test_models_are_within_others_whatever_models_there_will_be(
    mine: list[str], theirs: list[str], within: bool
) -> None:
    assert ModelSet.of(mine).is_within(ModelSet.of(theirs)) == within


def test_a_plan_that_says_nothing_allows_all() -> None:
    plan = Plan("free")
    assert (plan.models, plan.limits) == (ALL_MODELS, NO_LIMITS)
    assert "any-model" in plan.models
    assert ModelSet.of(["*"]) == ALL_MODELS
