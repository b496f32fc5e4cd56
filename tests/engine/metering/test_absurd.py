"""Whatever a provider says it has counted: never a crash, never more than can have been."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from engine.events import UsageReport
from engine.metering.limits import UsageLimits
from engine.metering.pricing import Rates, bound_nanodollars, charge_nanodollars
from engine.metering.tokens import counter_for
from engine.metering.usage import OutputMeter
from engine.protocols.anthropic.figures import read_usage as read_anthropic
from engine.protocols.gemini.usage import read_usage as read_gemini
from engine.protocols.openai_responses.usage import read_usage as read_responses
from engine.protocols.openai_usage import read_usage as read_openai
from engine.usage import Usage


def of_gemini(usage: dict[str, Any]) -> Usage | None:
    report = read_gemini({"usageMetadata": usage})
    return None if report is None else report.usage


DETAILS = [
    "prompt_tokens_details", "completion_tokens_details", "input_tokens_details",
    "output_tokens_details", "cache_creation", "server_tool_use",
]  # fmt: skip
FIGURES = [
    "prompt_tokens", "completion_tokens", "total_tokens", "num_search_queries",
    "input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens",
    "promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "toolUsePromptTokenCount",
    "cachedContentTokenCount",
]  # fmt: skip
PARTS = [
    "cached_tokens", "audio_tokens", "image_tokens", "reasoning_tokens", "thinking_tokens",
    "cache_write_tokens", "ephemeral_1h_input_tokens", "web_search_requests",
]  # fmt: skip
ABSURD: tuple[object, ...] = (
    -1, -(2**70), 2**70, 2**28, 2**28 + 1, 0.0, 1.5, float("nan"), float("inf"), None, True, False,
    "7", "", [], {}, [None], 0, 1, 60, 110, 250,
)  # fmt: skip


def absurd_usage(chance: random.Random) -> dict[str, Any]:
    usage: dict[str, Any] = {name: chance.choice(ABSURD) for name in chance.sample(FIGURES, 6)}
    for name in chance.sample(DETAILS, 3):
        parts = {part: chance.choice(ABSURD) for part in chance.sample(PARTS, 3)}
        usage[name] = chance.choice([parts, chance.choice(ABSURD)])
    for name in ("promptTokensDetails", "candidatesTokensDetails"):
        kind = chance.choice(["AUDIO", "IMAGE", "TEXT", None])
        media = [{"modality": kind, "tokenCount": chance.choice(ABSURD)}, chance.choice(ABSURD)]
        usage[name] = chance.choice([media, chance.choice(ABSURD)])
    return usage


COUNT = counter_for("o200k_base")
LIMITS = UsageLimits(input_max=200, output_max=100, more_max={"web_searches": 4})
RATES = Rates(
    1_000, 100, 1_250, 10_000,
    more={"web_searches": 10**7, "output_audio_tokens": 90_000, "cache_write_1h_tokens": 2_000},
    tiers=((150, Rates(9_000, 9_000, 9_000, 99_000)),),
)  # fmt: skip
BOUND = bound_nanodollars(200, 100, RATES.ceiling(200, None, {"web_searches": 4}))


@pytest.mark.parametrize(
    "read",
    [
        lambda usage: read_openai({"usage": usage}),
        lambda usage: read_responses({"usage": usage}),
        read_anthropic,
        of_gemini,
    ],
    ids=["openai", "responses", "anthropic", "gemini"],
)
def test_no_report_is_believed_above_the_limits(
    read: Callable[[dict[str, Any]], Usage | None],
) -> None:
    for seed in range(400):
        chance = random.Random(seed)
        meter = OutputMeter(COUNT)
        meter.limits = LIMITS
        for position in range(chance.randrange(90)):
            meter.add("0.text", " word", position)
        for _ in range(chance.randint(1, 3)):
            if (usage := read(absurd_usage(chance))) is not None:
                meter.take_figures([UsageReport(usage)])
        check(meter, f"seed {seed}")


def check(meter: OutputMeter, seed: str) -> None:
    consumed = meter.consumed()
    assert meter.received_tokens() <= 100, seed
    if consumed is not None:
        assert consumed == consumed.clamped(), seed
        assert 0 <= charge_nanodollars(consumed, RATES) <= BOUND, seed
    said = meter.said
    assert said is None or said.invalid == ("usage_invalid" in meter.flags), seed
