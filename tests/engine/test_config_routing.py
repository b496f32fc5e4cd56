"""What a configuration says of deployments, names and choices, and what is refused of it."""

from __future__ import annotations

import pytest

from engine.config import BreakerConfig, Config, RoutingConfig, parse_config
from engine.errors import ConfigError
from engine.routing.values import RoutingRules

PROVIDERS = """\
[providers.a]
protocol = "openai"
base_url = "https://a.example/v1"
api_keys = ["env:ONE", "env:TWO"]
health_check_s = 10
[providers.b]
protocol = "anthropic"
base_url = "https://b.example/v1"
api_key = "env:ONE"
"""
ROUTING = """\
[routing]
attempts_max = 3
retry_share_max = 0
breaker = { failures = 0, open_s = 2 }
seed = 0
"""
MODELS = """\
[models.large]
aliases = ["large-latest", "best"]
strategy = "least-busy"
sticky = "prefix"
fallbacks = ["small"]
hedge = true
continuation = true
deployments = [
  { provider = "a", model = "l-1", weight = 3, concurrency_max = 200 },
  { provider = "b", model = "l-1", weight = 0, priority = 1 },
]
[models.small]
deployments = [{ provider = "a", model = "s-1" }]
"""
AUTO = """\
[auto]
name = "kr-auto"
reference = "large"
medium = 20
hard = 50
weights = { code = 0 }
words = { mathematics = ["prove", "lemma"] }
models = [{ name = "small", strength = 1 }, { name = "large", strength = 3 }]
"""
EXAMPLE = PROVIDERS + ROUTING + MODELS + AUTO
ENVIRON = {"ONE": "sk-first-of-all", "TWO": "sk-second"}


def read(text: str = EXAMPLE) -> Config:
    return parse_config(text, "p.toml", ENVIRON)


def test_the_example() -> None:
    config = read()
    assert config.providers["a"].api_keys == ("sk-first-of-all", "sk-second")
    assert (config.providers["a"].health_check_s, config.providers["b"].health_check_s) == (
        10,
        None,
    )
    large = config.models["large"]
    assert large.aliases == ("large-latest", "best")
    assert (large.strategy, large.sticky, large.hedge, large.continuation) == (
        "least-busy",
        "prefix",
        True,
        True,
    )
    first, second = large.deployments
    assert (first.weight, first.priority, first.concurrency_max) == (3, 0, 200)
    assert (second.weight, second.priority, second.concurrency_max) == (0, 1, None)
    assert config.routing == RoutingConfig(
        attempts_max=3, retry_share_max=0.0, breaker=BreakerConfig(failures=0, open_s=2.0), seed=0
    )
    assert config.auto is not None
    assert [(each.name, each.strength) for each in config.auto.models] == [
        ("small", 1),
        ("large", 3),
    ]


def test_what_is_left_out_is_as_routing_has_it() -> None:
    said, usual = RoutingConfig(), RoutingRules()
    for name in RoutingRules.__dataclass_fields__:
        if name != "breaker":
            assert getattr(said, name) == getattr(usual, name), name
    for name in type(usual.breaker).__dataclass_fields__:
        assert getattr(said.breaker, name) == getattr(usual.breaker, name), name
    assert read("").auto is None


def test_keys_of_a_pool_are_never_printed() -> None:
    assert "sk-second" not in repr(read())


def test_the_keys_of_a_kind_need_no_variable_of_its_own() -> None:
    config = read('[providers.openai]\nkind = "openai"\napi_keys = ["env:ONE"]\n')
    provider = config.providers["openai"]
    assert (provider.api_key, provider.api_keys) == (None, ("sk-first-of-all",))


