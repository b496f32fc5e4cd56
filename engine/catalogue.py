"""From configuration to the catalogue: models with their price, deployments with their cost."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Final

from engine.capabilities import Capabilities
from engine.capability_table import capabilities_of
from engine.clock import Clock
from engine.config import Config, DeploymentConfig, ModelConfig
from engine.metering.price_library import ListedModel, look_up
from engine.metering.pricing import FREE, Rates
from engine.metering.tokens import encoding_for
from engine.prices import configured, is_dated, overridden
from engine.routing.plan import Deployment, Model

_OPENAIS_OWN: Final = re.compile(r"o\d|codex|gpt-[5-9]")

Catalogue = Mapping[str, Model[Rates]]

_RECHECK_MS: Final = 60_000
"""Prices change at full minutes: of days, or of hours where a provider has cheap ones."""


def build_catalogue(config: Config, now: datetime, clock: Clock | None = None) -> Catalogue:
    """Resolve prices: what `[[prices]]` says of the day, else the configured one, else the price
    library's, else refuse. Price and cost are equal but for the markup, unless configured.

    They are those of `now`; with a `clock` they are, at each look, those of the moment.

    Raises:
        ConfigError: a model without a price that is not `free`, or an impossible price.
    """
    _check_rows(config)
    models = {name: _build_model(name, config, now) for name in config.models}
    days = {row.valid_from for row in config.prices if row.valid_from is not None}
    dated = [name for name, model in config.models.items() if _is_dated(name, model, config, now)]
    for name in dated:  # what cannot be used later is said now
        for day in days:
            _build_model(name, config, datetime.combine(day, time(), UTC))
    if clock is None or not dated:
        return models
    return _DatedCatalogue(models, frozenset(dated), config, clock)


class _DatedCatalogue(Mapping[str, Model[Rates]]):
    """Models with the prices of the moment that they are looked up at."""

    def __init__(
        self, models: dict[str, Model[Rates]], dated: frozenset[str], config: Config, clock: Clock
    ) -> None:
        self._models = models
        self._dated = dated
        self._config = config
        self._clock = clock
        self._minutes = dict.fromkeys(dated, -1)

    def __getitem__(self, name: str) -> Model[Rates]:
        if name in self._dated:
            minute = self._clock() // _RECHECK_MS
            if minute != self._minutes[name]:
                at = datetime.fromtimestamp(minute * _RECHECK_MS / 1_000, UTC)
                self._models[name] = _build_model(name, self._config, at)
                self._minutes[name] = minute
        return self._models[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)


def _check_rows(config: Config) -> None:
    markup = config.billing.markup
    if markup <= 0:
        raise config.error(("billing", "markup"), f"must be more than 0, not {markup}")
    for row in config.prices:
        known = config.models if row.provider is None else config.providers
        named = row.model if row.provider is None else row.provider
        if named not in known:
            kind = "model" if row.provider is None else "provider"
            raise config.error(("prices",), f"names the {kind} '{named}', which is not configured")


def _is_dated(name: str, model: ModelConfig, config: Config, now: datetime) -> bool:
    if is_dated(name, None, config):
        return True
    for deployment in model.deployments:
        if is_dated(deployment.model, deployment.provider, config):
            return True
        listed = look_up(config.providers[deployment.provider].base_url, deployment.model, now)
        if listed is not None and listed.dated:
            return True
    return False


def _build_model(name: str, config: Config, at: datetime) -> Model[Rates]:
    model = config.models[name]
    deployments = tuple(
        _build_deployment(name, model, deployment, config, at) for deployment in model.deployments
    )
    if model.free:
        price = FREE
    elif model.price is not None:
        price = configured(model.price, config, ("models", name, "price"))
    else:
        price = price_for(deployments[0].cost, config.billing.markup)
    return Model(name, overridden(price, name, None, config, at) or price, deployments)


def price_for(cost: Rates, markup: Decimal) -> Rates:
    """What customers pay for a model without a price of its own."""
    return cost if markup == 1 else cost.times(markup)


def _build_deployment(
    name: str, model: ModelConfig, deployment: DeploymentConfig, config: Config, at: datetime
) -> Deployment[Rates]:
    provider = config.providers[deployment.provider]
    listed = look_up(provider.base_url, deployment.model, at)
    capabilities = capabilities_of(provider.protocol, deployment.model, deployment.capabilities)
    if capabilities.context_window_tokens is None and listed is not None:
        capabilities = replace(capabilities, context_window_tokens=listed.context_window_tokens)
    return Deployment(
        provider=deployment.provider,
        upstream_model=deployment.model,
        cost=_cost(name, model, deployment, config, listed, at),
        encoding=encoding_for(deployment.model),
        capabilities=capabilities,
        hides_reasoning=_hides_reasoning(provider.protocol, deployment.model, capabilities),
    )


def _hides_reasoning(protocol: str, model: str, capabilities: Capabilities) -> bool:
    """Anthropic shows summaries at most, OpenAI nothing; open weights show all, and Gemini says
    with each chunk what it has thought."""
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
    at: datetime,
) -> Rates:
    said = None
    if deployment.cost is not None:
        said = configured(deployment.cost, config, ("models", name, "deployments"))
    elif listed is not None:
        said = listed.rates
    cost = overridden(said, deployment.model, deployment.provider, config, at)
    if cost is not None:
        return cost
    if model.price is not None:
        return configured(model.price, config, ("models", name, "price"))
    if model.free:
        return FREE
    raise config.error(
        ("models", name),
        f"has no price, and the price library knows no '{deployment.model}' at this provider: add "
        "price = { input = 1.25, output = 10.0 } (US dollars per million tokens), or free = true",
    )
