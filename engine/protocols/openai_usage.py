"""Usage: what the many servers of this protocol report, and how we report it."""

from __future__ import annotations

from typing import Any

from engine.protocols.fields import dict_of
from engine.protocols.quirks import PLAIN, Quirks
from engine.usage import MoreUnit, Usage, is_count, is_wrong, read_count, unsaid

# Cached tokens beside `prompt_tokens_details`: DeepSeek, Together and Moonshot, Mistral.
_CACHED_NAMES = ("prompt_cache_hit_tokens", "cached_tokens", "num_cached_tokens")

_TOOLS = "server_tool_use"


def read_usage(document: dict[str, Any], quirks: Quirks = PLAIN) -> Usage | None:
    """Usage out of a chunk or a response; None if it says neither input nor output."""
    usage = document.get("usage")
    if not isinstance(usage, dict):
        return None
    said_input, said_output = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if said_input is None and said_output is None:
        return None
    input_tokens, output_tokens = read_count(said_input), read_count(said_output)
    details = dict_of(usage.get("prompt_tokens_details"))
    cached = read_count(details.get("cached_tokens"))
    if "cached_tokens" not in details:
        for name in _CACHED_NAMES:
            if name in usage:
                cached = max(cached, read_count(usage[name]))
    output_details = dict_of(usage.get("completion_tokens_details"))
    reasoning_tokens = read_count(output_details.get("reasoning_tokens"))
    if reasoning_tokens and _is_apart(
        input_tokens + output_tokens + reasoning_tokens, usage.get("total_tokens"), quirks
    ):
        output_tokens += reasoning_tokens
    return Usage(
        input_tokens=input_tokens,
        cached_input_tokens=cached,
        cache_write_tokens=read_count(details.get("cache_write_tokens")),
        output_tokens=output_tokens,
        reasoning_tokens=reasoning_tokens,
        more=_more(usage, details, output_details),
        unsaid=unsaid(said_input, said_output),
        invalid=is_wrong(said_input, said_output),
    ).clamped()


def _more(
    usage: dict[str, Any], details: dict[str, Any], output_details: dict[str, Any]
) -> dict[MoreUnit, int]:
    if not (details or output_details or "num_search_queries" in usage or _TOOLS in usage):
        return {}
    more: dict[MoreUnit, int] = {
        "input_audio_tokens": read_count(details.get("audio_tokens")),
        "input_image_tokens": read_count(details.get("image_tokens")),
        "output_audio_tokens": read_count(output_details.get("audio_tokens")),
        "output_image_tokens": read_count(output_details.get("image_tokens")),
        # Perplexity's, OpenRouter's.
        "web_searches": read_count(usage.get("num_search_queries"))
        or read_count(dict_of(usage.get(_TOOLS)).get("web_search_requests")),
    }
    return {unit: count for unit, count in more.items() if count}


def _is_apart(with_reasoning: int, total: object, quirks: Quirks) -> bool:
    """Whether `completion_tokens` leave reasoning out, as xAI's do: by the provider's row, unless
    its total has no room for it; without a row by that total."""
    if quirks.reasoning_apart is None:
        return total == with_reasoning
    return quirks.reasoning_apart and (not is_count(total) or total >= with_reasoning)


def encode_usage(usage: Usage) -> dict[str, Any]:
    """Usage in OpenAI's shape."""
    input_details = {"cached_tokens": usage.cached_input_tokens}
    if usage.cache_write_tokens:
        input_details["cache_write_tokens"] = usage.cache_write_tokens
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": input_details,
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }
