"""What a model can do, as plain values: read by codecs, filled from a table and the configuration.

A trait that is None is unknown: nothing is refused or rewritten for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from engine.conversation import Effort, MediaKind

ReasoningStyle = Literal["none", "effort", "budget", "adaptive", "level"]
"""How thinking is asked for: not at all, OpenAI's `reasoning_effort`, a budget of tokens
(Anthropic's `budget_tokens`, Gemini's `thinkingBudget`), Anthropic's `adaptive` with an effort,
Gemini's `thinkingLevel`."""

Service = Literal[
    "chat", "embed", "image", "moderate", "music", "rerank", "speech", "transcribe", "video"
]
"""Kinds of models, by what they are asked for."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Of one upstream model.

    Attributes:
        media: what it takes beside text.
        tools: it can call functions.
        json_schema: it can be held to a schema.
        reasoning: how thinking is asked for.
        efforts: the levels it knows.
        reasoning_off: thinking can be turned off.
        reasoning_budget_max: most tokens of thinking.
        sampling: it takes temperature, top_p and the penalties.
        stop: it takes stop sequences.
        prefill: the last turn may be the assistant's, to be continued.
        system: it takes system messages.
        context_window_tokens, output_max_tokens: its limits.
        serves: what it does.
        inputs_max: the inputs of one request for embeddings; more are asked for in several.
    """

    media: frozenset[MediaKind] | None = None
    tools: bool | None = None
    json_schema: bool | None = None
    reasoning: ReasoningStyle | None = None
    efforts: tuple[Effort, ...] | None = None
    reasoning_off: bool | None = None
    reasoning_budget_max: int | None = None
    sampling: bool | None = None
    stop: bool | None = None
    prefill: bool | None = None
    system: bool | None = None
    context_window_tokens: int | None = None
    output_max_tokens: int | None = None
    serves: frozenset[Service] | None = None
    inputs_max: int | None = None


UNKNOWN = Capabilities()
