"""What one request can consume at most: how much is held for it, and what of a report is believed.

By bytes and counts of the body alone: no tokenizer runs at admission.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from engine.capabilities import Capabilities
from engine.conversation import MediaKind
from engine.metering.limits import OUTPUT_MAX_TOKENS, UsageLimits
from engine.protocols.codec import ClientRequest
from engine.protocols.fields import dict_of, dicts, text_of
from engine.usage import MoreUnit

MEDIA_TOKENS: Final[Mapping[MediaKind, int]] = {
    "image": 2_048,
    "audio": 32_768,
    "document": 32_768,
    "video": 32_768,
}
"""What a piece of media may come to beside the bytes of the body, which may hold but its address:
a large image of any provider's; a quarter of an hour of sound, some 15 pages, two minutes of film.
"""

_TEMPLATE_TOKENS: Final = 32_768
"""What a provider may add to a prompt of its own accord: a system prompt, what a search found."""
_TURNS: Final = 8
"""A provider's own tools and context management read the prompt again for each of their turns."""
_SEARCHES_MAX: Final = 100
_SEARCHES_HELD: Final = 8
_CLIENTS_TOOLS: Final = frozenset({"function", "custom"})
_DECLARATIONS: Final = frozenset({"functionDeclarations", "function_declarations"})


@dataclass(frozen=True, slots=True)
class Bounds:
    """Attributes:
    input_tokens: that the hold covers.
    output_tokens: of all choices, that the hold covers at once; None: a slice will do.
    pieces: units that are no tokens, that the hold covers.
    service_tier: asked for, in `Begin`'s words; None: whatever is standard.
    limits: above which a report is a fault.
    """

    input_tokens: int
    output_tokens: int | None
    pieces: Mapping[MoreUnit, int]
    limits: UsageLimits
    service_tier: str | None = None


def bounds_of(
    request: ClientRequest,
    body_bytes: int,
    *,
    max_output_tokens: int | None,
    capabilities: Capabilities,
    hides_reasoning: bool,
) -> Bounds:
    """The bounds of a request to a deployment; `max_output_tokens` is of one choice."""
    window, output_max = capabilities.context_window_tokens, capabilities.output_max_tokens
    media = sum(MEDIA_TOKENS[kind] * count for kind, count in request.media.items())
    tools = _has_providers_tools(request.document)
    input_max = window or body_bytes + media + _TEMPLATE_TOKENS
    each = output_max or OUTPUT_MAX_TOKENS
    if max_output_tokens is not None:
        each = min(max_output_tokens, max(each, OUTPUT_MAX_TOKENS))
    turns = _TURNS if tools else 1
    unseen = None
    if hides_reasoning and _reasons(request, capabilities):
        limits = [limit for limit in (max_output_tokens, output_max) if limit is not None]
        unseen = min(limits) * request.choices if limits else None
    return Bounds(
        input_tokens=body_bytes + (media if window is None else min(media, window)),
        output_tokens=unseen,
        pieces={"requests": 1, "web_searches": _SEARCHES_HELD if tools else 0},
        limits=UsageLimits(
            input_max=turns * input_max,
            output_max=turns * each * request.choices,
            more_max={"web_searches": _SEARCHES_MAX},
        ),
        service_tier=_asked_tier(request.document),
    )


def _has_providers_tools(document: Mapping[str, Any]) -> bool:
    if "web_search_options" in document or "context_management" in document:
        return True
    return any(_is_providers(tool) for tool in dicts(document.get("tools")))


def _is_providers(tool: Mapping[str, Any]) -> bool:
    kind = text_of(tool.get("type"))
    if kind or "name" in tool or "function" in tool:
        return kind not in _CLIENTS_TOOLS and bool(kind)
    return bool(tool.keys() - _DECLARATIONS)


def _asked_tier(document: Mapping[str, Any]) -> str | None:
    """As each protocol's clients say it; Anthropic's have a word of its own for the fast one."""
    for member in ("service_tier", "serviceTier", "speed"):
        if tier := text_of(document.get(member)):
            return tier.lower()
    return None


def _reasons(request: ClientRequest, capabilities: Capabilities) -> bool:
    """Whether the model will think: as it was asked to, else as its kind does unasked."""
    asked = next(_asked_to_reason(request.document), None)
    if asked is False:
        return capabilities.reasoning_off is False
    if asked is None and capabilities.reasoning in ("budget", "adaptive"):
        return False
    return asked is True or capabilities.reasoning_off is not True


def _asked_to_reason(document: Mapping[str, Any]) -> Iterator[bool]:
    """As each protocol's clients say it; nothing where they do not."""
    for effort in (
        document.get("reasoning_effort"),
        dict_of(document.get("reasoning")).get("effort"),
    ):
        if isinstance(effort, str):
            yield effort != "none"
    if kind := text_of(dict_of(document.get("thinking")).get("type")):
        yield kind != "disabled"
    thinking = dict_of(dict_of(document.get("generationConfig")).get("thinkingConfig"))
    if "thinkingBudget" in thinking:
        yield thinking["thinkingBudget"] != 0
    elif "thinkingLevel" in thinking:
        yield True
