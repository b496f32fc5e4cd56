"""The models of the catalogue as a client may see them listed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from engine.capabilities import UNKNOWN, Capabilities
from engine.catalogue import Catalogue
from engine.config import Config
from engine.media_params import media_params_schema
from engine.media_schemas import Schema
from engine.metering.pricing import Rates
from engine.routing.values import Model

OWN: Final = "parshall"
"""Whose a model is that stands for others."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model as the lists of models show it.

    Attributes:
        id: what clients call it.
        name: its own name, which is another for an alias: what plans, keys and prices go by.
        created: when it came to be served here, in seconds since 1970.
        owned_by: the provider, by the name of its configuration.
        root: what the provider calls it.
        protocol: the provider's, by the name of its configuration.
        capabilities: of the deployment that comes first.
        price: what the client pays, in picodollars a token; at most, for a model that stands for
            others.
        media_params_schema: JSON Schema; None for a model that generates text only.
    """

    id: str
    name: str
    created: int
    owned_by: str
    root: str
    protocol: str
    capabilities: Capabilities
    price: Rates
    media_params_schema: Schema | None


def list_models(catalogue: Catalogue, config: Config, created: int) -> tuple[ModelInfo, ...]:
    """All models, in the order of the configuration, each with its aliases behind it."""
    return tuple(
        replace(info, id=name)
        for model in catalogue.values()
        for info in (_info(model, config, created),)
        for name in (model.name, *model.aliases)
    )


def _info(model: Model[Rates], config: Config, created: int) -> ModelInfo:
    if not model.tiers:
        return ModelInfo(
            id=model.name,
            name=model.name,
            created=created,
            owned_by=OWN,
            root=model.name,
            protocol="openai",
            capabilities=UNKNOWN,
            price=model.price,
            media_params_schema=None,
        )
    deployment = model.tiers[0].deployments[0]
    protocol = config.providers[deployment.provider].protocol
    return ModelInfo(
        id=model.name,
        name=model.name,
        created=created,
        owned_by=deployment.provider,
        root=deployment.upstream_model,
        protocol=protocol,
        capabilities=deployment.capabilities,
        price=model.price,
        media_params_schema=media_params_schema(protocol, deployment.upstream_model),
    )
