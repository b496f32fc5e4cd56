"""The object of an answer as it begins: it repeats what was asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.events import Begin
from engine.protocols.codec import ClientRequest, Identity
from engine.protocols.fields import dict_of
from engine.protocols.openai_responses.reading import TIERS

_TIER_SPELLING = {tier: name for name, tier in TIERS.items()}

# What is repeated as it was said, and what stands there where nothing was.
_ECHOED: dict[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "parallel_tool_calls": True,
    "prompt_cache_key": None,
    "safety_identifier": None,
    "temperature": 1.0,
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
    "metadata": {},
}

_READ = frozenset({*_ECHOED, "reasoning", "text", "include"})


def repeated(document: Mapping[str, Any]) -> dict[str, Any]:
    """What of a request's document an answer is made with."""
    return {name: value for name, value in document.items() if name in _READ}


def encode_response(
    request: ClientRequest, begin: Begin | None, identity: Identity
) -> dict[str, Any]:
    """The object without its output. Nothing is stored, so no later request can refer to it."""
    begin = begin or Begin(None, None)
    said = request.document
    echoed = {
        name: default if said.get(name) is None else said[name] for name, default in _ECHOED.items()
    }
    reasoning, text = dict_of(said.get("reasoning")), dict_of(said.get("text"))
    return {
        "id": begin.id or identity.id,
        "object": "response",
        "created_at": identity.created if begin.created is None else begin.created,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "model": begin.model or identity.model,
        "previous_response_id": None,
        "reasoning": {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")},
        "service_tier": _TIER_SPELLING.get(begin.service_tier or ""),
        "store": False,
        "text": {"format": {"type": "text"}} | text,
        "usage": None,
        **echoed,
    }
