"""Usage: what servers of this protocol report, and how we report it."""

from __future__ import annotations

from typing import Any

from engine.events import Usage, is_count, read_count
from engine.protocols.fields import dict_of


def read_usage(value: object) -> Usage | None:
    """Usage out of a response; None if it holds none, or none with a count in it."""
    usage = dict_of(value)
    input_tokens, output_tokens = usage.get("input_tokens"), usage.get("output_tokens")
    if not is_count(input_tokens) or not is_count(output_tokens):
        return None  # a figure that cannot be one is no report: the text is counted instead
    details = dict_of(usage.get("input_tokens_details"))
    output_details = dict_of(usage.get("output_tokens_details"))
    return Usage(
        input_tokens=input_tokens,
        cached_input_tokens=read_count(details.get("cached_tokens")),
        cache_write_tokens=read_count(details.get("cache_write_tokens")),
        output_tokens=output_tokens,
        reasoning_tokens=read_count(output_details.get("reasoning_tokens")),
    ).clamped()


def encode_usage(usage: Usage) -> dict[str, Any]:
    """Usage in this protocol's shape."""
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cache_write_tokens": usage.cache_write_tokens,
            "cached_tokens": usage.cached_input_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
