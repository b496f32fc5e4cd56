"""Which row of the table a model meets, and what is refused for it."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from engine.capabilities import UNKNOWN, Capabilities
from engine.capability_table import (
    TABLE,
    UnsupportedMediaError,
    capabilities_of,
    check_media,
)
from engine.conversation import MediaKind

EVERY_KIND: frozenset[MediaKind] = frozenset({"image", "audio", "document", "video"})


@pytest.mark.parametrize(
    ("protocol", "model", "media"),
    [
        ("openai", "gpt-4o", "document image"),
        ("openai_chat", "gpt-4o-2024-08-06", "document image"),
        ("openai", "openai/gpt-4o-mini", "document image"),
        ("openai", "gpt-4o-audio-preview", "audio"),
        ("openai", "gpt-4o-mini-audio-preview-2024-12-17", "audio"),
        ("openai", "gpt-4.1-nano", "document image"),
        ("openai", "gpt-3.5-turbo-0125", ""),
        ("openai", "gpt-4", ""),
        ("openai", "gpt-4-turbo-preview", ""),
        ("openai", "gpt-4-turbo", "image"),
        ("openai", "gpt-5-mini", "document image"),
        ("openai", "o3-mini", ""),
        ("openai", "gpt-oss:20b", ""),
        ("openai", "meta-llama/Llama-3.3-70B-Instruct-Turbo", ""),
        ("openai", "meta-llama/Llama-4-Scout-17B-16E-Instruct", "image"),
        ("openai", "deepseek-chat", ""),
        ("openai", "deepseek-ai/DeepSeek-R1", ""),
        ("openai", "qwen/qwen3-30b-a3b-instruct-2507", ""),
        ("openai", "qwen-3-coder-480b", ""),
        ("openai", "qwen3:0.6b", ""),
        ("openai", "Qwen/Qwen2.5-VL-72B-Instruct", "image"),
        ("openai", "qwen3.5-plus", None),
        ("openai", "grok-3-mini", ""),
        ("openai", "grok-4-fast", "image"),
        ("openai", "glm-4.7", ""),
        ("openai", "glm-4.5v", "image"),
        ("openai", "gemma3:4b", "image"),
        ("openai", "gemma3:1b", ""),
        ("openai", "mistral-large-latest", None),
        ("openai", "an-own-model", None),
        ("openai", "sim-openai", "audio document image"),
        ("anthropic", "claude-sonnet-4-5-20250929", "document image"),
        ("anthropic", "an-own-model", "document image"),
        ("gemini", "gemini-2.5-flash", "audio document image video"),
        ("gemini", "gemini-2.5-flash-image", "document image"),
        ("gemini", "an-own-model", None),
    ],
)
def test_media_by_model(protocol: str, model: str, media: str | None) -> None:
    found = capabilities_of(protocol, model).media
    assert (None if found is None else " ".join(sorted(found))) == media


@pytest.mark.parametrize(
    ("protocol", "model", "style", "efforts", "off"),
    [
        ("openai", "gpt-4o", "none", None, None),
        ("openai", "o1-mini", "none", None, False),
        ("openai", "o1", "effort", "low medium high", False),
        ("openai", "openai/o3", "effort", "low medium high", False),
        ("openai", "o4-mini", "effort", "low medium high", False),
        ("openai", "gpt-5", "effort", "minimal low medium high", False),
        ("openai", "gpt-5-2025-08-07", "effort", "minimal low medium high", False),
        ("openai", "gpt-5.1", "effort", "none low medium high", True),
        ("openai", "gpt-5.2_2025-12-11", "effort", "none low medium high xhigh", True),
        ("openai", "gpt-5.6-sol", "effort", None, True),
        ("openai", "gpt-6-luna", "effort", None, True),
        ("anthropic", "claude-3-5-haiku-20241022", "none", None, None),
        ("anthropic", "claude-3-opus-20240229", "none", None, None),
        ("anthropic", "claude-3-7-sonnet-20250219", "budget", None, True),
        ("anthropic", "claude-sonnet-4-0", "budget", None, True),
        ("anthropic", "us.anthropic.claude-sonnet-4-20250514-v1:0", "budget", None, True),
        ("anthropic", "claude-opus-4@20250514", "budget", None, True),
        ("anthropic", "claude-opus-4-5", "budget", None, True),
        ("anthropic", "claude-haiku-4-5", "budget", None, True),
        ("anthropic", "claude-opus-4-6", "adaptive", "low medium high max", True),
        ("anthropic", "claude-opus-4-7", "adaptive", "low medium high xhigh max", None),
        ("anthropic", "claude-sonnet-5", "adaptive", "low medium high xhigh max", None),
        ("anthropic", "claude-fable-5", "adaptive", "low medium high xhigh max", None),
        ("anthropic", "claude-mythos-preview", "adaptive", "low medium high xhigh max", None),
        ("gemini", "gemini-2.0-flash-001", "none", None, None),
        ("gemini", "models/gemini-2.5-flash-lite", "budget", None, True),
        ("gemini", "gemini-2.5-pro-preview-03-25", "budget", None, False),
        ("gemini", "gemini-3-pro-preview", "level", "low high", False),
        ("gemini", "gemini-3-flash-preview", "level", "minimal low medium high", False),
        ("gemini", "gemini-3.5-flash", "level", "minimal low medium high", False),
        ("gemini", "gemini-flash-latest", None, None, None),
        ("openai", "sim-openai", "effort", "none minimal low medium high xhigh max", True),
        ("anthropic", "sim-anthropic", "budget", None, True),
        ("gemini", "sim-gemini", "level", "minimal low medium high", False),
    ],
)
def test_reasoning_by_model(
    protocol: str, model: str, style: str | None, efforts: str | None, off: bool | None
) -> None:
    found = capabilities_of(protocol, model)
    said = None if found.efforts is None else " ".join(found.efforts)
    assert (found.reasoning, said, found.reasoning_off) == (style, efforts, off)


def test_other_traits_by_model() -> None:
    assert capabilities_of("openai", "o1-mini").system is False
    assert capabilities_of("openai", "o3").stop is False
    assert capabilities_of("openai", "gpt-5").sampling is False
    assert capabilities_of("anthropic", "claude-opus-4-6").sampling is True
    assert capabilities_of("anthropic", "claude-opus-4-8").sampling is False
    assert capabilities_of("anthropic", "claude-opus-4-6").prefill is False
    assert capabilities_of("anthropic", "claude-sonnet-4-0").json_schema is False
    assert capabilities_of("anthropic", "claude-sonnet-4-5").json_schema is True
    assert capabilities_of("gemini", "gemma-3-27b-it").system is False


def test_unknown_models_are_refused_nothing_but_what_their_protocol_lacks() -> None:
    assert capabilities_of("openai", "an-own-model") == UNKNOWN
    assert capabilities_of("gemini", "an-own-model") == UNKNOWN
    unknown = capabilities_of("anthropic", "an-own-model")
    assert replace(unknown, media=None) == UNKNOWN


def test_an_anthropic_model_has_a_limit_for_max_tokens_above_its_least_budget() -> None:
    for pattern, row in TABLE["anthropic"][:-1]:
        assert row.output_max_tokens is not None, pattern
        if row.reasoning == "budget":
            assert row.reasoning_budget_max is not None
            assert 1024 < row.reasoning_budget_max < row.output_max_tokens, pattern


@pytest.mark.parametrize("protocol", TABLE)
def test_rows_agree_with_themselves(protocol: str) -> None:
    for pattern, row in TABLE[protocol]:
        re.compile(pattern)
        if row.reasoning == "none":
            assert row.efforts is None, pattern
            assert row.reasoning_budget_max is None, pattern
        if row.efforts is not None and "none" in row.efforts:
            assert row.reasoning_off is True, pattern


def test_the_configuration_wins_field_by_field() -> None:
    configured = Capabilities(media=frozenset(), stop=True)
    found = capabilities_of("openai", "o3", configured)
    assert found == replace(capabilities_of("openai", "o3"), media=frozenset(), stop=True)
    assert capabilities_of("openai", "an-own-model", configured) == configured


@pytest.mark.parametrize(
    ("protocol", "model", "serves", "inputs_max"),
    [
        ("openai", "text-embedding-3-small", "embed", 2_048),
        ("openai", "text-embedding-ada-002", "embed", 2_048),
        ("openai", "mistral-embed", "embed", None),
        ("openai", "codestral-embed-2505", "embed", None),
        ("openai", "cohere/embed-v4.0", "embed", 96),
        ("openai", "embed-english-v3.0", "embed", 96),
        ("openai", "voyage-3.5-lite", "embed", 1_000),
        ("openai", "nomic-embed-text", "embed", None),
        ("openai", "Qwen/Qwen3-Embedding-8B", "embed", None),
        ("openai", "BAAI/bge-m3", "embed", None),
        ("gemini", "gemini-embedding-001", "embed", 100),
        ("gemini", "models/text-embedding-004", "embed", 100),
        ("openai", "rerank-v3.5", "rerank", None),
        ("openai", "jina-reranker-v2-base-multilingual", "rerank", None),
        ("openai", "BAAI/bge-reranker-v2-m3", "rerank", None),
        ("openai", "dall-e-2", "image", None),
        ("openai", "sora-2-pro", "video", None),
        ("openai", "grok-imagine-video", "video", None),
        ("gemini", "veo-3.1-generate-preview", "video", None),
        ("openai", "dall-e-3", "image", None),
        ("openai", "gpt-image-1", "image", None),
        ("openai", "gpt-image-1-mini", "image", None),
        ("openai", "gpt-image-1.5", "image", None),
        ("openai", "chatgpt-image-latest", "image", None),
        ("gemini", "gemini-2.5-flash-image", "chat image", None),
        ("openai", "gpt-4o-mini-tts", "speech", None),
        ("openai", "tts-1-hd", "speech", None),
        ("gemini", "gemini-2.5-flash-preview-tts", "speech", None),
        ("openai", "whisper-1", "transcribe", None),
        ("openai", "whisper-large-v3-turbo", "transcribe", None),
        ("openai", "gpt-4o-transcribe", "transcribe", None),
        ("openai", "gpt-4o-mini-transcribe", "transcribe", None),
        ("openai", "gpt-4o-transcribe-diarize", "transcribe", None),
        ("openai", "voxtral-mini-transcribe-3-0", "transcribe", None),
        ("openai", "voxtral-small-24b-2507", "chat transcribe", None),
        ("gemini", "gemini-2.5-flash", "chat transcribe", None),
        ("openai", "omni-moderation-latest", "moderate", None),
        ("openai", "gpt-4o", "chat", None),
        ("openai", "gpt-4o-audio-preview", "chat", None),
        ("openai", "o3", "chat", None),
        ("anthropic", "claude-opus-4-6", "chat", None),
        ("anthropic", "an-own-model", None, None),
        ("openai", "an-own-model", None, None),
        ("openai", "qwen3:0.6b", None, None),
        ("openai", "sim-openai", None, None),
        ("gemini", "sim-gemini", None, None),
        ("anthropic", "sim-anthropic", None, None),
    ],
)
def test_what_models_do(
    protocol: str, model: str, serves: str | None, inputs_max: int | None
) -> None:
    """Of a model that nobody knows nothing is refused, unless its configuration says so."""
    found = capabilities_of(protocol, model)
    told = None if found.serves is None else " ".join(sorted(found.serves))
    assert (told, found.inputs_max) == (serves, inputs_max)
    said = Capabilities(serves=frozenset({"rerank"}))
    assert capabilities_of(protocol, model, said).serves == said.serves


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("audio", "audio_not_supported_by_model"),
        ("image", "images_not_supported_by_model"),
        ("document", "documents_not_supported_by_model"),
        ("video", "video_not_supported_by_model"),
    ],
)
def test_media_that_a_model_lacks_are_refused_by_kind(kind: MediaKind, code: str) -> None:
    with pytest.raises(UnsupportedMediaError) as caught:
        check_media({kind}, Capabilities(media=EVERY_KIND - {kind}), "my-model")
    assert (caught.value.code, caught.value.status) == (code, 400)
    assert "'my-model'" in caught.value.message
    assert ("/v1/audio/transcriptions" in caught.value.message) == (kind == "audio")
    check_media({kind}, Capabilities(media=frozenset({kind})), "my-model")


def test_of_an_unknown_model_nothing_is_refused() -> None:
    check_media(EVERY_KIND, UNKNOWN, "my-model")
    check_media((), Capabilities(media=frozenset()), "my-model")
