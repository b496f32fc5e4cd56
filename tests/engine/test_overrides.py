"""Plans and prices that operators make: what is taken, what is kept, and whose price goes first."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engine.config import parse_config
from engine.errors import InvalidRequestError, NotFoundError
from engine.metering.pricing import Rates
from engine.overrides import (
    Prices,
    check_new_plan,
    check_new_price,
    price_json,
    stored_plan,
    stored_price,
)

CONFIG = parse_config(
    """
[providers.p]
protocol = "openai"
base_url = "http://127.0.0.1:1/v1"
[models.small]
deployments = [{ provider = "p", model = "m" }]
price = { input = 1, output = 2 }
""",
    "p.toml",
    {},
)


def test_a_plan_is_kept_as_json_and_read_again() -> None:
    body = {"models": ["sm*"], "requests_per_min": 7, "monthly_budget_usd": "0.10"}
    kept = check_new_plan("mine", {**body, "tokens_per_min": None}, CONFIG)
    assert kept == body
    plan = stored_plan("mine", orjson.loads(orjson.dumps(kept)))
    assert (plan.name, plan.source, plan.limits.requests_per_min) == ("mine", "ledger", 7)
    assert plan.limits.tokens_per_min is None
    assert plan.monthly_budget_nanodollars == 100_000_000
    assert "small" in plan.models
    assert "big" not in plan.models


def test_a_plan_outlives_the_models_it_names() -> None:
    assert stored_plan("mine", {"models": ["gone"]}).models.patterns == ("gone",)


@pytest.mark.parametrize(
    ("name", "body", "problem"),
    [
        ("a b", {}, "plan must be up to 64 letters"),
        ("mine", {"models": ["big"]}, "plan.models names 'big', and there is no such model"),
        ("mine", {"models": []}, "plan.models must be a list that is not empty"),
        ("mine", {"models": "small"}, "plan.models must be a list that is not empty"),
        ("mine", {"requests_per_min": 0}, "plan.requests_per_min must be more than 0"),
        ("mine", {"requests_per_min": True}, "plan.requests_per_min must be a whole number"),
        ("mine", {"requests_per_min": "7"}, "plan.requests_per_min must be a whole number"),
        ("mine", {"requests_per_mim": 7}, "did you mean 'requests_per_min'?"),
        ("mine", {"monthly_budget_usd": 1.5}, "must be a string of digits"),
        ("mine", {"monthly_budget_usd": "x"}, "plan.monthly_budget_usd must be a number"),
        ("mine", {"monthly_budget_usd": "-1"}, "plan.monthly_budget_usd must be more than 0"),
        ("mine", {"monthly_budget_usd": "NaN"}, "plan.monthly_budget_usd must be a number"),
        ("mine", {"monthly_budget_usd": "1e99"}, "plan.monthly_budget_usd must be a number"),
        ("mine", {"prices": {"small": {"input": 1, "output": 1}}}, "are set one by one"),
    ],
)
def test_a_plan_that_cannot_be_used(name: str, body: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        check_new_plan(name, body, CONFIG)
    assert problem in caught.value.message


def test_a_price_is_kept_as_json_and_read_again() -> None:
    body = {"input": "0.25", "output": 2, "cached_input": "0.025"}
    kept = check_new_price("small", body, CONFIG)
    assert kept == body
    assert stored_price(orjson.loads(orjson.dumps(kept))) == Rates(
        250_000, 25_000, 250_000, 2_000_000
    )


def test_a_price_of_images_is_kept_as_json_and_read_again() -> None:
    rows = [{"quality": "hd", "size": "1024x1792", "images": "0.12"}, {"size": "2K", "images": 1}]
    kept = check_new_price("small", {"input": None, "images": "0.04", "by_image": rows}, CONFIG)
    assert kept == {"images": "0.04", "by_image": rows}
    rates = stored_price(orjson.loads(orjson.dumps(kept)))
    dollars = [rates.at(0, tier).more["images"] for tier in ("hd", "hd 1024x1792", "2K")]
    assert dollars == [4 * 10**10, 12 * 10**10, 10**12]


def test_a_price_of_the_file_is_shown_as_operators_write_theirs() -> None:
    text = """
[providers.p]
protocol = "openai"
base_url = "http://127.0.0.1:1/v1"
[models.m]
deployments = [{ provider = "p", model = "m" }]
[plans.p.prices.m]
images = 0.04
by_image = [{ quality = "hd", images = 0.08 }]
"""
    price = parse_config(text, "p.toml", {}).plans["p"].prices["m"]
    assert price_json(price) == {
        "images": "0.04",
        "by_image": [{"quality": "hd", "images": "0.08"}],
    }


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({}, "price needs 'input'"),
        ({"input": "1"}, "price needs 'output'"),
        ({"input": "1", "output": 0.5}, "price.output must be a string of digits"),
        ({"input": "1", "output": "-1"}, "price cannot be used"),
        ({"input": "1", "output": "inf"}, "price.output must be a number"),
        ({"input": "1", "output": "1", "outputs": "1"}, "price.outputs is unknown"),
        ({"input": "1", "output": [1]}, "price.output must be a number"),
        ({"images": "1", "by_image": [{"images": 0.1}]}, "price.by_image.images must be a string"),
        ({"images": "1", "by_image": ["hd"]}, "price.by_image must be a table"),
        ({"images": "1", "by_image": [{"size": "x"}]}, "price.by_image.size must be pixels"),
    ],
)
def test_a_price_that_cannot_be_used(body: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        check_new_price("small", body, CONFIG)
    assert problem in caught.value.message


def test_a_price_of_nothing() -> None:
    with pytest.raises(NotFoundError, match="There is no model 'smal'; did you mean 'small'"):
        check_new_price("smal", {"input": "1", "output": "1"}, CONFIG)


def test_whose_price_goes_first() -> None:
    rates = {name: Rates(number) for number, name in enumerate(("a", "p", "all", "file"), start=1)}
    of_ledger = {
        ("account", "acct_1", "small"): rates["a"],
        ("plan", "free", "small"): rates["p"],
        ("all", "", "small"): rates["all"],
    }
    of_file = {("plan", "pro", "small"): rates["file"], ("plan", "free", "small"): rates["file"]}
    prices = Prices(of_ledger, of_file)
    assert prices.find("small", "acct_1", "free") == rates["a"]
    assert prices.find("small", "acct_2", "free") == rates["p"]
    assert prices.find("small", "acct_2", "pro") == rates["file"]
    assert prices.find("small", "acct_2", None) == rates["all"]
    assert prices.find("big", "acct_1", "free") is None
    assert Prices(of_file=of_file).find("small", "acct_1", None) is None
