"""What one request and its directives come to, and when its tokens exist."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from bench.simulate.answer import Answer, Finish
from bench.simulate.chat import ChatRequest, Counts
from bench.simulate.directives import Directives, FaultKind
from engine.wire.http import Headers

WRONG_USAGE: Final = (7, 100)
"""What `usage=wrong` adds to the input and the output tokens."""


@dataclass(frozen=True, slots=True)
class ChatPlan:
    """What the request and its directives come to. Tokens are of each choice."""

    request: ChatRequest
    directives: Directives
    answer: Answer
    answer_id: str
    created: int
    input_tokens: int
    headers: Headers
    ahead_max_tokens: int

    @property
    def limit(self) -> int:
        """Where the answer ends by itself."""
        wanted, most = self.answer.tokens, self.request.max_output_tokens
        if most is None or self.directives.ignore_max_tokens:
            return wanted
        return min(wanted, most)

    @property
    def finish(self) -> Finish:
        """Why it ends there."""
        return "length" if self.limit < self.answer.tokens else self.answer.finish

    @property
    def drains(self) -> bool:
        """A GOAWAY that lets the answer finish."""
        return self.directives.fault == "goaway" and self.directives.cut_after is None

    @property
    def fault(self) -> FaultKind | None:
        """The fault that interrupts the answer at `fault_at`."""
        directives = self.directives
        if self.drains:
            return None
        if directives.fault is None and directives.cut_after is not None:
            return "cut"
        return directives.fault

    @property
    def fault_at(self) -> int:
        """After how many tokens the fault strikes."""
        if self.directives.cut_after is not None:
            return min(self.directives.cut_after, self.limit)
        return self.limit if self.fault in ("eof", "cut_body") else self.limit // 2

    @property
    def metered(self) -> str:
        """The unit of the usage."""
        told = self.directives.metered
        return self.request.metered if told == "auto" else told

    def counts(self, position: int) -> Counts | None:
        """What is reported once each choice has so many tokens, when something is."""
        directives, request = self.directives, self.request
        asked = request.reports and (not request.stream or request.include_usage)
        if directives.usage == "none" or not (asked or directives.usage == "always"):
            return None
        more = WRONG_USAGE if directives.usage == "wrong" else (0, 0)
        produced = self.answer.produced(position)
        output = produced.pop("output_tokens", 0) * request.choices
        units = {unit: n + more[0] for unit, n in {**request.units, **produced}.items()}
        return Counts(
            input_tokens=self.input_tokens + more[0],
            output_tokens=output + more[1],
            cached_tokens=min(directives.cached, self.input_tokens),
            reasoning_tokens=self.answer.count("reasoning", position) * request.choices,
            metered=self.metered,
            units=units,
        )


class Schedule:
    """When tokens exist."""

    __slots__ = ("_begin_s", "_per_second")

    def __init__(self, begin_s: float, per_second: float) -> None:
        self._begin_s = begin_s
        self._per_second = per_second

    def due_s(self, tokens: int) -> float:
        """When the first `tokens` tokens exist."""
        if tokens <= 1 or not self._per_second:
            return self._begin_s
        return self._begin_s + (tokens - 1) / self._per_second

    def available(self, now_s: float) -> float:
        """How many tokens exist; infinite for an unpaced schedule that has begun."""
        if now_s < self._begin_s:
            return 0
        if not self._per_second:
            return math.inf
        return math.floor((now_s - self._begin_s) * self._per_second + 1e-9) + 1

    def shift(self, seconds: float) -> None:
        """Everything from here on happens later."""
        self._begin_s += seconds
