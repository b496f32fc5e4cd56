"""From configuration to the catalogue: models with their price, deployments with their cost."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Final

from engine.capabilities import Capabilities
from engine.capability_table import capabilities_of
from engine.clock import Clock
from engine.config import AutoConfig, Config, DeploymentConfig, ModelConfig
from engine.metering.price_library import ListedModel, look_up
from engine.metering.pricing import FREE, Rates
from engine.metering.tokens import encoding_for
from engine.prices import configured, dearest, is_dated, overridden, row_tier
from engine.routing.values import WEIGHTS, AutoChoice, AutoTable, Deployment, Model

_OPENAIS_OWN: Final = re.compile(r"o\d|codex|gpt-[5-9]")

Catalogue = Mapping[str, Model[Rates]]

_RECHECK_MS: Final = 60_000
"""Prices change at full minutes: of days, or of hours where a provider has cheap ones."""


def build_catalogue(
    config: Config,
    now: datetime,
    clock: Clock | None = None,
    *,
    before: tuple[Config, Catalogue] | None = None,
) -> Catalogue:
    """Resolve prices: what `[[prices]]` says of the day, else the configured one, else the price
    library's, else refuse. Price and cost are equal but for the markup, unless configured.

    They are those of `now`; with a `clock` they are, at each look, those of the moment. Models that
    come out the same as in a catalogue `before`, of an earlier configuration, are its own.

    Raises:
        ConfigError: a model without a price that is not `free`, or an impossible price.
    """
    _check_rows(config)
    kept = {} if before is None else _unchanged(config, *before)
    models = {name: kept.get(name) or _build_model(name, config, now) for name in config.models}
    days = {row.valid_from for row in config.prices if row.valid_from is not None}
    dated = [
        name
        for name, model in config.models.items()
        if name not in kept and _is_dated(name, model, config, now)
    ]
    for name in dated:  # what cannot be used later is said now
        for day in days:
            _build_model(name, config, datetime.combine(day, time(), UTC))
    if config.auto is not None:
        models[config.auto.name] = _build_auto(config.auto, models)
    aliases = {alias: name for name, row in config.models.items() for alias in row.aliases}
    live = clock is not None and dated
    if not live and not aliases:
        return models
    return _Catalogue(models, aliases, frozenset(dated if live else ()), config, clock, now)


def _unchanged(config: Config, last: Config, catalogue: Catalogue) -> dict[str, Model[Rates]]:
    """The models of an earlier catalogue that nothing has been said of since, and whose prices do
    not depend on the day."""
    if (config.billing.markup, config.prices) != (last.billing.markup, last.prices):
        return {}
    dated = catalogue.dated if isinstance(catalogue, _Catalogue) else frozenset()
    same = {name for name, row in config.providers.items() if row == last.providers.get(name)}
    return {
        name: catalogue[name]
        for name, row in config.models.items()
        if name not in dated
        and row == last.models.get(name)
        and all(deployment.provider in same for deployment in row.deployments)
    }


class _Catalogue(Mapping[str, Model[Rates]]):
    """Models, found by further names too, with the prices of the moment that they are looked up at.

    What is iterated over are their own names.
    """

    def __init__(
        self,
        models: dict[str, Model[Rates]],
        aliases: Mapping[str, str],
        dated: frozenset[str],
        config: Config,
        clock: Clock | None,
        now: datetime,
    ) -> None:
        self._models = models
        self._aliases = aliases
        self.dated = dated
        """Whose prices depend on the day."""
        self._config = config
        self._clock = clock
        self._minutes = dict.fromkeys(dated, int(now.timestamp() * 1_000) // _RECHECK_MS)

    def __getitem__(self, name: str) -> Model[Rates]:
        name = self._aliases.get(name, name)
        if name in self.dated and self._clock is not None:
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
    for row in config.prices:
        known = config.models if row.provider is None else config.providers
        named = row.model if row.provider is None else row.provider
        if named not in known:
            kind = "model" if row.provider is None else "provider"
            raise config.error(("prices",), f"names the {kind} '{named}', which is not configured")
        row_tier(row, config)


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
        price = price_for([deployment.cost for deployment in deployments], config.billing.markup)
    return Model(
        name,
        overridden(price, name, None, config, at) or price,
        deployments,
        aliases=model.aliases,
        fallbacks=model.fallbacks,
        strategy=model.strategy,
        sticky=model.sticky,
        hedge=model.hedge,
        continuation=model.continuation,
    )


def _build_auto(auto: AutoConfig, models: Mapping[str, Model[Rates]]) -> Model[Rates]:
    """A model without deployments, which costs what the one costs that it chooses: no more than
    its price says."""
    return Model(
        auto.name,
        dearest([models[each.name].price for each in auto.models]),
        (),
        auto=AutoTable(
            choices=tuple(AutoChoice(each.name, each.strength) for each in auto.models),
            reference=auto.reference,
            medium=auto.medium,
            hard=auto.hard,
            weights={**WEIGHTS, **auto.weights},
        ),
    )


def price_for(costs: Sequence[Rates], markup: Decimal) -> Rates:
    """What customers pay for a model without a price of its own: whichever of its deployments
    serves, it covers the cost."""
    cost = dearest(costs)
    return cost if markup == 1 else cost.times(markup)


def _build_deployment(
    name: str, model: ModelConfig, deployment: DeploymentConfig, config: Config, at: datetime
) -> Deployment[Rates]:
    provider = config.providers[deployment.provider]
    listed = look_up(provider.base_url, deployment.model, at)
    capabilities = capabilities_of(provider.protocol, deployment.model, deployment.capabilities)
    if capabilities.context_window_tokens is None and listed is not None:
        capabilities = replace(capabilities, context_window_tokens=listed.context_window_tokens)
    cost = _cost(name, model, deployment, config, listed, at)
    return Deployment(
        provider=deployment.provider,
        upstream_model=deployment.model,
        cost=cost,
        encoding=encoding_for(deployment.model),
        capabilities=capabilities,
        hides_reasoning=_hides_reasoning(provider.protocol, deployment.model, capabilities),
        weight=deployment.weight,
        priority=deployment.priority,
        concurrency_max=deployment.concurrency_max,
        keys=max(1, len(provider.api_keys)),
        rank_cost=3 * cost.input + cost.output or sum(cost.more.values()),
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


def remarks(catalogue: Catalogue) -> Iterator[str]:
    """What a configuration says without effect, for people; it can be served all the same."""
    for name, model in catalogue.items():
        others = [catalogue[fallback] for fallback in model.fallbacks]
        deployments = [each for among in (model, *others) for each in among.deployments]
        if model.hedge and len(deployments) < 2:
            yield f"models.{name}.hedge has no effect: there is no second deployment"
        if model.continuation and not any(each.capabilities.prefill for each in deployments):
            yield (
                f"models.{name}.continuation has no effect: of none of its deployments, or of its "
                "fallbacks', it is known that it writes on (capabilities = { prefill = true })"
            )
