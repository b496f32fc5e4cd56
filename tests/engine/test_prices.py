"""What a model costs on a day: rows of `[[prices]]` over the configured and the listed prices."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from engine.catalogue import build_catalogue
from engine.config import parse_config
from engine.errors import ConfigError
from engine.metering.pricing import Rates, charge_nanodollars
from engine.prices import shown
from engine.routing.values import Model
from engine.usage import Usage

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
    priced = (
        "input_audio = 3, web_searches = 10, seconds = 0.006, file_searches = 2.5, "
        "code_sessions = 0.03, trained_tokens = 8, gigabyte_days = 0.1"
    )
    text = BASE.replace("cached_input = 0.5", priced)
    [price] = [build_catalogue(parse_config(text, "test.toml", {}), DAY)["small"].price]
    assert price.more == {
        "input_audio_tokens": 3_000_000,
        "web_searches": 10**10,
        "milliseconds": 6 * 10**6,
        "file_searches": 25 * 10**8,
        "code_sessions": 3 * 10**10,
        "trained_tokens": 8 * 10**6,
        "megabyte_days": 97_656_250,
    }


SPOKEN = """
[providers.ours]
protocol = "openai"
base_url = "http://127.0.0.1:1/v1"
[models.heard]
deployments = [{ provider = "ours", model = "whisper", cost = { seconds = 0.0001 } }]
price = { seconds = 0.0002 }
[models.said]
deployments = [{ provider = "ours", model = "tts" }]
price = { characters = 15 }
[models.drawn]
deployments = [{ provider = "ours", model = "dall-e" }]
price = { images = 0.04, by_image = [
  { quality = "hd", images = 0.08 },
  { quality = "hd", size = "1024x1792", images = 0.12 },
] }
"""


def unusual(rows: str = "", text: str = SPOKEN) -> dict[str, Model[Rates]]:
    return dict(build_catalogue(parse_config(text + rows, "test.toml", {}), DAY))


FILMED = """
[providers.ours]
protocol = "openai"
base_url = "http://127.0.0.1:1/v1"
[models.filmed]
deployments = [{ provider = "ours", model = "film" }]
price = { seconds = 0.1, by_image = [{ size = "1080p", seconds = 0.3 }] }
[models.sung]
deployments = [{ provider = "ours", model = "song" }]
price = { clips = 0.04 }
"""


def test_films_are_paid_by_the_second_of_their_size_and_songs_by_the_clip() -> None:
    found = unusual(text=FILMED)
    usage, price = Usage(more={"milliseconds": 4_000, "clips": 1}), found["filmed"].price
    assert charge_nanodollars(usage, price, "1280x720") == 400_000_000
    assert charge_nanodollars(usage, price, "1920x1080") == 1_200_000_000
    assert charge_nanodollars(usage, found["sung"].price) == 40_000_000


def test_a_price_without_tokens() -> None:
    """Whatever tokens a provider reports of such a model cost nothing."""
    found = unusual()
    minute = Usage(9, output_tokens=99, more={"milliseconds": 60_000})
    assert charge_nanodollars(minute, found["heard"].price) == 12_000_000
    assert charge_nanodollars(minute, found["heard"].deployments[0].cost) == 6_000_000
    assert charge_nanodollars(Usage(more={"characters": 200}), found["said"].price) == 3_000_000
    assert found["said"].deployments[0].cost == found["said"].price


@pytest.mark.parametrize(
    ("tier", "cents"),
    [
        (None, 4),
        ("auto", 4),
        ("standard 1024x1024", 4),
        ("hd", 8),
        ("hd 1024x1024", 8),
        ("hd 1024x1792", 12),
        ("1024x1792", 4),
    ],
)
def test_an_image_costs_what_its_quality_and_size_do(tier: str | None, cents: int) -> None:
    price = unusual()["drawn"].price
    assert charge_nanodollars(Usage(more={"images": 1}), price, tier) == cents * 10**7


def test_rows_of_images() -> None:
    """What says less comes first: a size costs what it does in each quality that has no row."""
    price = unusual("""
