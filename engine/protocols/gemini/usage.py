"""Usage, with the inclusion rules of both sides.

Gemini's prompt leaves out what its own tools added to it, and its candidates leave out thoughts.
"""

from __future__ import annotations

from typing import Any

from engine.events import Usage, UsageReport, is_count
from engine.protocols.gemini.signatures import native

TIERS = frozenset({"standard", "flex", "priority"})
"""Service tiers that this protocol has words for."""


def read_usage(document: dict[str, Any]) -> UsageReport | None:
    """The running totals of a chunk or an answer.

    None if there are none, or no tokens in them (Vertex says the kind of traffic alone), or if a
    figure cannot be one: then the text is counted instead. A missing figure is 0: thoughts alone
    have no `candidatesTokenCount`.
    """
    metadata = document.get("usageMetadata")
    if not isinstance(metadata, dict):
        return None
    prompt = metadata.get("promptTokenCount")
    candidates = metadata.get("candidatesTokenCount")
    if prompt is None and candidates is None:
        return None
    thoughts = metadata.get("thoughtsTokenCount") or 0
    tool_use = metadata.get("toolUsePromptTokenCount") or 0
    cached = metadata.get("cachedContentTokenCount") or 0
    prompt, candidates = prompt or 0, candidates or 0
    if not (
        is_count(prompt)
        and is_count(candidates)
        and is_count(thoughts)
        and is_count(tool_use)
        and is_count(cached)
    ):
        return None
    usage = Usage(
        input_tokens=prompt + tool_use,
        cached_input_tokens=cached,
        output_tokens=candidates + thoughts,
        reasoning_tokens=thoughts,
    ).clamped()
    return UsageReport(usage, native=native(usageMetadata=metadata))


def encode_usage(usage: Usage) -> dict[str, Any]:
    """`usageMetadata`; figures that are zero are left out where Gemini leaves them out."""
    usage = usage.clamped()
    optional = {
        "cachedContentTokenCount": usage.cached_input_tokens,
        "thoughtsTokenCount": usage.reasoning_tokens,
    }
    return {
        "promptTokenCount": usage.input_tokens,
        "candidatesTokenCount": usage.output_tokens - usage.reasoning_tokens,
        "totalTokenCount": usage.input_tokens + usage.output_tokens,
    } | {name: count for name, count in optional.items() if count}
