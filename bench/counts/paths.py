"""What is counted: the paths of a token and of a request, and how to measure them all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from bench.counts.counter import CallCounter, cpu_multiples
from bench.counts.exchanges import calls_of_request, calls_of_stream
from bench.counts.relays import RelayPath

RELAYS: Final[Mapping[str, RelayPath]] = {
    "relay of a token, chat": RelayPath("openai_chat", "openai_chat"),
    "relay of a token, chat provider, anthropic client": RelayPath("anthropic", "openai_chat"),
    "relay of a token, anthropic provider, chat client": RelayPath("openai_chat", "anthropic"),
}
EXCHANGES: Final[Mapping[str, Callable[[], float]]] = {
    "exchange, a token from frame to sink": lambda: calls_of_stream(200),
    "exchange, a whole answer": lambda: calls_of_request(10),
}
_TOKENS: Final = 500
_REPEATS: Final = 7


@dataclass(frozen=True, slots=True)
class Count:
    """What one token or request costs on one path.

    Attributes:
        calls: of the engine's code.
        cpu: of all tokens relayed, as a multiple of the fixed loop; None where other tasks of the
            process have a part in it.
    """

    calls: float
    cpu: float | None


def measure_relays(names: Iterable[str] = RELAYS) -> dict[str, Count]:
    """Relays, by name."""
    works = {name: RELAYS[name].relaying(_TOKENS) for name in names}
    calls = {}
    for name, work in works.items():
        work()  # what is loaded or cached at the first time is not counted
        counter = CallCounter()
        with counter.counting():
            work()
        calls[name] = counter.calls / _TOKENS
    multiples = cpu_multiples(works, _REPEATS)
    return {name: Count(calls[name], multiples[name]) for name in works}


def measure_all() -> dict[str, Count]:
    """All relays and exchanges, by name. Not to be called where a Trio loop runs."""
    exchanges = {name: Count(count(), None) for name, count in EXCHANGES.items()}
    return measure_relays() | exchanges
