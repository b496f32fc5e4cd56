"""Usage, with the inclusion rules of both sides.

Gemini's prompt leaves out what its own tools added to it, and its candidates leave out thoughts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from engine.events import UsageReport
from engine.protocols.fields import dict_of, text_of
from engine.protocols.gemini.signatures import native
from engine.usage import UNSAID, MoreUnit, Usage, is_count, read_count

TIERS = frozenset({"standard", "flex", "priority"})
"""Service tiers that this protocol has words for."""


# Pages of documents are priced as images.
_INPUT_KINDS: Final[Mapping[str, MoreUnit]] = {
    "AUDIO": "input_audio_tokens",
    "IMAGE": "input_image_tokens",
    "DOCUMENT": "input_image_tokens",
    "VIDEO": "input_video_tokens",
}
_CACHED_KINDS: Final[Mapping[str, MoreUnit]] = {
    "AUDIO": "cached_audio_tokens",
    "IMAGE": "cached_image_tokens",
    "DOCUMENT": "cached_image_tokens",
}
_KINDS_OF_BOTH: Final[tuple[tuple[MoreUnit, MoreUnit], ...]] = (
    ("input_audio_tokens", "cached_audio_tokens"),
    ("input_image_tokens", "cached_image_tokens"),
)
_OUTPUT_KINDS: Final[Mapping[str, MoreUnit]] = {
    "AUDIO": "output_audio_tokens",
    "IMAGE": "output_image_tokens",
    "DOCUMENT": "output_image_tokens",
    "VIDEO": "output_video_tokens",
}


def read_usage(document: dict[str, Any]) -> UsageReport | None:
    """The running totals of a chunk or an answer.

    None if there are none, or no tokens in them (Vertex says the kind of traffic alone). A missing
    figure is 0 where another of its side is there: thoughts alone have no `candidatesTokenCount`.
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
    wrong_input = not (is_count(prompt or 0) and is_count(tool_use))
    wrong_output = not (is_count(candidates or 0) and is_count(thoughts))
    usage = Usage(
        input_tokens=0 if wrong_input else (prompt or 0) + tool_use,
        cached_input_tokens=read_count(metadata.get("cachedContentTokenCount")),
        output_tokens=0 if wrong_output else (candidates or 0) + thoughts,
        reasoning_tokens=0 if wrong_output else thoughts,
        more=_more(metadata, document),
        unsaid=UNSAID[wrong_input or prompt is None, wrong_output],
        invalid=wrong_input or wrong_output,
    ).clamped()
    return UsageReport(usage, native=native(usageMetadata=metadata))


def _more(metadata: dict[str, Any], document: dict[str, Any]) -> dict[MoreUnit, int]:
    more: dict[MoreUnit, int] = {}
    _add_kinds(more, metadata.get("promptTokensDetails"), _INPUT_KINDS)
    if tool_use := metadata.get("toolUsePromptTokensDetails"):
        _add_kinds(more, tool_use, _INPUT_KINDS)
    _add_kinds(more, metadata.get("candidatesTokensDetails"), _OUTPUT_KINDS)
    if cached := metadata.get("cacheTokensDetails"):
        _add_kinds(more, cached, _CACHED_KINDS)
        for all_of, part in _KINDS_OF_BOTH:
            if all_of in more:  # ours are what is not cached
                more[all_of] = max(0, more[all_of] - more.get(part, 0))
    if searches := _searches(document):
        more["web_searches"] = searches
    return more


def _add_kinds(more: dict[MoreUnit, int], details: object, kinds: Mapping[str, MoreUnit]) -> None:
    if not isinstance(details, list):
        return
    for detail in details:
        unit = kinds.get(text_of(detail.get("modality"))) if isinstance(detail, dict) else None
        if unit is not None and (count := read_count(detail.get("tokenCount"))):
            more[unit] = more.get(unit, 0) + count


def _searches(document: dict[str, Any]) -> int:
    """Searches of the web: each query of Gemini 3 is charged, before it each grounded answer."""
    candidates = document.get("candidates")
    for candidate in candidates if isinstance(candidates, list) else ():
        if isinstance(candidate, dict) and (grounding := candidate.get("groundingMetadata")):
            queries = dict_of(grounding).get("webSearchQueries")
            if isinstance(queries, list) and queries:
                by_query = re.match(r"gemini-([3-9]|\d\d)", text_of(document.get("modelVersion")))
                return len(queries) if by_query else 1
    return 0


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
