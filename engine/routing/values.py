"""The words of routing: what the catalogue holds, what is asked for, and what a plan says.

All of it is frozen and plain. Prices and costs are carried and never looked into: what routing
compares arrives as `rank_cost`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, groupby
from types import MappingProxyType
from typing import Final, Generic, Literal, NamedTuple, TypeVar

from engine.agent import AgentUse
from engine.capabilities import UNKNOWN, Capabilities, Service
from engine.conversation import FileUse, MediaKind
from engine.owned import HeldRef
from engine.routing.ring import Ring, build_ring

R = TypeVar("R")
"""Rates: plain values to routing, which only carries them."""

Strategy = Literal["weighted", "least-busy", "latency", "cheapest"]
Sticky = Literal["off", "session", "prefix"]
Level = Literal["easy", "medium", "hard"]
Role = Literal["first", "retry", "fallback", "hedge", "continuation", "part", "round"]
"""What an attempt is to its request: its first, the same deployment once more, another one after a
failure, another one at the same time, another one that writes on, the same one for what of the
request was too much for one attempt."""


@dataclass(frozen=True, slots=True)
class Deployment(Generic[R]):
    """One upstream model at one provider, with what the provider charges.

    Attributes:
        encoding: the vocabulary that its text is counted with.
        hides_reasoning: it thinks without showing all of it as text, and says how much only at the
            end.
        weight: its share among those of its priority; 0: only when nothing else is left there.
        priority: lower ones come first.
        concurrency_max: requests under way at once; None: no bound.
        keys: how many credentials its provider has; never fewer than one.
        rank_cost: picodollars of three input tokens and an output token.
    """

    provider: str
    upstream_model: str
    cost: R
    encoding: str
    capabilities: Capabilities = UNKNOWN
    hides_reasoning: bool = False
    weight: int = 1
    priority: int = 0
    concurrency_max: int | None = None
    keys: int = 1
    rank_cost: int = 0
    path: str = field(init=False, compare=False, default="")
    """What people call it by: `PROVIDER/UPSTREAM_MODEL`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", f"{self.provider}/{self.upstream_model}")


@dataclass(frozen=True, slots=True)
class Tier(Generic[R]):
    """The deployments of a model that have the same priority.

    Attributes:
        deployments: in the order of the configuration.
        weights: cumulative, for a draw by bisection.
        by_cost: indexes, the cheapest first; of equal ones the first in the configuration.
        ring: of models that are sticky.
    """

    deployments: tuple[Deployment[R], ...]
    weights: tuple[int, ...]
    by_cost: tuple[int, ...]
    ring: Ring | None = None


def build_tiers(
    deployments: Sequence[Deployment[R]], *, sticky: bool = False
) -> tuple[Tier[R], ...]:
    """The tiers of a model, the first to be tried first."""
    ordered = sorted(deployments, key=lambda deployment: deployment.priority)
    tiers = []
    for _, group in groupby(ordered, key=lambda deployment: deployment.priority):
        row = tuple(group)
        tiers.append(
            Tier(
                deployments=row,
                weights=tuple(accumulate(deployment.weight for deployment in row)),
                by_cost=tuple(sorted(range(len(row)), key=lambda at: row[at].rank_cost)),
                ring=_ring(row) if sticky and len(row) > 1 else None,
            )
        )
    return tuple(tiers)


def _ring(row: Sequence[Deployment[R]]) -> Ring:
    return build_ring(tuple((deployment.path, deployment.weight) for deployment in row))


@dataclass(frozen=True, slots=True)
class AutoChoice:
    """A model that `auto` may choose. `strength` is 1 for easy requests, 2 for medium ones as well,
    3 for all."""

    model: str
    strength: int


WEIGHTS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "words": 20,
        "code": 30,
        "mathematics": 40,
        "tools": 20,
        "schema": 10,
        "reasoning": 60,
        "languages": 10,
        "depth": 10,
    }
)
"""What each feature of a prompt adds to its score at most, unless the configuration says."""


@dataclass(frozen=True, slots=True)
class AutoTable:
    """How a model that stands for others chooses among them (`engine.routing.auto`).

    Attributes:
        choices: in the order of the configuration.
        reference: the model that savings are told against.
        medium, hard: scores from which a request is of that level.
        weights: see `WEIGHTS`.
    """

    choices: tuple[AutoChoice, ...]
    reference: str | None = None
    medium: int = 30
    hard: int = 60
    weights: Mapping[str, int] = field(default_factory=lambda: WEIGHTS)


