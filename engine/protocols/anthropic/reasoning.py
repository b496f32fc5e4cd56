"""Thinking, as it is asked for: Anthropic's `thinking` and `output_config.effort`, both ways."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

from engine.capabilities import Capabilities
from engine.conversation import Effort, ReasoningRequest
from engine.protocols.anthropic.checks import Members, refuse

EFFORTS = ("low", "medium", "high", "xhigh", "max")
_DISPLAYS = {"summarized": True, "omitted": False}

BUDGET_MIN_TOKENS = 1_024

# Google's own map of effort to budget for Gemini 2.5, taken for all; `xhigh` and `max` are ours.
_BUDGETS: dict[Effort, int] = {
    "none": 0,
    "minimal": BUDGET_MIN_TOKENS,
    "low": BUDGET_MIN_TOKENS,
    "medium": 8_192,
    "high": 24_576,
    "xhigh": 32_768,
    "max": 32_768,
}
_LADDER: tuple[Effort, ...] = get_args(Effort)


def read_reasoning(document: Members, effort: str | None) -> ReasoningRequest | None:
    """What a client asks with `thinking`, and the effort beside it.

    A budget wins over an effort; the caller says that the effort was left out.
    """
    thinking = document.members("thinking")
    level: Effort | None = next((known for known in _LADDER if known == effort), None)
    if thinking is None:
        return None if level is None else ReasoningRequest(effort=level)
    display = thinking.choice("display", _DISPLAYS)
    visible = None if display is None else _DISPLAYS[display]
    kind = thinking.choice("type", ("adaptive", "disabled", "enabled"))
    if kind == "disabled":
        return ReasoningRequest(budget_tokens=0)
    if kind == "adaptive":
        return ReasoningRequest(effort=level, adaptive=True, visible=visible)
    budget = thinking.whole("budget_tokens", BUDGET_MIN_TOKENS)
    if kind is None or budget is None:
        refuse(thinking.at("type" if kind is None else "budget_tokens"), "Field required")
    return ReasoningRequest(budget_tokens=budget, visible=visible)


@dataclass(frozen=True, slots=True)
class Thinking:
    """How a request to a provider asks for thinking.

    Attributes:
        thinking: the member `thinking`; None leaves it out.
        effort: of `output_config`.
        budget_tokens: of `thinking`; 0 if it has none.
        wished: the budget came from an effort, so a limit that the client named did not reckon
            with it.
        dropped: it was asked for and cannot be had.
    """

    thinking: dict[str, Any] | None = None
    effort: str | None = None
    budget_tokens: int = 0
    wished: bool = False
    dropped: bool = False

    @property
    def on(self) -> bool:
        """The model will think."""
        return self.thinking is not None and self.thinking["type"] != "disabled"


def plan_thinking(request: ReasoningRequest | None, capabilities: Capabilities) -> Thinking:
    """The members for a model of these capabilities; a model whose style is unknown gets what the
    client's own words are nearest to."""
    if request is None:
        return Thinking()
    off = request.effort == "none" or request.budget_tokens == 0
    style = capabilities.reasoning
    if style == "none":
        return Thinking(dropped=not off)
    if off:
        if capabilities.reasoning_off is False:
            return Thinking(dropped=True)
        return Thinking(thinking={"type": "disabled"})
    display = {}
    if request.visible is not None:
        display = {"display": "summarized" if request.visible else "omitted"}
    if style == "effort":
        return Thinking(effort=_effort_of(request, capabilities))
    if style in ("adaptive", "level") or (style is None and request.adaptive):
        effort = _effort_of(request, capabilities)
        return Thinking(thinking={"type": "adaptive"} | display, effort=effort)
    return _with_budget(request, capabilities, display)


def _with_budget(
    request: ReasoningRequest, capabilities: Capabilities, display: dict[str, Any]
) -> Thinking:
    said = request.budget_tokens or 0
    exact = said > 0
    budget = said if exact else _BUDGETS.get(request.effort or "medium", BUDGET_MIN_TOKENS)
    most = capabilities.reasoning_budget_max
    budget = max(BUDGET_MIN_TOKENS, budget if most is None else min(budget, most))
    thinking = {"type": "enabled", "budget_tokens": budget} | display
    return Thinking(thinking=thinking, budget_tokens=budget, wished=not exact)


def _effort_of(request: ReasoningRequest, capabilities: Capabilities) -> str | None:
    """The level to ask for: the client's, or the one of its budget, or the nearest one that the
    model knows; None leaves it to the model."""
    effort = request.effort
    budget = request.budget_tokens or 0
    if effort is None and budget <= 0:
        return None
    at = _LADDER.index(effort or _level_of(budget))
    known = capabilities.efforts or EFFORTS
    usable = [level for level in known if level in EFFORTS]
    if not usable:
        return None
    return min(usable, key=lambda level: (abs(_LADDER.index(level) - at), _LADDER.index(level)))


def _level_of(budget: int) -> Effort:
    named: tuple[Effort, ...] = ("low", "medium", "high")
    return min(named, key=lambda level: abs(_BUDGETS[level] - budget))
