"""How much to think: Gemini's `thinkingConfig` and the canonical request, both ways.

Gemini 2.5 takes a budget of tokens, Gemini 3 a level. Efforts and budgets are mapped as Google's
own OpenAI-compatible endpoint maps them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from engine.capabilities import Capabilities
from engine.conversation import Effort, ReasoningRequest
from engine.errors import InvalidRequestError
from engine.protocols.gemini.spelling import enum, get

_BUDGETS: Final[Mapping[Effort, int]] = {
    "minimal": 1_024,
    "low": 1_024,
    "medium": 8_192,
    "high": 24_576,
    "xhigh": 32_768,
    "max": 32_768,
}
_BUDGET_MAX: Final = 32_768

_LEVELS: Final[Mapping[str, Effort]] = {
    "MINIMAL": "minimal",
    "LOW": "low",
    "MEDIUM": "medium",
    "HIGH": "high",
    "XHIGH": "xhigh",
}
_ORDER: Final[tuple[Effort, ...]] = ("minimal", "low", "medium", "high", "xhigh", "max")
_EFFORTS: Final[tuple[Effort, ...]] = ("minimal", "low", "medium", "high")
"""What a model with levels knows, if nothing else is said."""


def read_thinking(config: Mapping[str, Any]) -> ReasoningRequest | None:
    """A `thinkingConfig`. Thoughts are shown to those who ask for them only.

    Raises:
        InvalidRequestError: a budget that is none, or a budget and a level.
    """
    budget, level = get(config, "thinkingBudget"), enum(get(config, "thinkingLevel"))
    if isinstance(budget, float) and budget.is_integer():
        budget = int(budget)
    wrong = isinstance(budget, bool) or not isinstance(budget, int) or budget < -1
    if budget is not None and wrong:
        raise InvalidRequestError(
            "'thinkingBudget' must be a whole number from -1.",
            param="generationConfig.thinkingConfig.thinkingBudget",
        )
    effort = _LEVELS.get(level)
    unspecified = level in ("", "THINKING_LEVEL_UNSPECIFIED")
    if effort is None and not unspecified:
        raise InvalidRequestError(
            f"'thinkingLevel' must be one of {', '.join(_LEVELS)}.",
            param="generationConfig.thinkingConfig.thinkingLevel",
        )
    if effort is not None and budget is not None:
        raise InvalidRequestError(
            "'thinkingBudget' and 'thinkingLevel' exclude each other.",
            param="generationConfig.thinkingConfig",
        )
    visible = get(config, "includeThoughts") is True
    if effort is None and budget is None and not visible:
        return None
    return ReasoningRequest(effort=effort, budget_tokens=budget, visible=visible)


def encode_thinking(
    reasoning: ReasoningRequest | None, capabilities: Capabilities, dropped: list[str]
) -> dict[str, Any]:
    """The `thinkingConfig` of a request; empty where there is nothing to say.

    A model that does not think is not asked to; one that cannot stop is asked for the least.
    """
    if reasoning is None:
        return {}
    off = reasoning.effort == "none" or reasoning.budget_tokens == 0
    if capabilities.reasoning == "none":
        asked = reasoning.effort or reasoning.budget_tokens or reasoning.adaptive
        if asked and not off:
            dropped.append("reasoning")
        return {}
    if off:
        return _off(capabilities, dropped)
    shown = {} if reasoning.visible is False else {"includeThoughts": True}
    if capabilities.reasoning in ("budget", None):
        return _budget(reasoning, capabilities) | shown
    return _level(reasoning, capabilities) | shown


def _off(capabilities: Capabilities, dropped: list[str]) -> dict[str, Any]:
    never = capabilities.reasoning_off is False
    if never:
        dropped.append("reasoning")
    if capabilities.reasoning in ("budget", None):
        return {"thinkingBudget": _BUDGETS["minimal"] if never else 0}
    return {"thinkingLevel": _nearest("minimal", capabilities).upper()}


def _budget(reasoning: ReasoningRequest, capabilities: Capabilities) -> dict[str, Any]:
    budget = reasoning.budget_tokens
    if budget is None and reasoning.effort is not None:
        budget = _BUDGETS.get(reasoning.effort, _BUDGET_MAX)
    if budget is None:
        return {"thinkingBudget": -1} if reasoning.adaptive else {}
    most = capabilities.reasoning_budget_max
    # A bound beyond what the model can think is no different from the most it can.
    return {"thinkingBudget": budget if most is None else min(budget, most)}


def _level(reasoning: ReasoningRequest, capabilities: Capabilities) -> dict[str, Any]:
    effort, budget = reasoning.effort, reasoning.budget_tokens
    if effort is None and budget is not None and budget > 0:
        effort = nearest_effort(budget)
    if effort is None:  # the model chooses, as it does unasked
        return {}
    return {"thinkingLevel": _nearest(effort, capabilities).upper()}


def nearest_effort(budget_tokens: int) -> Effort:
    """The effort whose budget is nearest.

    >>> nearest_effort(1024), nearest_effort(10_000), nearest_effort(32_768)
    ('low', 'medium', 'high')
    """
    efforts: tuple[Effort, ...] = ("low", "medium", "high")
    return min(efforts, key=lambda effort: abs(_BUDGETS[effort] - budget_tokens))


def _nearest(effort: Effort, capabilities: Capabilities) -> Effort:
    """The level that the model knows, nearest to one that was asked for; the lower of two."""
    known = [level for level in capabilities.efforts or _EFFORTS if level.upper() in _LEVELS]
    at = _ORDER.index(effort)
    return min(known or _EFFORTS, key=lambda level: abs(_ORDER.index(level) - at))