@dataclass(frozen=True, slots=True)
class Features:
    """What the difficulty of a prompt is judged by: counts that spaces do not change.

    Attributes:
        words: of all turns.
        code, mathematics, hard: words and signs that speak for them.
        tools: offered.
        schema: the answer is to keep to one.
        reasoning: thinking is asked for.
        languages: scripts beside the Latin one.
        depth: turns.
    """

    words: int = 0
    code: int = 0
    mathematics: int = 0
    hard: int = 0
    tools: int = 0
    schema: bool = False
    reasoning: bool = False
    languages: int = 0
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Model(Generic[R]):
    """A public model name, what the customer pays for it, and where it is served.

    Attributes:
        tiers: its deployments by priority; made of them where it is not given.
        aliases: further names.
        fallbacks: models that may serve instead, the first to be tried first.
        hedge: a second attempt may run beside one that is slow to begin.
        continuation: an answer that breaks off may be written on by another deployment.
        auto: it has no deployments, and chooses among other models.
    """

    name: str
    price: R
    deployments: tuple[Deployment[R], ...]
    tiers: tuple[Tier[R], ...] = field(default=(), compare=False)
    aliases: tuple[str, ...] = ()
    fallbacks: tuple[str, ...] = ()
    strategy: Strategy = "weighted"
    sticky: Sticky = "off"
    hedge: bool = False
    continuation: bool = False
    auto: AutoTable | None = None

    def __post_init__(self) -> None:
        if not self.tiers and self.deployments:
            tiers = build_tiers(self.deployments, sticky=self.sticky != "off")
            object.__setattr__(self, "tiers", tiers)


class Asked(NamedTuple):
    """What a plan has to know of a request. A tuple because one is made for every request.

    Attributes:
        model: the name that the client wrote.
        protocol: the client's codec, e.g. `openai`.
        choices: answers asked for.
        max_output_tokens: of each choice, where the client says it.
        expected_input_tokens: an estimate.
        media: what is in it beside text.
        tools: functions are offered.
        json_schema: the answer is to keep to one.
        reasoning: thinking is asked for.
        session, prefix: digests of eight bytes, for models that are sticky by them.
        features: for `auto`.
        continuable: an answer that breaks off could be written on, by what the request asks for.
        begun: the answer has broken off, and is to be written on.
        service: the kind of model that it is for.
        unresolved: files of the gateway's that it names, and that nothing stands for yet.
        unheld: things at a provider that it names, and that nobody has looked up yet.
        agent: it names one, and it is not known yet what that adds.
    """

    model: str
    protocol: str = "openai"
    stream: bool = False
    choices: int = 1
    max_output_tokens: int | None = None
    expected_input_tokens: int = 0
    media: frozenset[MediaKind] = frozenset()
    tools: bool = False
    json_schema: bool = False
    reasoning: bool = False
    session: bytes | None = None
    prefix: bytes | None = None
    features: Features | None = None
    continuable: bool = False
    begun: bool = False
    service: Service = "chat"
    unresolved: tuple[FileUse, ...] = ()
    unheld: tuple[HeldRef, ...] = ()
    agent: AgentUse | None = None


class Candidate(NamedTuple, Generic[R]):
    """One possible attempt: a deployment, by which of its provider's keys, for which model, and
    why it stands where it stands.

    A tuple because some are made for every request: four times as fast.
    """

    model: Model[R]
    deployment: Deployment[R]
    key: int
    why: str
    bound: bool = False
    """Another key of the provider's would not do: what is asked for lives with this one."""


@dataclass(frozen=True, slots=True)
class Passed:
    """A deployment that is no candidate, or a model none of whose deployments is, and why."""

    path: str
    why: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What `auto` has chosen.

    Attributes:
        score: 0 to 100.
        reasons: what has added to the score, e.g. `words 812: +8`.
        chosen: the model that comes first.
        reference: the model that savings are told against.
    """

    score: int
    level: Level
    reasons: tuple[str, ...]
    chosen: str
    reference: str | None


class Plan(NamedTuple, Generic[R]):
    """The attempts that a request may make, in their order. A tuple as `Candidate` is.

    Attributes:
        candidates: as many as a request may make attempts; empty only in an explained plan.
        passed: what was passed over, of an explained plan only.
        retry_at: when something of what was passed over comes back, on Trio's clock, where there is
            no candidate.
    """

    candidates: tuple[Candidate[R], ...]
    passed: tuple[Passed, ...] = ()
    auto: Decision | None = None
    retry_at: float | None = None


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """When a deployment counts as broken.

    Attributes:
        failures: so many in a row; 0: no breaker at all.
        share: or this share of the outcomes of a window, from `requests_min` outcomes on.
        open_s: how long it is left alone the first time; doubled up to `open_max_s`.
    """

    failures: int = 5
    share: float = 0.5
    requests_min: int = 20
    window_s: float = 30.0
    open_s: float = 5.0
    open_max_s: float = 15.0


@dataclass(frozen=True, slots=True)
class RoutingRules:
    """What holds for all models.

    Attributes:
        attempts_max: of one request; a hedge and a continuation are beside them.
        retry_share_max: retries of a deployment, as a share of its first dispatches.
        retry_wait_max_s: a longer wait than this is not worth it.
        first_token_timeout_s: while another candidate is left.
        hedge_share_max: hedges of a model, as a share of its requests.
    """

    attempts_max: int = 4
    retry_share_max: float = 0.2
    retry_wait_max_s: float = 2.0
    first_token_timeout_s: float = 60.0
    hedge_share_max: float = 0.1
    breaker: BreakerRules = BreakerRules()
