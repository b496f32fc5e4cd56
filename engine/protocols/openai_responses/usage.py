"""Usage: what servers of this protocol report, and how we report it."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from engine.protocols.fields import dict_of, dicts
from engine.protocols.openai_responses.tools import called_units
from engine.usage import MoreUnit, Usage, is_wrong, read_count, unsaid


def read_usage(response: dict[str, Any], repeated: Set[str] = frozenset()) -> Usage | None:
    """Usage of a response; None if it says neither input nor output. `repeated` as in
    `called_units`."""
    usage = dict_of(response.get("usage"))
    said_input, said_output = usage.get("input_tokens"), usage.get("output_tokens")
    if said_input is None and said_output is None:
        return None
    details = dict_of(usage.get("input_tokens_details"))
    output_details = dict_of(usage.get("output_tokens_details"))
    more: dict[MoreUnit, int] = {
        "input_audio_tokens": read_count(details.get("audio_tokens")),
        "input_image_tokens": read_count(details.get("image_tokens")),
        "output_audio_tokens": read_count(output_details.get("audio_tokens")),
        "output_image_tokens": read_count(output_details.get("image_tokens")),
        **called_units(dicts(response.get("output")), response, repeated),
    }
    return Usage(
        input_tokens=read_count(said_input),
        cached_input_tokens=read_count(details.get("cached_tokens")),
        cache_write_tokens=read_count(details.get("cache_write_tokens")),
        output_tokens=read_count(said_output),
        reasoning_tokens=read_count(output_details.get("reasoning_tokens")),
        more={unit: count for unit, count in more.items() if count},
        unsaid=unsaid(said_input, said_output),
        invalid=is_wrong(said_input, said_output),
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
