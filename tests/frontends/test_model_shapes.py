"""One model in three shapes: what is known, what is not, and what translation adds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from anthropic.types import ModelInfo as AnthropicModel
from openai.types import Model as OpenAIModel

from engine.capabilities import UNKNOWN
from engine.capability_table import capabilities_of
from engine.listing import ModelInfo
from engine.media_params import media_params_schema
from engine.metering.pricing import FREE, Rates
from frontends.model_shapes import SHAPES, anthropic_model, gemini_model, openai_model


def model(protocol: str, name: str, **changes: Any) -> ModelInfo:
    """A model as it would be listed."""
    info = ModelInfo(
        id=f"own/{name}",
        name=f"own/{name}",
        created=1_700_000_000,
        owned_by="someone",
        root=name,
        protocol=protocol,
        capabilities=capabilities_of(protocol, name),
        price=Rates(
            input=3_000_000, cached_input=300_000, cache_write=3_750_000, output=15_000_000
        ),
        media_params_schema=media_params_schema(protocol, name),
    )
    return replace(info, **changes)


KNOWN = [
    ("openai", "gpt-5"),
    ("openai", "gpt-4o-audio-preview"),
    ("anthropic", "claude-opus-4-6"),
    ("anthropic", "claude-sonnet-4-5"),
    ("anthropic", "claude-3-haiku-20240307"),
    ("gemini", "gemini-2.5-flash"),
    ("gemini", "gemini-3-pro-image-preview"),
    ("openai", "of-somebody"),
]


@pytest.mark.parametrize(("protocol", "name"), KNOWN)
def test_the_sdks_types_take_it(protocol: str, name: str) -> None:
    info = model(protocol, name)
    AnthropicModel.model_validate(anthropic_model(info))
    OpenAIModel.model_validate(openai_model(info))


@pytest.mark.parametrize("client", SHAPES)
def test_what_is_not_known_is_not_told(client: str) -> None:
    info = model("openai", "of-somebody", capabilities=UNKNOWN, price=FREE)
    shape = {"openai_chat": openai_model, "anthropic": anthropic_model, "gemini": gemini_model}
    told = shape[client](info)
    limits = {
        "openai_chat": ("context_window", "max_output_tokens"),
        "anthropic": ("max_input_tokens", "max_tokens", "capabilities"),
        "gemini": ("inputTokenLimit", "outputTokenLimit", "thinking", "temperature"),
    }
    assert [told.get(name) for name in limits[client]] == [None] * len(limits[client])
    assert {
        price for name, price in told["pricing"].items() if name not in ("currency", "unit")
    } == {"0"}
    if client == "openai_chat":
        assert set(told["capabilities"].values()) == {None}


def test_what_anthropics_own_models_can_do() -> None:
    opus = anthropic_model(model("anthropic", "claude-opus-4-6"))
    assert (opus["max_input_tokens"], opus["max_tokens"]) == (1_000_000, 128_000)
    can = opus["capabilities"]
    assert can["thinking"]["types"] == {
        "enabled": {"supported": True},
        "adaptive": {"supported": True},
    }
    assert can["effort"]["max"] == {"supported": True}
    assert can["effort"]["xhigh"] == {"supported": False}
    assert can["citations"] == can["pdf_input"] == {"supported": True}

    sonnet = anthropic_model(model("anthropic", "claude-sonnet-4-5"))["capabilities"]
    assert sonnet["thinking"]["types"]["adaptive"] == {"supported": False}
    assert sonnet["effort"]["supported"] is False

    haiku = anthropic_model(model("anthropic", "claude-3-haiku-20240307"))["capabilities"]
    assert haiku["thinking"]["supported"] is False


@pytest.mark.parametrize("name", ["gpt-5", "gemini-2.5-flash"])
def test_what_translation_lets_an_anthropic_client_ask_of_others(name: str) -> None:
    """A budget becomes an effort, and an effort a budget."""
    can = anthropic_model(model("openai" if name == "gpt-5" else "gemini", name))["capabilities"]
    assert can["thinking"]["types"] == {
        "enabled": {"supported": True},
        "adaptive": {"supported": True},
    }
    assert can["effort"]["high"] == {"supported": True}
    assert can["citations"] == {"supported": False}


@pytest.mark.parametrize(
    ("protocol", "name", "asked"),
    [
        ("openai", "gpt-4o-audio-preview", {"modalities", "audio"}),
        ("gemini", "gemini-2.5-flash-image", {"generationConfig"}),
        ("gemini", "gemini-2.5-flash-preview-tts", {"generationConfig"}),
        (
            "openai",
            "dall-e-2",
            {
                "model",
                "prompt",
                "user",
                "image",
                "mask",
                "n",
                "size",
                "quality",
                "response_format",
                "stream",
            },
        ),
        ("openai", "text-embedding-ada-002", {"model", "input", "encoding_format", "user"}),
        ("openai", "gpt-5", None),
        ("anthropic", "claude-opus-4-6", None),
        ("openai-responses", "gpt-5", None),
    ],
)
def test_the_parameters_of_media(protocol: str, name: str, asked: set[str] | None) -> None:
    schema = openai_model(model(protocol, name))["media_params_schema"]
    assert (None if schema is None else set(schema["properties"])) == asked


@pytest.mark.parametrize(
    ("protocol", "name", "methods"),
    [
        ("openai", "gpt-4o", "generateContent countTokens"),
        ("openai", "of-somebody", "generateContent countTokens"),
        ("openai", "text-embedding-3-small", "embedContent batchEmbedContents"),
        ("gemini", "gemini-embedding-001", "embedContent batchEmbedContents"),
        ("openai", "gpt-image-1", "generateContent countTokens"),
        ("gemini", "gemini-2.5-flash-preview-tts", "generateContent countTokens"),
        ("openai", "whisper-1", ""),
        ("openai", "omni-moderation-latest", ""),
    ],
)
def test_what_a_model_serves(protocol: str, name: str, methods: str) -> None:
    info = model(protocol, name)
    assert gemini_model(info)["supportedGenerationMethods"] == methods.split()
    serves = info.capabilities.serves
    told = openai_model(info)["capabilities"]["serves"]
    assert told == (None if serves is None else sorted(serves))


def test_prices_of_what_is_no_token() -> None:
    price = Rates(
        more={"images": 4 * 10**10, "milliseconds": 10**5, "cache_write_1h_tokens": 2},
        services={"hd 1024x1792": Rates(more={"images": 12 * 10**10})},
    )
    info = model("openai", "dall-e-3", price=price)
    told = openai_model(info)["pricing"]
    assert (told["input"], told["images"], told["seconds"]) == ("0", "0.04", "0.0001")
    assert told["by_image"]["hd 1024x1792"]["images"] == "0.12"
    assert gemini_model(info)["pricing"]["byImage"]["hd 1024x1792"]["images"] == "0.12"
    assert gemini_model(info)["pricing"]["cacheWrite1h"] == "0.000002"


def test_sizes_are_asked_of_the_models_that_have_them() -> None:
    def config(name: str) -> set[str]:
        schema = gemini_model(model("gemini", name))["mediaParamsSchema"]
        properties = schema["properties"]["generationConfig"]["properties"]
        return set(properties["imageConfig"]["properties"])

    assert config("gemini-2.5-flash-image") == {"aspectRatio"}
    assert config("gemini-3-pro-image-preview") == {"aspectRatio", "imageSize"}