MISTAKES = [
    # providers
    ("api_keys = [", 'api_key = "env:ONE"\napi_keys = [', "providers.a.api_keys stands in place"),
    ('"env:TWO"', '"env:ONE"', "providers.a.api_keys holds one key twice"),
    ('"env:TWO"', '"sk-live"', 'providers.a.api_keys must be "env:NAME" or "file:/path"'),
    ('"env:TWO"', '"env:THREE"', "providers.a.api_keys needs the environment variable THREE"),
    ("health_check_s = 10", 'auth = "none"', "api_keys are not sent where auth is"),
    ("health_check_s = 10", "health_check_s = 0", "health_check_s must be more than 0"),
    # routing
    ("attempts_max = 3", "attempts_max = 17", "routing.attempts_max must be 16 at most"),
    ("attempts_max = 3", "attempts_max = 0", "routing.attempts_max must be more than 0"),
    ("share_max = 0", "share_max = 1.5", "routing.retry_share_max is a share, from 0 to 1"),
    ("failures = 0", "share = 2", "routing.breaker.share is a share"),
    ("failures = 0", "failures = -1", "routing.breaker.failures must be 0 or more"),
    ("open_s = 2", "open_s = 60", "routing.breaker.open_max_s must be 'open_s' (60) or more"),
    # deployments
    ('"b", model', '"a", model', "models.large.deployments has 'a/l-1' twice"),
    ("weight = 3", "weight = -3", "weight must be 0 or more"),
    ("weight = 3", "weight = 2_000_000", "weight must be 1,000,000 at most"),
    ("priority = 1", "priority = 9_999", "priority must be 1,000 at most"),
    ("concurrency_max = 200", "concurrency_max = 0", "concurrency_max must be more than 0"),
    ('"least-busy"', '"fastest"', "models.large.strategy must be 'weighted' or 'least-busy'"),
    ('"prefix"', '"account"', "models.large.sticky must be 'off' or 'session' or 'prefix'"),
    # names
    ('"best"', '"small"', "models.large.aliases has 'small', which is the name of a model"),
    ('"best"', '"large"', "models.large.aliases has 'large', which is the name of a model"),
    ('"best"', '"large-latest"', "has 'large-latest', which 'large' has already"),
    ('"best"', '""', "models.large.aliases holds an empty name"),
    ("[models.small]", '[models.small]\naliases = ["best"]', "has 'best', which 'large' has"),
    # fallbacks
    ('["small"]', '["smal"]', "names the model 'smal', which is not configured; did you mean"),
    ('["small"]', '["small", "small"]', "models.large.fallbacks names one model twice"),
    ('["small"]', '["large"]', "models.large.fallbacks leads back to itself: large -> large"),
    ('["small"]', '["best"]', "models.large.fallbacks names 'best', an alias: write 'large'"),
    ('["small"]', '["kr-auto"]', "names the model 'kr-auto', which is not configured"),
    (
        "[models.small]",
        '[models.small]\nfallbacks = ["large"]',
        "models.large.fallbacks leads back to itself: large -> small -> large",
    ),
    ('["small"]', f"{[f'm{number}' for number in range(9)]}", "fallbacks must be 8 at most"),
    # auto
    ('"kr-auto"', '"small"', "auto.name is taken: 'small' is a model's"),
    ('"kr-auto"', '"best"', "auto.name is taken: 'best' is a model's"),
    ('"kr-auto"', '""', "auto.name must not be empty"),
    ('name = "small", s', 'name = "best", s', "auto.models names 'best', an alias: write 'large'"),
    ('name = "small", s', 'name = "large", s', "auto.models names one model twice"),
    ("strength = 1", "strength = 4", "auto.models says strength = 4 of 'small'"),
    ("strength = 1", "strength = 0", "strength must be more than 0"),
    ('reference = "large"', 'reference = "huge"', "auto.reference names the model 'huge'"),
    ("medium = 20", "medium = 60", "auto needs 'medium' <= 'hard' <= 100, not 60, 50"),
    ("hard = 50", "hard = 101", "auto needs 'medium' <= 'hard' <= 100, not 20, 101"),
    ("{ code = 0 }", "{ cod = 1 }", "auto.weights.cod is no feature; did you mean 'code'?"),
    ("{ code = 0 }", "{ code = 101 }", "auto.weights.code must be from 0 to 100, not 101"),
    ("mathematics =", "depth =", "auto.words.depth is told by no words; known are:"),
    ('"lemma"', '" "', "auto.words.mathematics must be words"),
]


@pytest.mark.parametrize(("old", "new", "expected"), MISTAKES)
def test_a_mistake_is_named_with_its_line(old: str, new: str, expected: str) -> None:
    assert old in EXAMPLE
    with pytest.raises(ConfigError) as caught:
        read(EXAMPLE.replace(old, new, 1))
    said = str(caught.value)
    assert expected in said
    assert said.startswith("p.toml:"), "and a line"
    assert "sk-" not in said


def test_a_cloud_has_nothing_to_be_asked_for() -> None:
    text = """
[providers.x]
kind = "bedrock"
region = "us-east-1"
health_check_s = 5
"""
    with pytest.raises(ConfigError, match="health_check_s cannot be: bedrock has no list"):
        read(text)


def test_plans_may_name_what_chooses_but_no_alias() -> None:
    read(EXAMPLE + '[plans.p]\nmodels = ["kr-auto", "sma*"]\n')
    with pytest.raises(ConfigError, match=r"plans.p.models names 'best', and there is no such"):
        read(EXAMPLE + '[plans.p]\nmodels = ["best"]\n')
    with pytest.raises(ConfigError, match=r"is the price of a model that is not configured"):
        read(EXAMPLE + "[plans.p.prices.kr-auto]\ninput = 1\noutput = 1\n")
