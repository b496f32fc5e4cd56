"""The rounds of a call to an agent: a model that asks for tools, what they come to, and the model
again, in one exchange.

Each round is an attempt on the one receipt. What it has consumed stays charged when the next one is
held for, so that nothing is held for twice and nothing is left out, wherever the call ends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import trio

from engine.agent import Agent, Brief
from engine.agents.citing import Marks
from engine.agents.running import run_tools
from engine.agents.telling import Telling, Told
from engine.billing import ExchangeBilling
from engine.conversation import Turn
from engine.events import Call, FinishReason
from engine.inlining import egress_policy
from engine.leg import Leg
from engine.parts import Parts
from engine.protocols.registry import client_codec
from engine.relay import StreamRelay, UnaryRelay
from engine.retrying import Again, Retrying

Limit = Literal["rounds", "seconds", "spend", "funds"]


class Rounds:
    """Of one exchange with an agent.

    Attributes:
        brief: what the agent adds to the round that is next, or under way.
        limit: what the answer was ended by, before the model had come to its end.
        deadline: of all rounds, in Trio's time.
    """

    def __init__(
        self,
        parts: Parts,
        agent: Agent,
        brief: Brief,
        open_marks: Callable[[], Marks],
        billing: ExchangeBilling,
        *,
        in_pieces: bool,
    ) -> None:
        """The answer goes out `in_pieces` as it comes, or as a whole."""
        self.brief = brief
        self.limit: Limit | None = None
        self.deadline = trio.current_time() + agent.definition.limits.seconds
        self._config = parts.config
        self._agent = agent
        self._open_marks = open_marks
        self._billing = billing
        self._in_pieces = in_pieces
        self._told: Told | None = None
        self._number = 1
        """Of the round."""
        self._asked: Telling | None = None
        """What has asked for tools that have not been run."""

    @property
    def first(self) -> bool:
        """No tools have been asked for yet."""
        return self._number == 1

    def open_telling(self) -> Telling:
        """For an attempt at this round."""
        return Telling(self.brief, self._open_marks(), self._told, in_pieces=self._in_pieces)

    def after(self, leg: Leg, retrying: Retrying) -> Again | None:
        """Another round, where this one has ended and asks for tools; else None, and it has come
        to its end, or to a limit."""
        again = self._after(leg)
        if again is not None:
            leg.close(trio.current_time())
            retrying.answered()
        return again

    def _after(self, leg: Leg) -> Again | None:
        relay, telling = leg.attempt.relay, leg.attempt.relay.telling
        if leg.attempt.error is not None or leg.attempt.crash is not None or telling is None:
            return None
        if telling.over_limit:
            self.limit = "rounds"
        if not telling.awaits or not relay.terminal:
            return None
        spend = self._agent.definition.limits.spend_nanodollars
        if trio.current_time() >= self.deadline:
            self.end(leg, "seconds")
            return None
        if spend is not None and self._billing.charge_with(leg) >= spend:
            self.end(leg, "spend")
            return None
        encoder = relay.resume("") if isinstance(relay, StreamRelay) else None
        self._told = telling.after(encoder, self._billing.usage_with(leg))
        self._asked = telling
        self._number += 1
        return Again(leg.candidate, "round")

    def end(self, leg: Leg, limit: Limit) -> None:
        """The answer ends with this round, whatever it asks for."""
        self.limit, self._asked = limit, None
        relay, telling = leg.attempt.relay, leg.attempt.relay.telling
        assert telling is not None, "it is a round"
        if isinstance(relay, UnaryRelay):
            usage = self._billing.usage_with(leg)
            relay.end_with(telling.ending(FinishReason.LENGTH, usage))

    def begin(self, leg: Leg, before: Leg) -> None:
        """The leg takes the place of the one before, in the same stream."""
        relay, last = leg.attempt.relay, before.attempt.relay
        if isinstance(relay, StreamRelay) and isinstance(last, StreamRelay):
            relay.sent_bytes = last.sent_bytes

    async def run_tools(self) -> None:
        """What the last round has asked for: done, and said in the brief of the next. Once."""
        asked, limits = self._asked, self._agent.definition.limits
        if asked is None:
            return
        results = await run_tools(
            asked.calls,
            self._agent.definition.http_tools,
            egress_policy(self._config.egress),
            self._config.agents.tools_at_once,
            self.deadline,
        )
        turns = (*self.brief.turns, asked.turn, Turn("user", results))
        last = self._number >= min(limits.rounds, self._config.agents.rounds_max)
        self.brief = replace(self.brief, turns=turns, last=last)
        self._asked = None


def open_rounds(
    parts: Parts, agent: Agent, call: Call, billing: ExchangeBilling, *, in_pieces: bool
) -> Rounds:
    """Those of a call to an agent, which has been looked up."""
    brief = call.agent
    assert brief is not None, "it has been"
    origin, protocol = call.origin, client_codec(call.protocol, call.operation).name

    def open_marks() -> Marks:
        return Marks(brief.sources, protocol, origin)

    return Rounds(parts, agent, brief, open_marks, billing, in_pieces=in_pieces)