[[prices]]
model = "drawn"
quality = "low"
size = "1024x1536"
images = 0.02
[[prices]]
model = "drawn"
size = "1024x1536"
images = 0.06
output = 7
input = 1
[[prices]]
model = "drawn"
quality = "hd"
images = 0.09
""")["drawn"].price
    cents = {
        tier: price.at(0, tier).more["images"] // 10**10
        for tier in ("hd", "hd 1024x1792", "hd 1024x1536", "low 1024x1536", "high 1024x1536")
    }
    assert cents == {
        "hd": 9,
        "hd 1024x1792": 12,
        "hd 1024x1536": 9,
        "low 1024x1536": 2,
        "high 1024x1536": 6,
    }
    assert price.at(0, "hd 1024x1536").output == 0, "a quality is looked up before a size"
    assert price.at(0, "1024x1536").output == 7_000_000
    assert shown(price) == {
        "input": "0",
        "output": "0",
        "images": "0.04",
        "by_image": {
            "hd": {"images": "0.09"},
            "1024x1536": {"input": "1", "output": "7", "images": "0.06"},
            "hd 1024x1792": {"images": "0.12"},
            "low 1024x1536": {"input": "1", "output": "7", "images": "0.02"},
        },
    }


def test_several_deployments_have_a_price_that_covers_each() -> None:
    """Also where one of them tells qualities apart, and another sizes."""
    text = """
[providers.ours]
protocol = "openai"
base_url = "http://127.0.0.1:1/v1"
[models.drawn]
deployments = [
  { provider = "ours", model = "a", cost.images = 0.01, cost.by_image = [
    { quality = "hd", images = 0.03 },
  ] },
  { provider = "ours", model = "b", cost.images = 0.02, cost.by_image = [
    { size = "2K", images = 0.05 },
  ] },
]
"""
    price = unusual(text=text)["drawn"].price
    assert {
        tier: price.at(0, tier).more["images"] // 10**10 for tier in ("low", "hd", "2K", "hd 2K")
    } == {"low": 2, "hd": 3, "2K": 5, "hd 2K": 5}


@pytest.mark.parametrize(
    ("price", "problem"),
    [
        ("{ }", "needs 'input' and 'output', or the price of what is no token: 'web_searches'"),
        ("{ reasoning = 1 }", "needs 'input' and 'output', or"),
        ("{ input = 1 }", "needs 'output' too; 0 where there is none"),
        ("{ output = 1, images = 1 }", "needs 'input' too"),
        ("{ images = 1, by_image = [{ images = 2 }] }", "needs a 'quality' or a 'size' in each"),
        ('{ images = 1, by_image = [{ quality = "hihg" }] }', "must be 'low' or 'medium' or"),
        (
            '{ images = 1, by_image = [{ size = "1024*1024" }] }',
            r"not '1024\*1024'; did you mean '1024x1024'",
        ),
        (
            '{ images = 1, by_image = [{ size = "2K", images = 2 }, { size = "2K" }] }',
            "has a price for '2K' twice",
        ),
    ],
)
def test_a_price_that_says_too_little_is_refused_with_its_line(price: str, problem: str) -> None:
    text = SPOKEN.replace("{ characters = 15 }", price)
    with pytest.raises(ConfigError, match=rf"test.toml:10: models.said.price\S* .*{problem}"):
        unusual(text=text)


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (
            'model = "drawn"\nservice_tier = "flex"\nquality = "hd"\nimages = 1',
            "both a service tier and images",
        ),
        ('model = "drawn"\nsize = "big"\nimages = 1', "prices.size must be pixels such as"),
        (
            'model = "dall-e-9"\nprovider = "ours"\nquality = "hd"\nimages = 1',
            "no price of 'dall-e-9' but for 'hd': add one for all others",
        ),
    ],
)
def test_a_row_of_images_that_cannot_be_used(rows: str, problem: str) -> None:
    more = '[models.more]\ndeployments = [{ provider = "ours", model = "dall-e-9" }]\n'
    with pytest.raises(ConfigError, match=problem):
        unusual(f"{more}[[prices]]\n{rows}\n")


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
