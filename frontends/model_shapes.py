"""One model as each protocol lists it.

Source: the official SDKs' types and recorded lists. What a protocol has no word of its own for is
said beside its fields, in its spelling: prices and the parameters of media everywhere, what the
model can do and its limits also in OpenAI's. A trait that nobody knows is null or left out; only
Anthropic's capabilities cannot say so, and mean "not known to be supported" by `false`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, Final

from engine.capabilities import UNKNOWN, Capabilities
from engine.events import Protocol
from engine.listing import ModelInfo
from engine.metering.pricing import Rates, usd_per_million
from engine.prices import shown

_LIMITS: Final = ("context_window_tokens", "output_max_tokens")
_TRAITS: Final = tuple(f.name for f in fields(Capabilities) if f.name not in _LIMITS)
_EFFORTS: Final = ("low", "medium", "high", "xhigh", "max")
_TEMPERATURE_MAX: Final = {"anthropic": 1}
_OTHER_TEMPERATURE_MAX: Final = 2


def openai_model(model: ModelInfo) -> dict[str, Any]:
    """With `permission`, `root` and `parent`, which OpenAI has dropped and old clients read."""
    capabilities = model.capabilities
    return {
        "id": model.id,
        "object": "model",
        "created": model.created,
        "owned_by": model.owned_by,
        "permission": [_permission(model)],
        "root": model.root,
        "parent": None,
        "capabilities": {name: _plain(getattr(capabilities, name)) for name in _TRAITS},
        "context_window": capabilities.context_window_tokens,
        "max_output_tokens": capabilities.output_max_tokens,
        "pricing": _pricing(model.price),
        "media_params_schema": model.media_params_schema,
    }


def _permission(model: ModelInfo) -> dict[str, Any]:
    return {
        "id": f"modelperm-{hashlib.sha256(model.id.encode()).hexdigest()[:24]}",
        "object": "model_permission",
        "created": model.created,
        "allow_create_engine": False,
        "allow_sampling": True,
        "allow_logprobs": model.protocol == "openai",
        "allow_search_indices": False,
        "allow_view": True,
        "allow_fine_tuning": False,
        "organization": "*",
        "group": None,
        "is_blocking": False,
    }


def _pricing(price: Rates) -> dict[str, Any]:
    """US dollars per million tokens, as exact decimals: a JSON number would be read as a float.
    What has a price of its own beside (seconds, images, …) is by the names and the units of a
    configuration's prices."""
    return {
        "currency": "USD",
        "unit": "million_tokens",
        "input": usd_per_million(price.input),
        "cached_input": usd_per_million(price.cached_input),
        "cache_write": usd_per_million(price.cache_write),
        "output": usd_per_million(price.output),
        "reasoning": usd_per_million(price.reasoning_rate),
    } | shown(price)


def _plain(value: object) -> object:
    return sorted(value) if isinstance(value, frozenset) else value


def anthropic_model(model: ModelInfo) -> dict[str, Any]:
    """`ModelInfo` of Anthropic's SDK. The capabilities are those that this gateway offers."""
    created = datetime.fromtimestamp(model.created, UTC)
    capabilities = model.capabilities
    return {
        "type": "model",
        "id": model.id,
        "display_name": model.id,
        "created_at": created.isoformat().replace("+00:00", "Z"),
        "max_input_tokens": capabilities.context_window_tokens,
        "max_tokens": capabilities.output_max_tokens,
        "capabilities": None if capabilities == UNKNOWN else _anthropic_capabilities(model),
        "pricing": _pricing(model.price),
        "media_params_schema": model.media_params_schema,
    }


def _anthropic_capabilities(model: ModelInfo) -> dict[str, Any]:
    capabilities, own = model.capabilities, model.protocol == "anthropic"
    media = capabilities.media or ()
    thinks = capabilities.reasoning not in (None, "none")
    budget = capabilities.reasoning_budget_max is not None
    adaptive = capabilities.reasoning == "adaptive"
    efforts = set(_efforts(capabilities, translated=not own))
    return {
        "batch": _supported(False),
        "citations": _supported(own and "document" in media),
        "code_execution": _supported(False),
        "context_management": _supported(False),
        "effort": _supported(bool(efforts))
        | {level: _supported(level in efforts) for level in _EFFORTS},
        "image_input": _supported("image" in media),
        "pdf_input": _supported("document" in media),
        "structured_outputs": _supported(capabilities.json_schema is True),
        "thinking": _supported(thinks)
        | {
            "types": {
                "enabled": _supported(thinks and (budget or not own)),
                "adaptive": _supported(thinks and (adaptive or not own)),
            }
        },
    }


def _efforts(capabilities: Capabilities, *, translated: bool) -> Iterable[str]:
    """A budget stands for an effort where the request is translated."""
    if translated and capabilities.reasoning == "budget":
        return _EFFORTS
    return capabilities.efforts or ()


def _supported(value: bool) -> dict[str, Any]:
    return {"supported": value}


def gemini_model(model: ModelInfo) -> dict[str, Any]:
    """`Model` of the Gemini API; limits that are not known are left out."""
    capabilities = model.capabilities
    shape: dict[str, Any] = {
        "name": f"models/{model.id}",
        "version": "1",
        "displayName": model.id,
        "inputTokenLimit": capabilities.context_window_tokens,
        "outputTokenLimit": capabilities.output_max_tokens,
        "supportedGenerationMethods": _gemini_methods(capabilities),
    }
    if capabilities.sampling:
        shape["temperature"] = 1
        shape["maxTemperature"] = _TEMPERATURE_MAX.get(model.protocol, _OTHER_TEMPERATURE_MAX)
    if capabilities.reasoning is not None:
        shape["thinking"] = capabilities.reasoning != "none"
    shape["pricing"] = _gemini_pricing(model.price)
    shape["mediaParamsSchema"] = model.media_params_schema
    return {name: value for name, value in shape.items() if value is not None}


def _gemini_methods(capabilities: Capabilities) -> list[str]:
    """Of Gemini's own; whoever draws or speaks is asked to by chatting."""
    serves = capabilities.serves
    methods = []
    if serves is None or not serves.isdisjoint(("chat", "image", "speech")):
        methods += ["generateContent", "countTokens"]
    if serves is not None and "embed" in serves:
        methods += ["embedContent", "batchEmbedContents"]
    return methods


def _gemini_pricing(price: Rates) -> dict[str, Any]:
    return {_camel(name): usd for name, usd in _pricing(price).items()}


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(other.capitalize() for other in others)


SHAPES: Final[Mapping[Protocol, Callable[[ModelInfo], dict[str, Any]]]] = {
    "openai_chat": openai_model,
    "anthropic": anthropic_model,
    "gemini": gemini_model,
}
"""By the protocol of the client; the lists' routes know no other."""
