"""What a configuration can say of how requests find their deployment.

The defaults are those of `engine.routing.values`; what may be zero is said here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from engine.capabilities import Capabilities
from engine.config_prices import PriceConfig
from engine.routing.values import AutoTable, BreakerRules, RoutingRules, Sticky, Strategy

_MAY_BE_ZERO: Final[Mapping[str, Any]] = {"positive": False}


@dataclass(frozen=True, slots=True)
class BreakerConfig(BreakerRules):
    """When a deployment is left alone for a while: after `failures` in a row, or where `share` of
    `requests_min` requests and more of the last `window_s` have failed. First for `open_s`, each
    time for twice as long, up to `open_max_s`."""

    failures: int = field(default=BreakerRules().failures, metadata=_MAY_BE_ZERO)
    """0: never, whatever fails."""


@dataclass(frozen=True, slots=True)
class RoutingConfig(RoutingRules):
    """Of all models. `attempts_max` is how many deployments a request may be sent to, each time it
    is sent counted; a hedge and a continuation are beside it."""

    retry_share_max: float = field(default=RoutingRules().retry_share_max, metadata=_MAY_BE_ZERO)
    """Of what a deployment is sent so much at most may be sent to it once more."""
    retry_wait_max_s: float = field(default=RoutingRules().retry_wait_max_s, metadata=_MAY_BE_ZERO)
    """A provider that asks for more patience than this is left for another one."""
    hedge_share_max: float = field(default=RoutingRules().hedge_share_max, metadata=_MAY_BE_ZERO)
    """Of a model's requests so many at most are sent to a second deployment beside the first."""
    breaker: BreakerConfig = BreakerConfig()
    seed: int | None = field(default=None, metadata=_MAY_BE_ZERO)
    """Makes what is left to chance repeatable; left out: it is not."""


@dataclass(frozen=True, slots=True)
class DeploymentConfig:
    """One upstream model at one provider; `cost` is what the provider charges the operator."""

    provider: str
    model: str
    cost: PriceConfig | None = None
    capabilities: Capabilities | None = None
    """What the table of models does not know, or has wrong; the rest is the table's."""
    weight: int = field(default=1, metadata=_MAY_BE_ZERO)
    """Its share among those of its priority; 0: it serves when none of the others can."""
    priority: int = field(default=0, metadata=_MAY_BE_ZERO)
    """Lower ones go first; others serve when all of these cannot."""
    concurrency_max: int | None = None
    """Requests under way there at once."""


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """A public model name."""

    deployments: tuple[DeploymentConfig, ...]
    price: PriceConfig | None = None
    free: bool = False
    aliases: tuple[str, ...] = ()
    """Further names; plans and keys that allow the model allow these."""
    fallbacks: tuple[str, ...] = ()
    """Models that serve when none of its deployments can, at their own price."""
    strategy: Strategy = "weighted"
    """Which of the deployments of a priority goes first."""
    sticky: Sticky = "off"
    """Requests of one session, or with one beginning of the prompt, keep to one deployment, whose
    cache then knows them."""
    hedge: bool = False
    """A stream that is late gets a second attempt elsewhere beside the first."""
    continuation: bool = False
    """A stream that breaks off is written on by another deployment; both are charged for."""


@dataclass(frozen=True, slots=True)
class AutoModelConfig:
    """A model that may be chosen. `strength` 1 suits easy requests, 2 also those of medium
    difficulty, 3 all."""

    name: str
    strength: int


@dataclass(frozen=True, slots=True)
class AutoConfig:
    """A model that stands for others: each request is given to the cheapest that suits it."""

    models: tuple[AutoModelConfig, ...]
    name: str = "auto"
    """What clients call it."""
    reference: str | None = None
    """The model that savings are told against."""
    medium: int = field(default=AutoTable(()).medium, metadata=_MAY_BE_ZERO)
    hard: int = field(default=AutoTable(()).hard, metadata=_MAY_BE_ZERO)
    """Scores, of 100, from which a request is of medium difficulty, or hard."""
    weights: Mapping[str, int] = field(default_factory=dict)
    """What each feature adds to the score at most, over the defaults."""
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The words that features are told by, in place of the defaults."""
