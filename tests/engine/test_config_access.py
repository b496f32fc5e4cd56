"""Operators, plans and limits in the configuration: what is accepted, and what is said when not."""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine.config import Config, parse_config, require_operator
from engine.config_access import ADMIN_VARIABLE
from engine.errors import ConfigError
from engine.rules import build_rules
from tests.clocks import DAY_MS

SECRET = "a" * 40
EXAMPLE = """\
[admin]
secret = "env:ADMIN"
allow = ["127.0.0.1", "10.0.0.0/8", "unix"]
operators.alice = { secret = "env:ALICE" }
[limits]
key_prefix = "sk-acme-"
default_plan = "free"
requests_per_ip = 100
per_ip_window_s = 60
[plans.free]
models = ["small", "in-house*"]
requests_per_min = 100
tokens_per_min = 100_000
concurrent_streams = 5
monthly_budget_usd = 5.25
[plans.free.prices."small"]
input = 0.3
output = 2.4
[providers.p]
protocol = "openai"
base_url = "http://127.0.0.1:1/v1"
[models.small]
deployments = [{ provider = "p", model = "m" }]
price = { input = 1, output = 2 }
[models.in-house-1]
deployments = [{ provider = "p", model = "m" }]
free = true
"""
ENVIRON = {"ADMIN": SECRET, "ALICE": "b" * 40, "SHORT": "short", "SPACED": "c d" * 20}


def read(text: str, **environ: str) -> Config:
    return parse_config(text, "p.toml", ENVIRON | environ)


def test_the_example() -> None:
    config = read(EXAMPLE)
    assert dict(config.admin.credentials()) == {"admin": SECRET, "admin:alice": "b" * 40}
    assert config.limits.default_plan == "free"
    plan = config.plans["free"]
    assert (plan.requests_per_min, plan.tokens_per_min, plan.concurrent_streams) == (
        100,
        100_000,
        5,
    )
    assert plan.monthly_budget_usd == Decimal("5.25")
    assert SECRET not in repr(config)


def test_plans_as_admission_takes_them() -> None:
    rules = build_rules(read(EXAMPLE), lambda: DAY_MS)
    plan = rules.plans["free"]
    assert plan.models.patterns == ("small", "in-house*")
    assert plan.limits.requests_per_min == 100
    assert plan.monthly_budget_nanodollars == 5_250_000_000
    assert plan.source == "file"
    assert rules.priced(rules.catalogue["small"], "acct_1", plan).price.input == 300_000
    assert rules.priced(rules.catalogue["small"], "acct_1", None).price.input == 1_000_000


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("env:ADMIN", "env:SHORT", "p.toml:2: admin.secret has 5 characters, and must have 32 to"),
        ("env:ADMIN", "env:SPACED", "p.toml:2: admin.secret must be visible ASCII"),
        ("env:ADMIN", "env:NONE", "p.toml:2: admin.secret needs the environment variable NONE"),
        ("env:ALICE", "env:SHORT", "p.toml:4: admin.operators.alice.secret has 5 characters"),
        ("env:ALICE", "env:ADMIN", "p.toml:4: admin.operators.alice.secret is that of 'admin' too"),
        ("alice =", '"a b" =', "p.toml:4: admin.operators.a b must be letters, digits"),
        ("10.0.0.0/8", "10.0.0.1/8", "p.toml:3: admin.allow has '10.0.0.1/8', which is neither"),
        ('["127.0.0.1", "10.0.0.0/8", "unix"]', "[]", "p.toml:3: admin.allow must be a list that"),
        ("sk-acme-", "sk-acme", "p.toml:6: limits.key_prefix must be 2 to 20 of a-z"),
        ("sk-acme-", "SK-", "p.toml:6: limits.key_prefix must be 2 to 20 of a-z"),
        ("sk-acme-", "x" * 20 + "-", "p.toml:6: limits.key_prefix must be 2 to 20 of a-z"),
        ('"free"', '"fre"', "p.toml:7: limits.default_plan names the plan 'fre', which is not"),
        ('"free"', '"fre"', "; did you mean 'free'?"),
        ("= 60", "= 0", "p.toml:9: limits.per_ip_window_s must be more than 0, not 0"),
        ("[plans.free]", '[plans."fr ee"]', "p.toml:10: plans.fr ee must be up to 64 letters"),
        ('"small", ', '"smal", ', "p.toml:11: plans.free.models names 'smal', and there is no"),
        ("in-house*", "inhouse*", "p.toml:11: plans.free.models names 'inhouse*', and there"),
        ("= 100\ntokens", "= 0\ntokens", "p.toml:12: plans.free.requests_per_min must be more"),
        ("tokens_per_min", "tokens_per_mim", "did you mean 'tokens_per_min'?"),
        ("5.25", "0", "p.toml:15: plans.free.monthly_budget_usd must be more than 0"),
        ("5.25", "nan", "p.toml:15: plans.free.monthly_budget_usd must be more than 0"),
        ("5.25", "inf", "p.toml:15: plans.free.monthly_budget_usd must be more than 0"),
        ("5.25", "0.00000000001", "no finer than a nanodollar"),
        ('prices."small"', 'prices."big"', "p.toml:16: plans.free.prices.big is the price of a"),
        ("input = 0.3", "input = -1", "p.toml:16: plans.free.prices.small cannot be used"),
    ],
)
def test_a_mistake_is_named_with_its_line(old: str, new: str, expected: str) -> None:
    assert old in EXAMPLE
    with pytest.raises(ConfigError) as caught:
        build_rules(read(EXAMPLE.replace(old, new, 1)), lambda: DAY_MS)
    assert expected in str(caught.value)
    assert SECRET not in str(caught.value)


def test_the_variable_stands_in_for_the_table() -> None:
    config = read("", **{ADMIN_VARIABLE: f" {SECRET}\n"})
    assert dict(config.admin.credentials()) == {"admin": SECRET}
    require_operator(config)
    with pytest.raises(ConfigError, match=r"^p.toml: admin.secret \(the variable PARSHALL_ADMIN_"):
        read("", **{ADMIN_VARIABLE: "short"})


@pytest.mark.parametrize("text", ["", "[admin]\nallow = ['unix']"])
def test_nothing_is_served_without_an_operator(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        require_operator(read(text, **{ADMIN_VARIABLE: ""}))
    assert str(caught.value).startswith("p.toml")
    assert "admin needs a credential of the operator: set the environment variable " in str(
        caught.value
    )
    assert ADMIN_VARIABLE in str(caught.value)


def test_one_of_several_operators_is_enough() -> None:
    require_operator(read("[admin.operators.alice]\nsecret = 'env:ALICE'"))


def test_there_is_no_default() -> None:
    assert not list(Config().admin.credentials())


@pytest.mark.parametrize("name", ["fr ee", "", "-free", "f" * 65, "prix\\u20ac"])
def test_a_plan_has_a_plain_name(name: str) -> None:
    with pytest.raises(ConfigError, match="must be up to 64 letters"):
        read(f'[plans."{name}"]\nrequests_per_min = 1')
