"""What a load process has counted in one window."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bench.load.histogram import Histogram


@dataclass(frozen=True, slots=True)
class Left:
    """A client that has left: `at_s` by the machine's monotonic clock, after so many tokens."""

    tag: str
    at_s: float
    tokens: int


@dataclass(slots=True)
class Tally:
    """Of one window. What is still under way at its end counts where this says so.

    Attributes:
        begin_s, end_s: by the machine's monotonic clock, which all its processes share.
        cpu_s: CPU time of the load process itself.
        tokens: events with text that were received, and the tokens of whole answers.
        requests: answered to their end; `closed_requests` more in the closed loop.
        sent: requests that fell due, and were sent or at least tried.
        streams: open at the end.
        errors: what went wrong → how often. A status is "status 529"; "unanswered" had neither a
            first token nor a whole answer `UNANSWERED_S` after it should have.
        first_token_ms: arrival − due, of streams; of the probes only, once a plan has any. What
            is overdue at the end, by `OVERDUE_S` or more, counts with its age.
        latency_ms: of whole answers: last byte − due. Likewise.
        lateness_ms: of tokens of paced streams: arrival − the moment that the plan has it due,
            which is counted from the request's own. Likewise.
        gap_ms: between tokens of a paced stream; `stalls` of them are longer than `STALL_MS`, and
            so are pauses that have not ended.
        timed_tokens, due_tokens: of paced streams: received, and due; their ratio is the pace.
        lag_ms: how late the load process itself was, with sending and with timers of its own.
        left: clients that have left early, for the truth log to be searched.
        answered: tags of `requests` → tokens that the answer's usage said; None where it said none.
    """

    begin_s: float
    end_s: float = 0.0
    cpu_s: float = 0.0
    tokens: int = 0
    requests: int = 0
    closed_requests: int = 0
    sent: int = 0
    streams: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    first_token_ms: Histogram = field(default_factory=Histogram)
    latency_ms: Histogram = field(default_factory=Histogram)
    lateness_ms: Histogram = field(default_factory=Histogram)
    gap_ms: Histogram = field(default_factory=Histogram)
    stalls: int = 0
    timed_tokens: int = 0
    due_tokens: int = 0
    lag_ms: Histogram = field(default_factory=Histogram)
    left: list[Left] = field(default_factory=list)
    answered: dict[str, int | None] = field(default_factory=dict)

    @property
    def elapsed_s(self) -> float:
        """Length of the window."""
        return self.end_s - self.begin_s

    @property
    def core(self) -> float:
        """The share of a core that the load took."""
        return self.cpu_s / self.elapsed_s

    @property
    def pace(self) -> float:
        """Tokens received to tokens due; 1 where none was."""
        return self.timed_tokens / self.due_tokens if self.due_tokens else 1.0

    def count_error(self, kind: str) -> None:
        """One more of this kind."""
        self.errors[kind] = self.errors.get(kind, 0) + 1

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        values = {name: getattr(self, name) for name in self.__slots__}
        for name in _HISTOGRAMS:
            values[name] = values[name].to_json()
        values["left"] = [[left.tag, left.at_s, left.tokens] for left in self.left]
        return values

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Tally:
        """What `to_json` wrote; raises ValueError, KeyError or TypeError where it did not."""
        values = dict(document)
        for name in _HISTOGRAMS:
            values[name] = Histogram.from_json(values[name])
        values["left"] = [Left(*fields) for fields in values["left"]]
        return cls(**values)


_HISTOGRAMS = ("first_token_ms", "latency_ms", "lateness_ms", "gap_ms", "lag_ms")
