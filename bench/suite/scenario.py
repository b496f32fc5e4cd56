"""What a scenario asks for: who asks what and when, and which figures are wanted of it.

Plain values; `scenarios` reads them from TOML, `bench.load` makes a plan of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from bench.suite.figures import Figure

Kind = Literal["unary", "streams", "memory", "cancels", "sustained"]
"""What the window is for.

unary, streams: requests arrive as planned, or streams that last are open; one window.
memory: streams are added step by step; one window a step, each after its streams are open.
cancels: the window ends when the provider has lost all that left, at the latest after `measure_s`.
sustained: as memory, until a step breaks the bound.
"""
Protocol = Literal["openai_chat", "openai_responses", "anthropic", "gemini"]
Http = Literal["http1", "http2"]


_ZERO: Final[Mapping[str, Any]] = {"positive": False}
"""Of a number that may be 0; all others are greater (engine/toml.py)."""


@dataclass(frozen=True, slots=True)
class Constant:
    """Every answer has this many tokens."""

    tokens: int


@dataclass(frozen=True, slots=True)
class LogNormal:
    """Lengths of answers in tokens, log-normal: half are below `median`; cut at `max`, at least 1.

    `sigma` is the standard deviation of the logarithm.
    """

    median: float
    sigma: float
    max: int


Lengths = Constant | LogNormal


@dataclass(frozen=True, slots=True)
class Leaves:
    """Clients that close while their answer is under way.

    Attributes:
        share: of the requests, 0 … 1.
        within_s: they leave at instants spread evenly over so many seconds from the start of the
            measured window; 0: each at a token of its own answer, evenly chosen.
    """

    share: float
    within_s: float = field(default=0.0, metadata=_ZERO)


@dataclass(frozen=True, slots=True)
class Traffic:
    """One kind of request in a mixture.

    Attributes:
        share: of the requests; those of a scenario add up to 1.
        protocol: in which the client asks.
        provider: the API behind the gateway; the model's name chooses it (`Peer.models`).
        stream: streamed, or one whole answer.
        prompt_bytes: of the user's text.
        tokens: length of the answer; None lasts until the run's end, for `stream` only.
        tokens_per_second: the provider's pace; 0: as fast as the network takes it.
        first_token_ms: the provider's delay of the first token, evenly spread between the two;
            it spreads the phases of paced streams.
        leaves: clients that close early; None: all stay.
        reads_bytes_per_s: a client that reads no faster, and whose tokens are counted, not timed;
            None: as fast as it can.
        directives: further `#sim` words of the provider's, faults for instance, verbatim.
    """

    share: float = 1.0
    protocol: Protocol = "openai_chat"
    provider: Protocol = "openai_chat"
    stream: bool = True
    prompt_bytes: int = 200
    tokens: Lengths | None = None
    tokens_per_second: float = field(default=0.0, metadata=_ZERO)
    first_token_ms: tuple[float, float] = (0.0, 0.0)
    leaves: Leaves | None = None
    reads_bytes_per_s: int | None = None
    directives: str = ""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """When requests are due; from the seed alone, whatever the gateway answers.

    Attributes:
        process: poisson; uniform is evenly spaced; together: all at one moment, `rate_per_s` 0.
        rate_per_s: requests a second.
        count_max: how many in all. Streams that last (`Traffic.tokens` None) are opened once, so
            this is how many are open; a step of `Scenario.steps` takes its place.
    """

    process: Literal["poisson", "uniform", "together"]
    rate_per_s: float = field(default=0.0, metadata=_ZERO)
    count_max: int = 100_000


@dataclass(frozen=True, slots=True)
class Probe:
    """Unpaced streams in a second window, while the first ones go on: added time to first token."""

    rate_per_s: float
    tokens: int
    measure_s: float


@dataclass(frozen=True, slots=True)
class Closed:
    """A further window in which `clients` ask again as soon as they are answered."""

    clients: int
    measure_s: float


@dataclass(frozen=True, slots=True)
class Bound:
    """What a number of streams has to keep to count as sustained."""

    lateness_p99_ms: float
    stalls_per_1000_tokens: float = field(default=0.0, metadata=_ZERO)
    errors_share: float = field(default=0.0, metadata=_ZERO)
    pace: float = 0.98
    """Tokens received to tokens due."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One thing to measure, the same for every peer.

    Attributes:
        title: one line, for tables.
        arrivals, traffic: what is asked when. Unequal peers get the same plan, thinned to what the
            weakest of a comparison takes.
        steps: numbers of streams, rising: one sample each (memory), or tried until the bound
            breaks (sustained). Empty: `arrivals.count_max`, as a single step.
        warm_s, measure_s: from the last arrival of a stream that lasts (the first arrival, where
            none lasts) to the window, and the window.
        repeats, repeats_max: rounds; more than `repeats` only where the interval is too wide.
        fresh: a new process of the gateway for every sample.
        probe, closed, bound: further windows, and what is sustained.
        name, about, digest: the file's stem, its head comment, a hash of what a round measures.
    """

    title: str
    kind: Kind
    arrivals: Arrivals
    traffic: tuple[Traffic, ...]
    figures: tuple[Figure, ...]
    warm_s: float = field(metadata=_ZERO)
    measure_s: float
    repeats: int
    repeats_max: int
    http: Http = "http1"
    seed: int = 1
    steps: tuple[int, ...] = ()
    fresh: bool = False
    probe: Probe | None = None
    closed: Closed | None = None
    bound: Bound | None = None
    name: str = field(default="", compare=False)
    about: str = field(default="", compare=False)
    digest: str = field(default="", compare=False)
