"""What follows where a provider breaks off in the middle of an answer: another one writes on.

It is given what the client has got as the beginning of its own answer. Whoever takes that for less
than an order begins anew, so only models are asked that are known to write on.
"""

from __future__ import annotations

from typing import Final

import trio

from engine.admitting import Choice
from engine.billing import ExchangeBilling
from engine.errors import DeadlineError
from engine.leg import Leg
from engine.metering.pricing import Rates
from engine.protocols.codec import StreamEncoder
from engine.protocols.prefix import Prefix
from engine.relay import StreamRelay
from engine.retrying import Again
from engine.routing.values import Candidate
from engine.seam import Seam
from engine.usage import Usage

_LEGS_MAX: Final = 2
"""Beside the first one that has written something."""


class Continuing:
    """Of one exchange.

    Attributes:
        at_limit: what has come is all that the client allows; the answer ends there.
    """

    __slots__ = (
        "_billing", "_candidates", "_choose", "_encoder", "_failed", "_legs", "_prefix", "_tallied",
        "_usage", "at_limit",
    )  # fmt: skip

    def __init__(self, choose: Choice, billing: ExchangeBilling) -> None:
        self._billing = billing
        self._choose = choose
        self._candidates: tuple[Candidate[Rates], ...] = ()
        self._failed: set[str] = set()
        """The deployments that are not asked again."""
        self._encoder: StreamEncoder | None = None
        self._prefix = Prefix("", 0)
        self._usage = Usage()
        self._legs = 0
        self._tallied = False
        """What the last leg has written is charged, or it has written nothing."""
        self.at_limit = False

    def after(self, leg: Leg) -> Again | None:
        """Who writes on where this leg has ended; None: it has come to its end, or nobody can."""
        attempt = leg.attempt
        relay, error = attempt.relay, attempt.error
        if error is None or attempt.crash is not None or not isinstance(relay, StreamRelay):
            return None
        leg.close(trio.current_time())  # what it may still bring is not of the text
        tokens, self._tallied = self._prefix.tokens, not relay.meter.has_output
        if self._tallied:
            self._billing.lost(leg, error.code)
        else:
            tokens += relay.meter.received_tokens()
            self._usage = self._usage.plus(self._billing.usage_of(leg))
        text = None if relay.transcript is None else relay.transcript.text
        if text is None or isinstance(error, DeadlineError):
            return None
        self._prefix = Prefix(text, tokens)
        self._encoder = relay.resume(text)
        limit = leg.prepared.request.max_output_tokens
        if self._encoder is None:
            return None
        self.at_limit = limit is not None and tokens >= limit
        if self.at_limit or self._legs >= _LEGS_MAX:
            return None
        self._candidates = self._choose.writers()
        return self.instead_of(leg.path)

    def instead_of(self, path: str) -> Again | None:
        """Whoever else may write on; this deployment has failed, or cannot be asked after all."""
        self._failed.add(path)
        for candidate in self._candidates:
            deployment = candidate.deployment
            if deployment.capabilities.prefill is True and deployment.path not in self._failed:
                return Again(candidate, "continuation")
        return None

    @property
    def prefix(self) -> Prefix:
        """What has come of the answer."""
        return self._prefix

    def seam(self) -> Seam:
        """Where another leg begins."""
        assert self._encoder is not None, "something has broken off"
        return Seam(self._encoder, self._prefix.text, self._usage)

    def covers(self, leg: Leg) -> bool:
        """As `ExchangeBilling.covers`, beside what is charged for what was written before."""
        if self._tallied:
            return self._billing.covers(leg)
        self._tallied = self._billing.continued(leg)
        return self._tallied

    def begin(self, leg: Leg, before: Leg) -> None:
        """The leg takes the place of the one before, in the same stream."""
        relay, last = leg.attempt.relay, before.attempt.relay
        assert isinstance(relay, StreamRelay)
        assert isinstance(last, StreamRelay)
        relay.sent_bytes = last.sent_bytes
        self._legs += 1
