"""What a configuration says of what providers keep for accounts."""

from __future__ import annotations

import pytest

from engine import parse_config
from engine.charging import rates_of
from engine.config_state import FAMILIES, StateConfig
from engine.errors import ConfigError
from engine.metering.pricing import usd_of
from engine.overrides import plan_of

PROVIDER = '[providers.own]\nprotocol = "openai"\nbase_url = "https://a.example/v1"\n'


def test_all_families_are_passed_through_unless_it_is_said() -> None:
    assert parse_config("", "p.toml", {}).state == StateConfig()
    assert StateConfig().families == frozenset(FAMILIES)
    some = parse_config('[state]\nfamilies = ["batches"]', "p.toml", {}).state
    assert some.families == frozenset({"batches"})
    assert parse_config("[state]\nfamilies = []", "p.toml", {}).state.families == frozenset()


def test_a_plan_narrows_them() -> None:
    text = '[plans.small]\nfamilies = ["threads", "assistants"]\n[plans.any]\n'
    plans = parse_config(text, "p.toml", {}).plans
    assert plan_of("small", plans["small"], "file").families == frozenset({"threads", "assistants"})
    assert plan_of("any", plans["any"], "file").families is None


def test_who_keeps_state_has_to_be_configured() -> None:
    said = parse_config(f'{PROVIDER}[state]\nprovider = "own"', "p.toml", {}).state
    assert said.provider == "own"
    with pytest.raises(
        ConfigError, match=r"p\.toml:5: state\.provider 'owm' is not configured; did"
    ):
        parse_config(f'{PROVIDER}[state]\nprovider = "owm"', "p.toml", {})


def test_a_family_that_there_is_not_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"p\.toml:2: state\.families must be 'assistants' or"):
        parse_config('[state]\nfamilies = ["realtime"]', "p.toml", {})


def test_what_is_no_answer_of_a_model_has_prices_of_its_own() -> None:
    text = (
        "[billing]\nmarkup = 2\n[state]\nprices = { file_searches = 2.5, gigabyte_days = 0.125 }\n"
    )
    price, cost = rates_of(parse_config(text, "p.toml", {}))
    assert {unit: usd_of(rate, unit) for unit, rate in price.more.items()} == {
        "file_searches": "2.5",
        "code_sessions": "0.06",
        "megabyte_days": "0.125",
    }
    assert {unit: usd_of(rate, unit) for unit, rate in cost.more.items()} == {
        "code_sessions": "0.03",
        "megabyte_days": "0.1",
    }


@pytest.mark.parametrize("usd", ["-1", "0.00000000000001", "10_000_000"])
def test_a_price_that_cannot_be_billed_is_refused(usd: str) -> None:
    with pytest.raises(ConfigError, match=r"state\.prices cannot be used"):
        parse_config(f"[state]\nprices = {{ file_searches = {usd} }}", "p.toml", {})
