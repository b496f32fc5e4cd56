"""One generation of what the gateway goes by: configuration, models, prices, plans.

All of it is frozen. Whoever begins something takes the rules of the moment and keeps them to the
end; a change makes another generation, which shares whatever has stayed the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final, TypeVar

from engine.admission.keys import KeyEntry
from engine.admission.limits import Demand
from engine.admission.plans import ALL_MODELS, Plan
from engine.catalogue import Catalogue, build_catalogue
from engine.clock import Clock
from engine.config import Config, ProviderConfig
from engine.config_job_specs import KINDS, job_spec_of
from engine.errors import ConfigError
from engine.ledger.changes import PlanSet, PriceSet
from engine.listing import ModelInfo, list_models
from engine.metering.pricing import Rates
from engine.overrides import Prices, plan_of, stored_plan, stored_price
from engine.parsing.facts import NOTHING, Wanted
from engine.prices import configured
from engine.protocols.quirks import Quirks
from engine.routing.values import Model
from engine.upstream.providers import Provider

V = TypeVar("V")
_MINUTE_S: Final = 60
_MINUTE_MS: Final = _MINUTE_S * 1_000


@dataclass(frozen=True, slots=True)
class Rules:
    """One generation.

    Attributes:
        number: counts from 1.
        plans: by name, those of the file and those that operators made.
        models: as they are listed, with the prices of the catalogue.
        loaded_at_ms: when the configuration was read, in milliseconds since 1970.
        prices: what goes before those of the catalogue.
        wanted: the facts of a request that its plan goes by, beside those that cost no time.
    """

    number: int
    config: Config
    catalogue: Catalogue
    providers: Mapping[str, Provider]
    plans: Mapping[str, Plan]
    models: tuple[ModelInfo, ...]
    loaded_at_ms: int
    prices: Prices = field(default_factory=Prices)
    wanted: Wanted = NOTHING

    def priced(self, model: Model[Rates], account_id: str, plan: Plan | None) -> Model[Rates]:
        """The model with what this account, on this plan, pays for it."""
        rates = self.prices.find(model.name, account_id, None if plan is None else plan.name)
        return model if rates is None else replace(model, price=rates)

    def models_of(self, admitted: Admitted) -> tuple[ModelInfo, ...]:
        """The models that a key may use, with what its account pays for them."""
        plan, terms = admitted.plan, admitted.entry.terms
        account_id = admitted.entry.principal.account_id
        of_plan = ALL_MODELS if plan is None else plan.models
        plan_name = None if plan is None else plan.name
        found = []
        for model in self.models:
            if model.name in of_plan and model.name in terms.models:
                rates = self.prices.find(model.name, account_id, plan_name)
                found.append(model if rates is None else replace(model, price=rates))
        return tuple(found)

    def changed(self, changes: Iterable[PlanSet | PriceSet]) -> Rules:
        """With plans and prices that operators have made, or without those that they removed.

        Raises:
            ConfigError: the file has a plan of the same name, or another version of this program
                made one.
        """
        plans, prices = dict(self.plans), dict(self.prices.of_ledger)
        for change in changes:
            match change:
                case PlanSet(name, None):
                    if name in plans and plans[name].source == "ledger":
                        del plans[name]
                case PlanSet(name, body) if body is not None:
                    if name in plans and plans[name].source == "file":
                        raise self._taken(name)
                    plans[name] = stored_plan(name, body)
                case PriceSet(scope, owner, model, rates):
                    prices.pop((scope, owner, model), None)
                    if rates is not None:
                        prices[scope, owner, model] = stored_price(rates)
        return replace(
            self,
            number=self.number + 1,
            plans=plans,
            prices=replace(self.prices, of_ledger=prices),
        )

    def after(self, before: Rules) -> Rules:
        """These, with what operators have made of the ones before.

        Raises:
            ConfigError: the file has a plan of the name of one that an operator has made.
        """
        made = {name: plan for name, plan in before.plans.items() if plan.source == "ledger"}
        for name in sorted(made.keys() & self.plans.keys()):
            raise self._taken(name)
        return replace(
            self,
            number=before.number + 1,
            plans={**self.plans, **made},
            prices=replace(self.prices, of_ledger=before.prices.of_ledger),
        )

    def _taken(self, name: str) -> ConfigError:
        return self.config.error(
            ("plans", name), "is the name of a plan that an operator has made: take another one"
        )


@dataclass(frozen=True, slots=True)
class Admitted:
    """A key that may be served now, and what it is served by."""

    entry: KeyEntry
    plan: Plan | None
    rules: Rules
    demand: Demand


def build_rules(config: Config, clock: Clock, before: Rules | None = None) -> Rules:
    """What a configuration says. What is equal in `before` is shared with it: providers with their
    credentials, models that cost what they did. A thousand new models take a second.

    Raises:
        ConfigError: a model without a price, or an impossible one.
    """
    now_ms = clock()
    last = None if before is None else (before.config, before.catalogue)
    now = datetime.fromtimestamp(now_ms // _MINUTE_MS * _MINUTE_S, UTC)  # as prices change
    catalogue = build_catalogue(config, now, clock, before=last)
    plans = {name: plan_of(name, row, "file") for name, row in config.plans.items()}
    providers = {name: build_provider(name, row) for name, row in config.providers.items()}
    models = list_models(catalogue, config, now_ms // 1_000)
    if before is not None:
        plans = _shared(plans, before.plans)
        providers = _shared(providers, before.providers)
        models = _listed(models, before.models)
    of_file = {
        ("plan", name, model): configured(price, config, ("plans", name, "prices", model))
        for name, plan in config.plans.items()
        for model, price in plan.prices.items()
    }
    return Rules(
        number=1,
        config=config,
        catalogue=catalogue,
        providers=providers,
        plans=plans,
        models=models,
        loaded_at_ms=now_ms,
        prices=Prices(of_file=of_file),
        wanted=_wanted(config, catalogue),
    )


def _wanted(config: Config, catalogue: Catalogue) -> Wanted:
    """A fallback may be sticky where the model that is asked for is not."""
    sticky = {name for name, model in catalogue.items() if model.sticky == "prefix"}
    prefixes = frozenset(
        name
        for model in catalogue.values()
        if not sticky.isdisjoint((model.name, *model.fallbacks))
        for name in (model.name, *model.aliases)
    )
    auto = config.auto
    if auto is None:
        return Wanted(prefixes)
    return Wanted(prefixes, auto.name, dict(auto.words))


def _shared(found: dict[str, V], before: Mapping[str, V]) -> dict[str, V]:
    return {
        name: before[name] if before.get(name) == value else value for name, value in found.items()
    }


def _listed(found: tuple[ModelInfo, ...], before: tuple[ModelInfo, ...]) -> tuple[ModelInfo, ...]:
    """Models that were served before have come to be so then."""
    created = {model.id: model.created for model in before}
    return tuple(
        replace(model, created=created[model.id]) if model.id in created else model
        for model in found
    )


def build_provider(name: str, row: ProviderConfig) -> Provider:
    """A provider as the pool and the codecs take it."""
    return Provider(
        name=name,
        protocol=row.protocol,
        base_url=row.base_url,
        api_key=row.api_key,
        api_keys=row.api_keys,
        on_cancel=row.on_cancel,
        cancel_drain_s=row.cancel_drain_s,
        cancel_drain_tokens=row.cancel_drain_tokens,
        http2=row.http2,
        terminal=row.terminal,
        ca_file=row.ca_file,
        client_cert_file=row.client_cert_file,
        client_key_file=row.client_key_file,
        proxy=row.proxy,
        auth=row.auth,
        credentials_file=row.credentials_file,
        region=row.region,
        profile=row.profile,
        also=frozenset(
            name
            for name, spoken in (
                ("openai_responses", row.responses),
                ("openai_completions", row.completions),
            )
            if spoken
        ),
        model_path=row.model_path,
        api_version=row.api_version,
        quirks=Quirks(
            include_usage=row.include_usage,
            output_limit_field=row.output_limit_field,
            refuses=row.refuses,
            reasoning_apart=row.reasoning_apart,
            hosting=row.hosting,
            inlines=row.inlines,
            jobs={kind: job_spec_of(kind, row.jobs[kind]) for kind in KINDS if kind in row.jobs},
        ),
        files=row.files,
        state=row.state,
        connect_timeout_s=row.connect_timeout_s,
        first_byte_timeout_s=row.first_byte_timeout_s,
        idle_timeout_s=row.idle_timeout_s,
        total_timeout_s=row.total_timeout_s,
        connections_max=row.connections_max,
        warm_connections=row.warm_connections,
        connection_max_age_s=row.connection_max_age_s,
    )
