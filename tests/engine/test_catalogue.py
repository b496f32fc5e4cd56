"""The catalogue that routing goes by: deployments with their cost, names, and what stands for
others."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest

from engine.catalogue import Catalogue, build_catalogue, remarks
from engine.config import parse_config
from engine.metering.pricing import Rates, charge_nanodollars
from engine.prices import dearest
from engine.routing.values import WEIGHTS, AutoTable
from engine.usage import PART_OF, MoreUnit, Usage

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1_000)
TEXT = """\
[billing]
markup = 2
[providers.a]
protocol = "openai"
base_url = "http://127.0.0.1:1/v1"
api_keys = ["env:ONE", "env:TWO"]
[providers.b]
protocol = "anthropic"
base_url = "http://127.0.0.1:2/v1"
[models.large]
aliases = ["best"]
fallbacks = ["small"]
sticky = "session"
hedge = true
deployments = [
  { provider = "b", model = "l", cost = { input = 3, output = 10 }, priority = 1 },
  { provider = "a", model = "l", cost = { input = 2, output = 20 }, weight = 5 },
  { provider = "a", model = "l-2", cost = { input = 1, output = 1 } },
]
[models.small]
strategy = "cheapest"
deployments = [{ provider = "a", model = "s" }]
price = { input = 1, output = 2 }
[auto]
models = [{ name = "small", strength = 1 }, { name = "large", strength = 3 }]
reference = "large"
weights = { code = 7 }
"""


def build(text: str = TEXT) -> Catalogue:
    config = parse_config(text, "p.toml", {"ONE": "sk-1", "TWO": "sk-2"})
    return build_catalogue(config, NOW, lambda: NOW_MS)


def test_deployments_stand_in_tiers_with_what_routing_compares() -> None:
    large = build()["large"]
    first, second = large.tiers
    assert [each.path for each in first.deployments] == ["a/l", "a/l-2"]
    assert [each.path for each in second.deployments] == ["b/l"]
    deployment = first.deployments[0]
    assert (deployment.weight, deployment.keys) == (5, 2)
    assert deployment.rank_cost == 3 * 2_000_000 + 20_000_000
    assert (second.deployments[0].keys, second.deployments[0].priority) == (1, 1)
    assert (large.strategy, large.sticky, large.hedge, large.fallbacks) == (
        "weighted",
        "session",
        True,
        ("small",),
    )
    assert first.ring is not None, "it is sticky"
    assert build()["small"].tiers[0].ring is None


def test_a_model_without_a_price_covers_the_dearest_of_its_deployments() -> None:
    assert build()["large"].price == Rates(6_000_000, 6_000_000, 6_000_000, 40_000_000)


def test_an_alias_is_the_model_itself_and_no_entry_of_its_own() -> None:
    catalogue = build()
    assert catalogue["best"] is catalogue["large"]
    assert catalogue.get("best") is catalogue["large"]
    assert "best" in catalogue
    assert list(catalogue) == ["large", "small", "auto"]
    assert catalogue.get("nobody") is None


def test_what_stands_for_others_costs_what_they_cost_at_most() -> None:
    catalogue = build()
    auto = catalogue["auto"]
    assert (auto.deployments, auto.tiers) == ((), ())
    assert auto.price == catalogue["large"].price
    assert auto.auto is not None
    assert [(each.model, each.strength) for each in auto.auto.choices] == [
        ("small", 1),
        ("large", 3),
    ]
    assert auto.auto.weights == {**WEIGHTS, "code": 7}
    usual = AutoTable(())
    assert (auto.auto.medium, auto.auto.hard) == (usual.medium, usual.hard)
    assert auto.auto.reference == "large"


def test_dated_prices_hold_for_aliases_too() -> None:
    moment = [NOW_MS]
    text = TEXT + '[[prices]]\nmodel = "small"\nvalid_from = 2026-02-01\ninput = 9\noutput = 9\n'
    text = text.replace("[models.small]", '[models.small]\naliases = ["tiny"]')
    config = parse_config(text, "p.toml", {"ONE": "sk-1", "TWO": "sk-2"})
    catalogue = build_catalogue(config, NOW, lambda: moment[0])
    assert catalogue["tiny"].price.input == 1_000_000
    moment[0] += 40 * 86_400_000
    assert catalogue["tiny"].price.input == 9_000_000
    assert catalogue["tiny"] is catalogue["small"]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("hedge = true", "hedge = true", []),
        (
            '["small"]',
            '["small"]\ncontinuation = true',
            ["models.large.continuation has no effect"],
        ),
        (
            'model = "s" }]\nprice',
            'model = "s", capabilities.prefill = true }]\ncontinuation = true\nprice',
            [],
        ),
        ('strategy = "cheapest"', "hedge = true", ["models.small.hedge has no effect"]),
        (
            'strategy = "cheapest"',
            "hedge = true\ncontinuation = true",
            ["models.small.hedge has no effect", "models.small.continuation has no effect"],
        ),
    ],
)
def test_settings_without_effect_are_remarked_on(old: str, new: str, expected: list[str]) -> None:
    assert old in TEXT
    found = list(remarks(build(TEXT.replace(old, new))))
    assert [remark.partition(":")[0] for remark in found] == expected


# ---- the dearest of several rates ---------------------------------------------------------------

UNITS: tuple[MoreUnit, ...] = ("input_audio_tokens", "output_image_tokens", "web_searches")
SEED = 20_260_101


def some_rates(chance: random.Random, *, depth: int = 1) -> Rates:
    """Rates with tiers and services now and then, none above 100 picodollars."""

    def rate() -> int:
        return chance.randrange(100)

    tiers: tuple[tuple[int, Rates], ...] = ()
    services: dict[str, Rates] = {}
    if depth:
        lengths = chance.sample([10, 100, 1_000], chance.randrange(3))
        tiers = tuple((above, some_rates(chance, depth=0)) for above in sorted(lengths))
        names = chance.sample(["flex", "priority"], chance.randrange(3))
        services = {name: some_rates(chance, depth=0) for name in names}
    return Rates(
        rate(),
        rate(),
        rate(),
        rate(),
        rate() if chance.random() < 0.5 else None,
        more={unit: rate() for unit in UNITS if chance.random() < 0.5},
        tiers=tiers,
        services=services,
    )


def some_usage(chance: random.Random) -> Usage:
    """A usage whose parts are no larger than their wholes."""
    sizes = [chance.choice((0, 5, 50, 500, 5_000)) for _ in range(4)]
    fresh, cached, written, output = sizes
    reasoning = chance.randrange(output + 1)
    more: dict[MoreUnit, int] = {
        "input_audio_tokens": chance.randrange(fresh + 1),
        "output_image_tokens": chance.randrange(output - reasoning + 1),
        "web_searches": chance.randrange(3),
    }
    return Usage(fresh + cached + written, cached, written, output, reasoning, more=more)


def test_the_dearest_rates_cover_each_of_them() -> None:
    """For whatever is consumed, in any context and service tier."""
    assert {PART_OF.get(unit) for unit in UNITS} == {"input", "output", None}
    chance = random.Random(SEED)
    for round_number in range(400):
        several = [some_rates(chance) for _ in range(chance.randint(1, 4))]
        over_all = dearest(several)
        usage = some_usage(chance)
        for tier in (None, "flex", "priority"):
            charged = charge_nanodollars(usage, over_all, tier)
            most = max(charge_nanodollars(usage, rates, tier) for rates in several)
            assert charged >= most, (SEED, round_number, tier)


def test_equal_rates_stay_as_they_are() -> None:
    rates = some_rates(random.Random(SEED))
    assert dearest([rates, rates]) is rates
