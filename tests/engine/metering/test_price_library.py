"""List prices and context windows: what the library's own search finds, without its search."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import genai_prices as library
import pytest
from genai_prices import data_snapshot
from genai_prices.types import ModelInfo, Provider

from engine.metering.price_library import UNITS, _index, look_up
from engine.metering.pricing import Rates, charge_nanodollars, usd_of
from engine.usage import Usage

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OPENAI = "https://api.openai.com/v1"
OPENROUTER = "https://openrouter.ai/api/v1"
PROVIDERS = (
    OPENAI,
    OPENROUTER,
    "https://api.anthropic.com/v1",
    "https://generativelanguage.googleapis.com/v1beta",
    "https://my-resource.openai.azure.com/openai/v1",
    "https://api.mistral.ai/v1",
    "https://api.x.ai/v1",
)


def provider_at(url: str) -> Provider:
    return data_snapshot.get_snapshot().find_provider(None, None, url)


def test_a_listed_model() -> None:
    gpt_5 = Rates(
        input=1_250_000,
        cached_input=125_000,
        cache_write=1_250_000,
        output=10_000_000,
        more={
            "web_searches": 10_000_000_000,
            "file_searches": 2_500_000_000,
            "code_sessions": 30_000_000_000,
        },
    )
    listed = look_up(OPENAI, "gpt-5", NOW)
    assert listed == look_up(OPENAI, "GPT-5", NOW)
    assert listed is not None
    assert listed.rates is not None
    assert (replace(listed.rates, services={}), listed.context_window_tokens) == (gpt_5, 400_000)


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
    provider, index = provider_at(base_url), _index(base_url)
    assert index is not None
    for model in provider.models:
        for name in (model.id, model.id.upper(), f"{model.id}-20260214", f"{model.id}-latest"):
            assert index.find(name) is _searched(provider, name), name


def test_every_list_price_can_be_used() -> None:
    """Also those that are the twelfth part of a dollar."""
    for model in provider_at(OPENROUTER).models:
        prices = model.get_prices(NOW)
        listed = look_up(OPENROUTER, model.id, NOW)
        assert listed is not None
        if prices.input_mtok is not None and prices.output_mtok is not None:
            assert listed.rates is not None, model.id


COHERE = "https://api.cohere.ai/compatibility/v1"
GEMINI = "https://generativelanguage.googleapis.com/v1beta"
SPOKEN_MINUTE = Usage(more={"milliseconds": 60_000})
ONE_IMAGE = Usage(more={"images": 1})


@pytest.mark.parametrize(
    ("base_url", "model", "usage", "tier", "nanodollars"),
    [
        (OPENAI, "text-embedding-3-small", Usage(10**6), None, 20_000_000),
        (OPENAI, "text-embedding-ada-002", Usage(10**6), None, 100_000_000),
        (GEMINI, "gemini-embedding-001", Usage(10**6), None, 150_000_000),
        (COHERE, "embed-v4.0", Usage(10**6), None, 120_000_000),
        (COHERE, "rerank-v3.5", Usage(more={"requests": 1}), None, 2_000_000),
        (OPENAI, "tts-1", Usage(more={"characters": 1_000}), None, 15_000_000),
        (OPENAI, "tts-1-hd", Usage(more={"characters": 1_000}), None, 30_000_000),
        (OPENAI, "whisper-1", SPOKEN_MINUTE, None, 6_000_000),
        (OPENAI, "dall-e-2", ONE_IMAGE, "standard 512x512", 18_000_000),
        (OPENAI, "dall-e-2", ONE_IMAGE, "1024x1024", 20_000_000),
        (OPENAI, "dall-e-3", ONE_IMAGE, "standard 1024x1024", 40_000_000),
        (OPENAI, "dall-e-3", ONE_IMAGE, "standard 1792x1024", 80_000_000),
        (OPENAI, "dall-e-3", ONE_IMAGE, "hd 1024x1024", 80_000_000),
        (OPENAI, "dall-e-3", ONE_IMAGE, "hd 1024x1792", 120_000_000),
        (OPENAI, "omni-moderation-latest", Usage(10**6), None, 0),
    ],
)
def test_models_that_charge_for_no_output_of_text(
    base_url: str, model: str, usage: Usage, tier: str | None, nanodollars: int
) -> None:
    listed = look_up(base_url, model, NOW)
    assert listed is not None
    assert listed.rates is not None
    assert charge_nanodollars(usage, listed.rates, tier) == nanodollars


def test_a_model_that_lacks_the_price_of_its_output_is_not_priced() -> None:
    listed = look_up(OPENROUTER, "scaledown/summarize", NOW)
    assert listed is not None
    assert listed.rates is None
    assert look_up("https://llm.example/v1", "dall-e-3", NOW) is None


BASE_KEYS = {
    "input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok", "output_reasoning_mtok",
}  # fmt: skip
NOT_CHARGED = {
    "input_text_messages_kcount", "output_citation_mtok",
    "input_document_kpages", "input_annotated_document_kpages",
}  # fmt: skip
"""Cohere's old messages; the citations of one model of Perplexity's; pages that a model of
Mistral's reads."""


