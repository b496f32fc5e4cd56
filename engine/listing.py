"""The models of the catalogue as a client may see them listed."""

from __future__ import annotations

from dataclasses import dataclass

from engine.capabilities import Capabilities
from engine.catalogue import Catalogue
from engine.config import Config
from engine.media_params import Schema, media_params_schema
from engine.metering.pricing import Rates


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model as the lists of models show it.

    Attributes:
        created: when it came to be served here, in seconds since 1970.
        owned_by: the provider, by the name of its configuration.
        root: what the provider calls it.
        protocol: the provider's, by the name of its configuration.
        price: what the client pays, in picodollars a token.
        media_params_schema: JSON Schema; None for a model that generates text only.
    """

    id: str
    created: int
    owned_by: str
    root: str
    protocol: str
    capabilities: Capabilities
    price: Rates
    media_params_schema: Schema | None


def list_models(catalogue: Catalogue, config: Config, created: int) -> tuple[ModelInfo, ...]:
    """All models, in the order of the configuration."""
    return tuple(
        ModelInfo(
            id=model.name,
            created=created,
            owned_by=deployment.provider,
            root=deployment.upstream_model,
            protocol=(protocol := config.providers[deployment.provider].protocol),
            capabilities=deployment.capabilities,
            price=model.price,
            media_params_schema=media_params_schema(protocol, deployment.upstream_model),
        )
        for model in catalogue.values()
        for deployment in model.deployments[:1]
    )
