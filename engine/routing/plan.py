"""The catalogue's values, and the ordered attempts for a call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from engine.capabilities import UNKNOWN, Capabilities
from engine.errors import ModelNotFoundError

R = TypeVar("R")
"""Rates: plain values to routing, which only compares and carries them."""


@dataclass(frozen=True, slots=True)
class Deployment(Generic[R]):
    """One upstream model at one provider, with what the provider charges."""

    provider: str
    upstream_model: str
    cost: R
    encoding: str
    """The vocabulary that its text is counted with."""
    capabilities: Capabilities = UNKNOWN
    hides_reasoning: bool = False
    """It thinks without showing all of it as text, and says how much only at the end."""


@dataclass(frozen=True, slots=True)
class Model(Generic[R]):
    """A public model name, what the customer pays for it, and where it is served."""

    name: str
    price: R
    deployments: tuple[Deployment[R], ...]


def plan(model_name: str, catalogue: Mapping[str, Model[R]]) -> Model[R]:
    """The model that serves a call; its first deployment is the attempt.

    Raises:
        ModelNotFoundError: there is no such model.
    """
    model = catalogue.get(model_name)
    if model is None:
        raise ModelNotFoundError(
            f"The model '{model_name}' does not exist or you do not have access to it.",
            param="model",
        )
    return model
