"""From configuration to the catalogue: models with their price, deployments with their cost."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Final

from engine.capabilities import Capabilities
from engine.capability_table import capabilities_of
from engine.config import Config, DeploymentConfig, ModelConfig, PriceConfig
from engine.metering.price_library import ListedModel, look_up
from engine.metering.pricing import FREE, PriceError, Rates, rate_picodollars
from engine.metering.tokens import encoding_for
from engine.routing.plan import Deployment, Model
from engine.toml import Keys

_OPENAIS_OWN: Final = re.compile(r"o\d|codex|gpt-[5-9]")

Catalogue = Mapping[str, Model[Rates]]


def build_catalogue(config: Config, now: datetime) -> Catalogue:
    """Resolve prices: the configured one, else the price library's, else refuse.

    Cost and price are equal unless configured.

    Raises:
        ConfigError: a model without a price that is not `free`, or an impossible price.
    """
    return {name: _build_model(name, model, config, now) for name, model in config.models.items()}


def _build_model(name: str, model: ModelConfig, config: Config, now: datetime) -> Model[Rates]:
    deployments = tuple(
        _build_deployment(name, model, deployment, config, now) for deployment in model.deployments
    )
    if model.free:
        price = FREE
    elif model.price is not None:
        price = _configured(model.price, config, ("models", name, "price"))
    else:
        price = deployments[0].cost
    return Model(name, price, deployments)


def _build_deployment(
    name: str, model: ModelConfig, deployment: DeploymentConfig, config: Config, now: datetime
) -> Deployment[Rates]:
    provider = config.providers[deployment.provider]
    listed = look_up(provider.base_url, deployment.model, now)
    capabilities = capabilities_of(provider.protocol, deployment.model, deployment.capabilities)
    if capabilities.context_window_tokens is None and listed is not None:
        capabilities = replace(capabilities, context_window_tokens=listed.context_window_tokens)
    return Deployment(
        provider=deployment.provider,
        upstream_model=deployment.model,
        cost=_cost(name, model, deployment, config, listed),
        encoding=encoding_for(deployment.model),
        capabilities=capabilities,
        hides_reasoning=_hides_reasoning(provider.protocol, deployment.model, capabilities),
    )


def _hides_reasoning(protocol: str, model: str, capabilities: Capabilities) -> bool:
    """Anthropic shows summaries at most, OpenAI nothing; open weights show all, and Gemini says with
    each chunk what it has thought."""
    if capabilities.reasoning in (None, "none"):
        return False
    bare = model.rsplit("/", 1)[-1]
    if protocol in ("anthropic", "gemini"):
        return protocol == "anthropic"
    return _OPENAIS_OWN.match(bare) is not None


def _cost(
    name: str,
    model: ModelConfig,
    deployment: DeploymentConfig,
    config: Config,
    listed: ListedModel | None,
) -> Rates:
    path = ("models", name, "deployments")
    if deployment.cost is not None:
        return _configured(deployment.cost, config, path)
    if listed is not None and listed.rates is not None:
        return listed.rates
    if model.price is not None:
        return _configured(model.price, config, ("models", name, "price"))
    if model.free:
        return FREE
    raise config.error(
        ("models", name),
        f"has no price, and the price library knows no '{deployment.model}' at this provider: add "
        "price = { input = 1.25, output = 10.0 } (US dollars per million tokens), or free = true",
    )


def _configured(price: PriceConfig, config: Config, path: Keys) -> Rates:
    try:
        fresh = rate_picodollars(price.input)
        return Rates(
            input=fresh,
            cached_input=_or(price.cached_input, fresh),
            cache_write=_or(price.cache_write, fresh),
            output=rate_picodollars(price.output),
            reasoning=None if price.reasoning is None else rate_picodollars(price.reasoning),
        )
    except PriceError as error:
        raise config.error(path, f"cannot be used: {error}") from None


def _or(usd_per_million: Decimal | None, default: int) -> int:
    return default if usd_per_million is None else rate_picodollars(usd_per_million)