def test_all_kinds_of_prices_are_known() -> None:
    found = set()
    for provider in data_snapshot.get_snapshot().providers:
        for model in provider.models:
            dated = model.prices
            every = [each.prices for each in dated] if isinstance(dated, list) else [dated]
            every += [variant.prices for variant in model.price_variants or ()]
            for prices in every:
                found |= {key for key, price in vars(prices).items() if price is not None}
    assert found - BASE_KEYS - UNITS.keys() == NOT_CHARGED


GOOGLE = "https://generativelanguage.googleapis.com/v1beta"
ANTHROPIC = "https://api.anthropic.com/v1"
LATER = datetime(2026, 11, 1, tzinfo=UTC)
SHORT = Usage(12_345, 2_345, 0, 6_789, 1_234)
WRITTEN = Usage(
    250_001, 20_000, 30_000, 777, more={"cache_write_1h_tokens": 10_000, "web_searches": 3}
)
GROUNDED = Usage(300_000, 1_000, 0, 9_999, 4_000, more={"web_searches": 2})
HEARD = Usage(5_000, 0, 0, 500, more={"input_audio_tokens": 4_000})
ASKED = Usage(100, output_tokens=50, more={"requests": 1})
DRAWN = Usage(100, 0, 0, 1_300, more={"output_image_tokens": 1_290})


@pytest.mark.parametrize(
    ("base_url", "model", "usage", "tier", "nanodollars"),
    [
        (OPENAI, "gpt-5", SHORT, None, 80_683_125),
        (OPENAI, "gpt-5", SHORT, "priority", 161_366_250),
        (OPENAI, "gpt-5-mini", SHORT, "flex", 8_068_312),
        (OPENAI, "gpt-4.1-mini", SHORT, None, 15_096_900),
        (OPENAI, "o3", SHORT, "flex", 37_742_250),
        (ANTHROPIC, "claude-sonnet-4-5", SHORT, None, 132_538_500),
        (ANTHROPIC, "claude-sonnet-4-5", WRITTEN, None, 1_529_488_500),
        (ANTHROPIC, "claude-opus-4-8", SHORT, "fast", 441_795_000),
        (GOOGLE, "gemini-2.5-pro", SHORT, None, 80_683_125),
        (GOOGLE, "gemini-2.5-pro", GROUNDED, None, 967_735_000),
        (GOOGLE, "gemini-2.5-flash", HEARD, None, 5_550_000),
        (GOOGLE, "gemini-2.5-flash-image", DRAWN, None, 38_755_000),
        (
            "https://api.perplexity.ai",
            "sonar",
            ASKED,
            None,
            12_150_000,
        ),
        ("https://api.mistral.ai/v1", "mistral-large-latest", SHORT, None, 65_424_000),
        ("https://api.deepseek.com/v1", "deepseek-chat", SHORT, None, 5_166_025),
    ],
)
def test_a_charge_is_what_the_library_calculates(
    base_url: str, model: str, usage: Usage, tier: str | None, nanodollars: int
) -> None:
    listed = look_up(base_url, model, LATER)
    assert listed is not None
    assert listed.rates is not None
    ours = charge_nanodollars(usage, listed.rates, tier)
    assert ours == int(calculated(base_url, model, usage, tier) * 10**9)
    assert ours == nanodollars


