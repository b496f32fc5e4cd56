"""Why a deployment stands where it stands in a plan, or does not, in words for operators."""

from __future__ import annotations

from typing import Any, Final

from engine.capabilities import Capabilities, Service
from engine.routing.health import Health
from engine.routing.values import Asked, Deployment

ONLY: Final = "the only deployment"
STICKY: Final = "belongs to the session or prefix"
BOUND: Final = "has what the request is about"
OVER: Final = "enough others come before"
MODEL_OFF: Final = "the model is switched off"
OFF: Final = "switched off"
TAKEN: Final = "planned already, for another model"
NOT_ALLOWED: Final = "the account or the key may not use the model"


def misfit(capabilities: Capabilities, asked: Asked) -> str:
    """What a request needs and a deployment is known not to have; empty where nothing is known to
    be amiss. To go on with an answer it has to be known."""
    serves = capabilities.serves
    if serves is not None and asked.service not in serves and not _draws(serves, asked):
        return f"does not do '{asked.service}'"
    window_tokens = capabilities.context_window_tokens
    if window_tokens is not None and asked.service == "chat":  # of others it is each input's
        needed_tokens = asked.expected_input_tokens + (asked.max_output_tokens or 0)
        if needed_tokens > window_tokens:
            return "its context window is too small"
    if asked.media and capabilities.media is not None and not asked.media <= capabilities.media:
        return "does not take media of this kind"
    if asked.tools and capabilities.tools is False:
        return "cannot call functions"
    if asked.json_schema and capabilities.json_schema is False:
        return "cannot be held to a schema"
    if asked.begun and capabilities.prefill is not True:
        return "is not known to write on"
    return ""


def _draws(serves: frozenset[Service], asked: Asked) -> bool:
    """Whoever draws or speaks is asked to by chatting too."""
    return asked.service == "chat" and not serves.isdisjoint(("image", "speech"))


def out_of_service(deployment: Deployment[Any], health: Health, now: float, tokens: int) -> str:
    """What keeps an attempt from beginning there now; empty where nothing does."""
    breaker = health.breaker
    if not breaker.admits(now):
        left_s = breaker.opens_at(now) - now
        if breaker.state(now) == "open":
            return f"its breaker is open for {left_s:.1f} s more"
        return "its breaker is half-open, and another request tries it"
    if health.is_full(deployment):
        return f"has {health.busy} requests under way, its most"
    for strict, words in (
        (False, "its provider takes no more by any key"),
        (True, "its keys are refused or its limits used up, it seems"),
    ):
        left_s = health.keys_free_at(deployment, now, tokens, strict=strict) - now
        if left_s > 0:
            return f"{words}, for {left_s:.1f} s more"
    return ""
