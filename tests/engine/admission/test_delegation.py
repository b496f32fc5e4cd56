"""A key that another one makes may do at most what its maker may."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from engine.admission.delegation import Wanted, check_within, delegated
from engine.admission.keys import SCOPES, Terms
from engine.admission.plans import ALL_MODELS, Limits, ModelSet
from engine.errors import PermissionDeniedError

SOME = ModelSet.of(["gpt-5-mini", "in-house*"])
MAKER = Terms(
    name="maker",
    scopes=frozenset({"inference", "keys"}),
    models=SOME,
    expires_at_ms=5_000,
)


def test_what_is_left_out_is_as_the_makers() -> None:
    made = delegated(Wanted("ci"), MAKER)

    assert made == Terms(
        name="ci",
        scopes=frozenset({"inference"}),
        models=SOME,
        expires_at_ms=5_000,
    )


def test_a_key_of_all_rights_makes_one_without_the_right_to_make_keys() -> None:
    assert delegated(Wanted("ci"), Terms(scopes=frozenset(SCOPES))).scopes == {"inference", "read"}


def test_a_key_that_can_only_make_keys_makes_its_like() -> None:
    assert delegated(Wanted("x"), Terms(scopes=frozenset({"keys"}))).scopes == {"keys"}


@pytest.mark.parametrize(
    "wanted",
    [
        {"scopes": frozenset({"keys"})},
        {"scopes": frozenset({"inference", "keys"})},
        {"models": ModelSet.of(["gpt-5-mini"])},
        {"models": ModelSet.of(["in-house*"])},
        {"models": ModelSet.of(["in-house-large", "in-house-s*"])},
        {"limits": Limits(requests_per_min=60)},
        {"expires_at_ms": 5_000},
        {"expires_at_ms": 1},
    ],
)
def test_what_is_no_wider(wanted: dict[str, Any]) -> None:
    made = delegated(Wanted("ci", **wanted), MAKER)

    for name, value in wanted.items():
        assert getattr(made, name) == value


@pytest.mark.parametrize(
    ("param", "wanted"),
    [
        ("scopes", {"scopes": frozenset({"read"})}),
        ("scopes", {"scopes": frozenset(SCOPES)}),
        ("models", {"models": ALL_MODELS}),
        ("models", {"models": ModelSet.of(["gpt-5"])}),
        ("models", {"models": ModelSet.of(["in-*"])}),
        ("models", {"models": ModelSet.of(["gpt-5-mini", "gpt-5-mini*"])}),
        ("expires_in", {"expires_at_ms": 5_001}),
    ],
)
def test_what_is_wider_is_refused(param: str, wanted: dict[str, Any]) -> None:
    with pytest.raises(PermissionDeniedError) as refused:
        delegated(Wanted("ci", **wanted), MAKER)

    assert refused.value.param == param
    assert param in refused.value.message


def test_a_key_that_never_ends_is_wider_than_one_that_does() -> None:
    check_within(MAKER, MAKER)
    check_within(MAKER, Terms(scopes=frozenset(SCOPES)))
    with pytest.raises(PermissionDeniedError, match="expires_in"):
        check_within(Terms(scopes=MAKER.scopes, models=SOME), MAKER)


def test_a_key_with_limits_of_its_own_makes_none_not_even_its_like() -> None:
    limited = replace(MAKER, limits=Limits(requests_per_min=60))
    with pytest.raises(PermissionDeniedError, match="limits of its own") as refused:
        delegated(Wanted("ci", limits=Limits(requests_per_min=1)), limited)
    assert refused.value.param == "limits"
    with pytest.raises(PermissionDeniedError, match="limits of its own"):
        check_within(limited, limited)
