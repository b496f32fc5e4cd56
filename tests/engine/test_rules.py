"""Generations of rules: what they share, and what operators make of them."""

from __future__ import annotations

import pytest

from engine.admission.keys import KeyIndex, Terms, digest
from engine.admission.limits import Demand
from engine.admission.plans import ModelSet
from engine.config import Config, parse_config
from engine.errors import ConfigError
from engine.ledger.changes import PlanSet, PriceSet
from engine.parsing.facts import Wanted
from engine.rules import Admitted, Rules, build_rules

TEXT = """
[billing]
markup = 2
[providers.p]
protocol = "openai"
base_url = "http://127.0.0.1:1/v1"
[providers.q]
protocol = "openai"
base_url = "http://127.0.0.1:2/v1"
[models.a]
deployments = [{ provider = "p", model = "m" }]
price = { input = 1, output = 2 }
[models.b]
deployments = [{ provider = "q", model = "m", cost = { input = 1, output = 2 } }]
[plans.free]
models = ["a"]
[plans.pro]
requests_per_min = 10
"""
NOW_MS = 1_700_000_000_000


def read(text: str = TEXT) -> Config:
    return parse_config(text, "p.toml", {})


def build(text: str = TEXT, before: Rules | None = None, now_ms: int = NOW_MS) -> Rules:
    return build_rules(read(text), lambda: now_ms, before)


def test_what_has_not_changed_is_shared() -> None:
    first = build()
    second = build(before=first, now_ms=NOW_MS + 5_000)
    for name in ("a", "b"):
        assert second.catalogue[name] is first.catalogue[name]
    for name in ("p", "q"):
        assert second.providers[name] is first.providers[name]
    assert second.plans["pro"] is first.plans["pro"]
    assert second.models == first.models, "they are served since then"
    assert second.loaded_at_ms == NOW_MS + 5_000


@pytest.mark.parametrize(
    ("old", "new", "models", "providers"),
    [
        ("input = 1, output = 2 }\n[models.b]", "input = 3, output = 4 }\n[models.b]", "a", ""),
        ("cost = { input = 1", "cost = { input = 5", "b", ""),
        ("127.0.0.1:1", "127.0.0.1:3", "a", "p"),
        ("markup = 2", "markup = 3", "ab", ""),
        ("[plans.free]", "[[prices]]\nmodel = 'a'\ninput = 9\n[plans.free]", "ab", ""),
    ],
)
def test_what_has_changed_is_not(old: str, new: str, models: str, providers: str) -> None:
    first = build()
    second = build(TEXT.replace(old, new), first)
    assert {m for m in "ab" if second.catalogue[m] is not first.catalogue[m]} == set(models)
    assert {p for p in "pq" if second.providers[p] is not first.providers[p]} == set(providers)
    fresh = build(TEXT.replace(old, new))
    assert second.catalogue == fresh.catalogue, "as if it had been read at the start"


def test_prices_of_days_are_looked_up_anew() -> None:
    text = TEXT + "[[prices]]\nmodel = 'a'\nvalid_from = 2023-11-20\ninput = 9\noutput = 9\n"
    first = build(text)
    later = build(text, first, now_ms=NOW_MS + 10 * 86_400_000)
    assert first.catalogue["a"].price.input == 1_000_000
    assert later.catalogue["a"].price.input == 9_000_000
    assert later.catalogue["b"] is first.catalogue["b"]


def test_what_operators_make_goes_on_over_a_reload() -> None:
    changes: list[PlanSet | PriceSet] = [
        PlanSet("mine", {"requests_per_min": 3}),
        PriceSet("plan", "mine", "a", {"input": "7", "output": "7"}),
    ]
    first = build().changed(changes)
    assert first.number == 2
    second = build(before=first).after(first)
    assert second.number == 3
    assert second.plans["mine"].limits.requests_per_min == 3
    mine = second.plans["mine"]
    assert second.priced(second.catalogue["a"], "acct_1", mine).price.input == 7_000_000
    gone = second.changed([PlanSet("mine", None), PriceSet("plan", "mine", "a", None)])
    assert "mine" not in gone.plans
    assert gone.priced(gone.catalogue["a"], "acct_1", mine).price.input == 1_000_000
    assert "mine" in second.plans, "what is under way keeps its rules"


def test_a_plan_has_one_maker() -> None:
    with pytest.raises(ConfigError, match=r"p.toml:\d+: plans.pro is the name of a plan that an"):
        build().changed([PlanSet("pro", {})])
    assert "pro" in build().changed([PlanSet("pro", None)]).plans, "the file's stays"
    made = build().changed([PlanSet("mine", {})])
    with pytest.raises(ConfigError, match=r"p.toml:\d+: plans.mine is the name of a plan that an"):
        build(TEXT.replace("plans.pro", "plans.mine"), made).after(made)


@pytest.mark.parametrize(
    ("plan", "models", "listed"),
    [(None, ["*"], "ab"), ("free", ["*"], "a"), ("pro", ["b"], "b"), ("free", ["b"], "")],
)
def test_models_are_those_of_the_plan_and_of_the_key(
    plan: str | None, models: list[str], listed: str
) -> None:
    rules = build().changed([PriceSet("account", "acct_1", "a", {"input": "7", "output": "7"})])
    terms = Terms(models=ModelSet.of(models))
    entry = KeyIndex().put(bytes.fromhex(digest("x")), "key_1", "acct_1", terms)
    chosen = None if plan is None else rules.plans[plan]
    found = rules.models_of(Admitted(entry, chosen, rules, Demand()))
    assert [model.id for model in found] == list(listed)
    assert all(model.price.input == 7_000_000 for model in found if model.id == "a")


ROUTED = """
[models.sticky]
aliases = ["s"]
sticky = "prefix"
deployments = [{ provider = "p", model = "s" }]
free = true
[models.before]
fallbacks = ["sticky"]
deployments = [{ provider = "p", model = "b" }]
free = true
[models.by-session]
sticky = "session"
deployments = [{ provider = "p", model = "c" }]
free = true
[auto]
models = [{ name = "a", strength = 3 }]
words = { code = ["def"] }
"""


def test_facts_that_take_time_are_read_of_the_models_that_go_by_them() -> None:
    assert build().wanted == Wanted()
    assert build(TEXT + ROUTED).wanted == Wanted(
        prefixes=frozenset({"sticky", "s", "before"}), auto="auto", words={"code": ("def",)}
    )
