"""What one request can consume at most: how much is held for it, and what of a report is believed.

By bytes and counts of the body alone: no tokenizer runs at admission.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from engine.capabilities import Capabilities
from engine.conversation import MediaKind
from engine.demand import Demand
from engine.metering.limits import OUTPUT_MAX_TOKENS, UsageLimits
from engine.protocols.codec import ClientRequest
from engine.protocols.fields import dict_of, dicts, text_of
from engine.protocols.gemini.spelling import get, get_dict
from engine.protocols.openai_responses.tools import sessions_of
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
_PIECE_TOKENS: Final = 2_048
_TEXT_BESIDE_MEDIA_TOKENS: Final = 4_096
"""Where a body holds media, its bytes say little of its text: taken for 16 KiB."""
_BYTES_A_TOKEN: Final = 4
_TURNS: Final = 8
"""A provider's own tools and context management read the prompt again for each of their turns."""
_SEARCHES_MAX: Final = 100
_SEARCHES_HELD: Final = 8
_SESSIONS_MAX: Final = 256
"""Four of the largest containers."""
_PICTURES_MAX: Final = 16
"""Of one choice of an answer that tells a story with them."""
_CLIENTS_TOOLS: Final = frozenset({"function", "custom"})
_DECLARATIONS: Final = frozenset({"functionDeclarations", "function_declarations"})
_TIERS: Final = ("service_tier", "serviceTier", "speed")
"""As each protocol's clients say it; Anthropic's have a word of its own for the fast one."""
_ASKS_TO_REASON: Final = frozenset(
    {"reasoning_effort", "reasoning", "thinking", "generationConfig", "generation_config"}
)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Attributes:
    input_tokens: that the hold covers.
    expected_input_tokens: what of it is likely, as limits a minute take it before it is known.
    output_tokens: of all choices, that the hold covers at once; None: a slice will do.
    pieces: units that are no tokens, that the hold covers.
    service_tier: asked for, in `Begin`'s words, or what a piece is priced by; None: whatever is
        standard.
    limits: above which a report is a fault.
    demand: of what is no chat.
    """

    input_tokens: int
    expected_input_tokens: int
    output_tokens: int | None
    pieces: Mapping[MoreUnit, int]
    limits: UsageLimits
    service_tier: str | None = None
    demand: Demand | None = None


def bounds_of(
    request: ClientRequest,
    body_bytes: int,
    *,
    max_output_tokens: int | None,
    capabilities: Capabilities,
    hides_reasoning: bool,
    demand: Demand | None = None,
) -> Bounds:
    """The bounds of a request to a deployment; `max_output_tokens` is of one choice. What is no
    chat says its own `demand`."""
    if demand is not None:
        return _bounds_of_demand(demand)
    window, output_max = capabilities.context_window_tokens, capabilities.output_max_tokens
    media = _media_tokens(request.media)
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
    input_tokens = body_bytes + _media_tokens(request.media, window)
    pieces: dict[MoreUnit, int] = {"requests": 1, "web_searches": _SEARCHES_HELD if tools else 0}
    more_max: dict[MoreUnit, int] = {"web_searches": _SEARCHES_MAX}
    if tools:
        pieces |= _pieces_of_tools(request.document.get("tools"))
        more_max |= {"file_searches": _SEARCHES_MAX, "code_sessions": _SESSIONS_MAX}
    if "image" in (capabilities.serves or ()):  # it draws where it likes
        pieces["images"] = request.choices
        more_max["images"] = _PICTURES_MAX * request.choices
    return Bounds(
        input_tokens=input_tokens,
        expected_input_tokens=expected_input_tokens(body_bytes, request.media, window),
        output_tokens=unseen,
        pieces=pieces,
        limits=UsageLimits(
            input_max=turns * input_max,
            output_max=turns * each * request.choices,
            more_max=more_max,
        ),
        service_tier=_asked_tier(request.document),
    )


def _bounds_of_demand(demand: Demand) -> Bounds:
    return Bounds(
        input_tokens=demand.input_tokens,
        expected_input_tokens=demand.expected_input_tokens,
        output_tokens=demand.output_tokens,
        pieces={"requests": 1, **demand.pieces},
        limits=UsageLimits(
            input_max=demand.input_tokens + _TEMPLATE_TOKENS,
            output_max=demand.output_tokens,
            more_max=demand.pieces,
        ),
        service_tier=demand.tier,
        demand=demand,
    )


def expected_input_tokens(
    body_bytes: int, media: Mapping[MediaKind, int], window: int | None = None
) -> int:
    """What a prompt is likely to come to, by the size of its body and the pieces of media in it,
    before it is known; media come to no more than a model's `window`."""
    pieces = sum(media.values()) if media else 0
    if not pieces:
        return body_bytes // _BYTES_A_TOKEN
    return min(
        body_bytes + _media_tokens(media, window),
        pieces * _PIECE_TOKENS + _TEXT_BESIDE_MEDIA_TOKENS,
    )


def _media_tokens(media: Mapping[MediaKind, int], window: int | None = None) -> int:
    if not media:
        return 0
    tokens = sum(MEDIA_TOKENS[kind] * count for kind, count in media.items())
    return tokens if window is None else min(tokens, window)


def _has_providers_tools(document: Mapping[str, Any]) -> bool:
    if "web_search_options" in document or "context_management" in document:
        return True
    return "tools" in document and any(_is_providers(tool) for tool in dicts(document["tools"]))


def _pieces_of_tools(tools: object) -> dict[MoreUnit, int]:
    """What the provider's own tools can come to, of those that only some requests name."""
    searches = any(tool.get("type") == "file_search" for tool in dicts(tools))
    return {
        "file_searches": _SEARCHES_HELD if searches else 0,
        "code_sessions": sessions_of(tools),
    }


def _is_providers(tool: Mapping[str, Any]) -> bool:
    kind = text_of(tool.get("type"))
    if kind or "name" in tool or "function" in tool:
        return kind not in _CLIENTS_TOOLS and bool(kind)
    return bool(tool.keys() - _DECLARATIONS)


def _asked_tier(document: Mapping[str, Any]) -> str | None:
    for member in _TIERS:
        if member in document and (tier := text_of(document[member])):
            return tier.lower()
    return None


def _reasons(request: ClientRequest, capabilities: Capabilities) -> bool:
    """Whether the model will think: as it was asked to, else as its kind does unasked."""
    asked = asked_to_reason(request.document)
    if asked is False:
        return capabilities.reasoning_off is False
    if asked is None and capabilities.reasoning in ("budget", "adaptive"):
        return False
    return asked is True or capabilities.reasoning_off is not True


def asked_to_reason(document: Mapping[str, Any]) -> bool | None:
    """Whether a client asks for thinking, or for none of it, in any protocol; None: it does not
    say."""
    if _ASKS_TO_REASON.isdisjoint(document):
        return None
    for effort in (
        document.get("reasoning_effort"),
        dict_of(document.get("reasoning")).get("effort"),
    ):
        if isinstance(effort, str):
            return effort != "none"
    if kind := text_of(dict_of(document.get("thinking")).get("type")):
        return kind != "disabled"
    thinking = get_dict(get_dict(document, "generationConfig"), "thinkingConfig")
    if (budget := get(thinking, "thinkingBudget")) is not None:
        return bool(budget != 0)
    return True if get(thinking, "thinkingLevel") is not None else None