def calculated(base_url: str, model: str, usage: Usage, tier: str | None) -> Decimal:
    """By the library, whose kinds of media include what is cached."""
    provider = data_snapshot.get_snapshot().find_provider(None, None, base_url)
    found = _searched(provider, model)
    assert found is not None
    counts: dict[str, int] = {
        "input_tokens": usage.input_tokens,
        "cache_read_tokens": usage.cached_input_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "output_tokens": usage.output_tokens,
        "output_reasoning_tokens": usage.reasoning_tokens,
        **{unit: count for unit, count in usage.more.items() if unit != "requests"},
    }
    context = {"speed" if "anthropic" in base_url else "service_tier": tier} if tier else None
    price = found.calc_price(
        library.Usage(**counts), provider, genai_request_timestamp=LATER, price_context=context
    )
    return price.total_price


@pytest.mark.parametrize(
    ("model", "usd"),
    [
        ("gpt-4.1-2025-04-14", "25"),
        ("gpt-4.1-mini", "5"),
        ("gpt-4o-mini-2024-07-18", "3"),
        ("gpt-3.5-turbo-0125", "8"),
        ("o4-mini", None),
        ("gpt-4o-audio-preview", None),
    ],
)
def test_what_can_be_trained_is_paid_by_the_million_tokens(model: str, usd: str | None) -> None:
    listed = look_up(OPENAI, model, NOW)
    assert listed is not None
    assert listed.rates is not None
    rate = listed.rates.more.get("trained_tokens")
    assert (None if rate is None else usd_of(rate, "trained_tokens")) == usd


def test_tools_cost_the_same_in_every_service_tier() -> None:
    listed = look_up(OPENAI, "gpt-5", NOW)
    assert listed is not None
    assert listed.rates is not None
    once = Usage(more={"file_searches": 2, "code_sessions": 1})
    for tier in (None, "priority", "flex"):
        assert charge_nanodollars(once, listed.rates, tier) == 5_000_000 + 30_000_000


@pytest.mark.parametrize(
    ("base_url", "model", "tier", "usd"),
    [
        (OPENAI, "sora-2", "720x1280", "0.1"),
        (OPENAI, "sora-2-pro", "1280x720", "0.3"),
        (OPENAI, "sora-2-pro", "1024x1792", "0.5"),
        (PROVIDERS[3], "veo-3.1-generate-preview", "1080p", "0.4"),
        (PROVIDERS[3], "veo-3.1-generate-preview", "4k", "0.6"),
        (PROVIDERS[3], "veo-3.1-fast-generate-preview", "1080p", "0.12"),
        (PROVIDERS[3], "veo-3.1-lite-generate-preview", "720p", "0.05"),
        (PROVIDERS[6], "grok-imagine-video", "480p", "0.05"),
        (PROVIDERS[6], "grok-imagine-video", "1280x720", "0.07"),
    ],
)
def test_films_are_paid_by_the_second(base_url: str, model: str, tier: str, usd: str) -> None:
    listed = look_up(base_url, model, NOW)
    assert listed is not None
    assert listed.rates is not None
    rate = listed.rates.at(0, tier).more["milliseconds"]
    assert usd_of(rate, "milliseconds") == usd
