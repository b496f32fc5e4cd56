"""What the legs of one exchange have come to: which of them is the client's, and what each is.

Legs that are dispatched, and neither lost nor continued, are under way. One of them is current: the
winner, else the first of them. Its answer is the client's, after what others have written of it.
Moves no money and waits for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine import funds
from engine.attempt_log import AttemptLog
from engine.events import Outcome, Usage
from engine.ledger.records import AttemptFigures, AttemptRow, CostLine
from engine.leg import Leg
from engine.measuring import delivered_tokens
from engine.metering.pricing import charge_nanodollars

HEDGE_LOST = "hedge_lost"
"""The outcome of an attempt that another one, made at the same time, was faster than."""


@dataclass(frozen=True, slots=True)
class SoFar:
    """What would be billed were the process killed now.

    Attributes:
        number: of the current leg; 0: there is none.
        received_tokens: by the current leg.
        ended: the other legs that have come to something.
    """

    usage: Usage
    charge_nanodollars: int
    costs: tuple[CostLine, ...]
    number: int
    received_tokens: int
    ended: tuple[AttemptFigures, ...]


class Tally:
    """Of one exchange.

    Attributes:
        log: what the receipt tells of the attempts.
        counted_by: what has counted of the bill where the providers had not; None: nothing was
            counted, or the exchange has not ended.
    """

    __slots__ = (
        "_answered",
        "_continued",
        "_rounds_nanodollars",
        "_under_way",
        "_winner",
        "counted_by",
        "log",
    )

    def __init__(self) -> None:
        self._under_way: dict[int, Leg] = {}
        self._winner: Leg | None = None
        self._continued: list[tuple[Leg, funds.Bill]] = []
        """Legs that wrote the beginning of the answer."""
        self._rounds_nanodollars = 0
        """Of legs among `_answered` that nobody has been paid for by what was held at first."""
        self._answered: list[tuple[Leg, funds.Bill]] = []
        """Legs that have answered a part of the request: nobody pays for it before all is there."""
        self.counted_by: str | None = None
        self.log = AttemptLog()

    @property
    def current(self) -> Leg | None:
        """Whose answer the client gets, or would get; None between two legs."""
        if self._winner is not None or not self._under_way:
            return self._winner
        return self._under_way[min(self._under_way)]

    @property
    def owed_nanodollars(self) -> int:
        """The charge for what was written by legs that have ended."""
        written = sum(bill.charge_nanodollars for _, bill in self._continued)
        return written + self._rounds_nanodollars

    def begin(self, leg: Leg, at_ms: int) -> AttemptRow:
        """A leg goes out, and has a number from now on."""
        row = self.log.begin(leg, at_ms)
        self._under_way[leg.number] = leg
        return row

    def take_back(self, leg: Leg) -> None:
        """The leg that began last does not go out after all."""
        del self._under_way[leg.number]
        self.log.take_back(leg)

    def won(self, leg: Leg) -> None:
        """Of those under way this one is the client's from now on."""
        assert leg.number in self._under_way, "it is under way"
        self._winner = leg

    def lost(self, leg: Leg, code: str) -> None:
        """A leg has ended, and the client has got nothing of it. Once, however often it is said."""
        if self._under_way.pop(leg.number, None) is None:
            return
        if self._winner is leg:
            self._winner = None
        self.log.end(leg, leg.measuring.lost(leg.attempt), code, won=False)
        leg.measuring.forget_prompt()

    def broken_off(self, leg: Leg) -> funds.Bill:
        """What a leg comes to that its provider has broken off after some output."""
        return leg.measuring.bill(Outcome.UPSTREAM_FAILED, leg.attempt)

    def continued(self) -> None:
        """The current leg has broken off, and what it has written is written on by another."""
        leg = self.current
        assert leg is not None, "somebody has broken off"
        bill, error = self.broken_off(leg), leg.attempt.error
        del self._under_way[leg.number]
        self._winner = None
        code = str(Outcome.UPSTREAM_FAILED) if error is None else error.code
        self.log.end(leg, bill, code, won=True)
        self._continued.append((leg, bill))
        leg.measuring.forget_prompt()

    def answered(self) -> None:
        """The current leg has answered its part of the request, and another one follows."""
        leg = self.current
        assert leg is not None, "somebody has answered"
        bill = leg.measuring.bill(Outcome.COMPLETED, leg.attempt)
        del self._under_way[leg.number]
        self._winner = None
        self.log.end(leg, funds.on_the_house(bill), str(Outcome.COMPLETED), won=False)
        self._answered.append((leg, bill))
        leg.measuring.forget_prompt()

    def of_round(self, leg: Leg) -> funds.Bill:
        """What a leg comes to that has ended with calls of tools."""
        return leg.measuring.bill(Outcome.COMPLETED, leg.attempt)

    def ended_round(self, *, told: bool) -> None:
        """The current leg has asked for tools, and another one goes on from what they come to. What
        is `told` as it comes is charged; else nobody pays before the answer is whole."""
        leg = self.current
        assert leg is not None, "somebody has asked for them"
        bill = self.of_round(leg)
        if not told:
            self._rounds_nanodollars += bill.charge_nanodollars
            self.answered()
            return
        del self._under_way[leg.number]
        self._winner = None
        self.log.end(leg, bill, str(Outcome.COMPLETED), won=True)
        self._continued.append((leg, bill))
        leg.measuring.forget_prompt()

    @property
    def usage_before(self) -> Usage:
        """Of the legs that wrote what came before the current one."""
        usage = Usage()
        for _, bill in (*self._continued, *self._answered):
            usage = usage.plus(bill.usage)
        return usage

    def begin_anew(self) -> None:
        """What was answered is of no use: another deployment is asked for all."""
        self._answered.clear()

    def so_far(self) -> SoFar:
        """What has come of all legs, but for what a crash would bill nothing of: an answer in one
        piece, or one without output."""
        usage, charge, costs, tokens = Usage(), self.owed_nanodollars, self.log.costs, 0
        leg = self.current
        if leg is not None and leg.attempt.answered and leg.prepared.request.stream:
            attempt, measuring, deployment = leg.attempt, leg.measuring, leg.candidate.deployment
            meter = attempt.relay.meter
            meter.delivered_to(attempt.sink.delivered_bytes)  # it lets go of that
            if meter.has_output:
                tokens = meter.received_tokens()
                usage = measuring.usage_so_far(attempt, tokens)
                tier = measuring.service_tier(meter)
                charge += charge_nanodollars(usage, leg.candidate.model.price, tier)
                cost = charge_nanodollars(usage, deployment.cost, tier)
                costs += (CostLine(deployment.provider, cost),) if cost else ()
        for _, bill in self._continued:
            usage = bill.usage.plus(usage)
        number = 0 if leg is None else leg.number
        return SoFar(usage, charge, costs, number, tokens, self.log.figures)

    def received_tokens(self) -> int:
        """Of all of the answer."""
        return sum([leg.attempt.relay.meter.received_tokens() for leg in self._writers()])

    def output_tokens(self) -> tuple[int, int]:
        """Of all of the answer: received, and delivered."""
        received = delivered = 0
        for leg in self._writers():
            tokens = leg.attempt.relay.meter.received_tokens()
            received += tokens
            delivered += min(tokens, delivered_tokens(leg.attempt))
        return received, delivered

    def end(self, outcome: Outcome, code: str, *, drained: bool) -> funds.Bill:
        """The exchange has ended so, and all legs with it: what its answer comes to. `code` is of
        the current one; `drained`: all of that was read, though the client had left."""
        current, bill, self.counted_by = self.current, funds.NOTHING, None
        if len(self._under_way) > 1:
            for leg in [leg for leg in self._under_way.values() if leg is not current]:
                self.lost(leg, HEDGE_LOST)
        if current is not None:
            attempt, measuring = current.attempt, current.measuring
            bill = measuring.bill(outcome, attempt, drained=drained)
            won = bill.billed or (attempt.answered and attempt.relay.meter.has_output)
            self.log.end(current, bill, code, won=won)
            if bill.billed or not self._continued:
                self._note_counted_by(current, bill)
        if self._continued:
            for leg, earlier in self._continued:
                self._note_counted_by(leg, earlier)
            bill = funds.together([earlier for _, earlier in self._continued], bill)
        if self._answered and bill.billed:
            for leg, earlier in self._answered:
                self.log.charge(leg, earlier)
                self._note_counted_by(leg, earlier)
            bill = funds.together([earlier for _, earlier in self._answered], bill)
        if outcome is Outcome.GATEWAY_FAILED:
            self.log.uncharge()
            bill = funds.on_the_house(bill)
        return bill

    def reported(self) -> bool:
        """Whether a provider's own figures are billed: they may exceed what was held."""
        return any(leg.attempt.relay.meter.reported is not None for leg in self._writers())

    def _writers(self) -> list[Leg]:
        """Whoever has written of the answer."""
        legs = [leg for leg, _ in (*self._continued, *self._answered)]
        if (current := self.current) is not None:
            legs.append(current)
        return legs

    def _note_counted_by(self, leg: Leg, bill: funds.Bill) -> None:
        words = leg.measuring.counted_by(bill.measured)
        if words is not None and words != self.counted_by:
            told = [words] if self.counted_by is None else [words, self.counted_by]
            self.counted_by = "; ".join(told)
