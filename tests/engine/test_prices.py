"""What a model costs on a day: rows of `[[prices]]` over the configured and the listed prices."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from engine.catalogue import build_catalogue
from engine.config import parse_config
from engine.errors import ConfigError
from engine.metering.pricing import Rates
from engine.routing.values import Model

BASE = """
[providers.ours]
protocol = "openai"
base_url = "http://127.0.0.1:1/v1"
[providers.google]
protocol = "gemini"
base_url = "https://generativelanguage.googleapis.com/v1beta"
[models.small]
deployments = [{ provider = "ours", model = "small-1" }]
price = { input = 1, output = 2, cached_input = 0.5 }
[models.listed]
deployments = [{ provider = "google", model = "gemini-2.5-pro" }]
"""
DAY = datetime(2026, 11, 1, tzinfo=UTC)
EVE = datetime(2026, 10, 31, 23, 59, tzinfo=UTC)


def models(rows: str, at: datetime = DAY) -> dict[str, Model[Rates]]:
    return dict(build_catalogue(parse_config(BASE + rows, "test.toml", {}), at))


def test_a_row_counts_from_its_first_day_to_before_its_last() -> None:
    row = """
[[prices]]
model = "small"
valid_from = 2026-11-01
valid_until = 2026-12-01
input = 3
output = 4
"""
    assert models(row, EVE)["small"].price == Rates(1_000_000, 500_000, 1_000_000, 2_000_000)
    assert models(row)["small"].price == Rates(3_000_000, 3_000_000, 3_000_000, 4_000_000)
    assert models(row, datetime(2026, 12, 1, tzinfo=UTC))["small"].price.input == 1_000_000
    assert models(row)["small"].deployments[0].cost.input == 1_000_000, "another table's"


def test_of_several_rows_the_latest_counts() -> None:
    rows = """
[[prices]]
model = "small"
valid_from = 2026-11-01
input = 5
output = 5
[[prices]]
model = "small"
valid_from = 2026-02-01
input = 4
output = 4
"""
    assert models(rows, EVE)["small"].price.input == 4_000_000
    assert models(rows)["small"].price.input == 5_000_000


def test_a_row_changes_what_it_names() -> None:
    row = """
[[prices]]
model = "gemini-2.5-pro"
provider = "google"
web_searches = 14
requests = 1
"""
    before, after = models("")["listed"], models(row)["listed"]
    assert after.price == after.deployments[0].cost, "the price is the cost unless it is said"
    assert after.price.input == before.price.input
    assert after.price.more["web_searches"] == 14 * 10**9
    assert [longer.more["requests"] for _, longer in after.price.tiers] == [10**9]


def test_rows_of_service_tiers_and_long_contexts() -> None:
    rows = """
[[prices]]
model = "small"
service_tier = "priority"
input = 2
output = 4
[[prices]]
model = "small"
service_tier = "priority"
above_input_tokens = 1000
input = 8
[[prices]]
model = "small"
above_input_tokens = 1000
output = 9
"""
    price = models(rows)["small"].price
    assert price.at(1_000).output == 2_000_000
    assert (price.at(1_001).input, price.at(1_001).output) == (1_000_000, 9_000_000)
    assert price.at(1_000, "priority").input == 2_000_000
    assert (price.at(1_001, "priority").input, price.at(1_001, "priority").output) == (
        8_000_000, 4_000_000,
    )  # fmt: skip
    assert price.at(1_000, "flex") == price


def test_a_markup_is_on_what_has_no_price_of_its_own() -> None:
    marked_up = models("[billing]\nmarkup = 1.2\n")
    listed = marked_up["listed"]
    assert listed.price.input == listed.deployments[0].cost.input * 12 // 10
    assert (
        listed.price.at(300_000).output == listed.deployments[0].cost.at(300_000).output * 12 // 10
    )
    assert marked_up["small"].price.input == 1_000_000


def test_other_units_in_a_price_table() -> None:
    text = BASE.replace("cached_input = 0.5", "input_audio = 3, web_searches = 10, seconds = 0.006")
    [price] = [build_catalogue(parse_config(text, "test.toml", {}), DAY)["small"].price]
    assert price.more == {
        "input_audio_tokens": 3_000_000,
        "web_searches": 10**10,
        "milliseconds": 6 * 10**6,
    }


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ('[[prices]]\nmodel = "smal"\ninput = 1\noutput = 1', "the model 'smal'"),
        ('[[prices]]\nmodel = "a"\nprovider = "x"\ninput = 1\noutput = 1', "the provider 'x'"),
        ('[[prices]]\nmodel = "small"\nvalid_from = "2026-11-01"', "must be a date without quotes"),
        ('[[prices]]\nmodel = "small"\nvalid_from = 2026-11-01T00:00:00Z', "must be a date"),
        ('[[prices]]\nmodel = "small"\ninput = -1', "cannot be used: a price must be zero or more"),
        (
            '[[prices]]\nmodel = "small"\nvalid_from = 2099-01-01\ninput = -1',
            "cannot be used: a price must be zero or more",
        ),
        ('[[prices]]\nmodel = "small"\nservice_tier = "fastest"', "must be 'priority' or 'flex'"),
        ("[billing]\nmarkup = 0", "billing.markup must be more than 0"),
    ],
)
def test_what_cannot_be_used_is_said_at_start(rows: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        models(rows)


def test_a_running_gateway_follows_the_day() -> None:
    now_ms = int(EVE.timestamp() * 1_000)
    row = '[[prices]]\nmodel = "small"\nvalid_from = 2026-11-01\ninput = 3\noutput = 4\n'
    config = parse_config(BASE + row, "test.toml", {})
    catalogue = build_catalogue(config, EVE, lambda: now_ms)
    pinned = catalogue["small"]
    assert pinned.price.input == 1_000_000
    now_ms += 60_000
    assert catalogue["small"].price.input == 3_000_000
    assert pinned.price.input == 1_000_000
    now_ms -= 3_600_000  # the clock is set back
    assert catalogue["small"].price.input == 1_000_000
    assert sorted(catalogue) == ["listed", "small"]
    assert "other" not in catalogue
