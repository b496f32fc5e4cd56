"""List prices and context windows: what the library's own search finds, without its search."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from genai_prices import data_snapshot
from genai_prices.types import ModelInfo, Provider

from engine.metering.price_library import ListedModel, _index, look_up
from engine.metering.pricing import Rates

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OPENAI = "https://api.openai.com/v1"
OPENROUTER = "https://openrouter.ai/api/v1"
PROVIDERS = {
    url: data_snapshot.get_snapshot().find_provider(None, None, url)
    for url in (
        OPENAI,
        OPENROUTER,
        "https://api.anthropic.com/v1",
        "https://generativelanguage.googleapis.com/v1beta",
        "https://my-resource.openai.azure.com/openai/v1",
        "https://api.mistral.ai/v1",
        "https://api.x.ai/v1",
    )
}


def test_a_listed_model() -> None:
    gpt_5 = Rates(input=1_250_000, cached_input=125_000, cache_write=1_250_000, output=10_000_000)
    assert look_up(OPENAI, "gpt-5", NOW) == ListedModel(gpt_5, 400_000)
    assert look_up(OPENAI, "GPT-5", NOW) == ListedModel(gpt_5, 400_000)


@pytest.mark.parametrize(
    ("base_url", "model"),
    [
        (OPENAI, "no-such-model"),
        ("https://llm.example/v1", "gpt-5"),
        ("http://127.0.0.1:8000/v1", "gpt-5"),
    ],
)
def test_what_is_not_listed(base_url: str, model: str) -> None:
    assert look_up(base_url, model, NOW) is None


def _searched(provider: Provider, name: str) -> ModelInfo | None:
    return provider.find_model(name, all_providers=data_snapshot.get_snapshot().providers)


@pytest.mark.parametrize("base_url", PROVIDERS)
def test_the_index_finds_what_a_search_finds(base_url: str) -> None:
    provider, index = PROVIDERS[base_url], _index(base_url)
    assert index is not None
    for model in provider.models:
        for name in (model.id, model.id.upper(), f"{model.id}-20260214", f"{model.id}-latest"):
            assert index.find(name) is _searched(provider, name), name


def test_every_list_price_can_be_used() -> None:
    """Also those that are the twelfth part of a dollar."""
    for model in PROVIDERS[OPENROUTER].models:
        prices = model.get_prices(NOW)
        listed = look_up(OPENROUTER, model.id, NOW)
        assert listed is not None
        if prices.input_mtok is not None and prices.output_mtok is not None:
            assert listed.rates is not None, model.id
