"""What the receipt of an exchange tells of its attempts, and when what happened."""

from __future__ import annotations

from dataclasses import replace

import trio

from engine import funds
from engine.ledger.receipts import Attempt as AttemptReceipt
from engine.ledger.receipts import Timings
from engine.ledger.records import AttemptFigures, AttemptRow, CostLine
from engine.leg import Leg


class AttemptLog:
    """Of one exchange, begun when its request arrives.

    Attributes:
        rows: of all attempts, in the order of their dispatches.
    """

    __slots__ = ("_ended", "_noted_ms", "_started", "rows")

    def __init__(self) -> None:
        self._noted_ms: dict[str, float | None] = {}
        self._started = trio.current_time()
        self._ended: dict[int, AttemptReceipt] = {}
        self.rows: list[AttemptRow] = []

    def begin(self, leg: Leg, at_ms: int) -> AttemptRow:
        """An attempt goes out, and has a number from now on."""
        candidate = leg.candidate
        leg.number, leg.begun_at = len(self.rows) + 1, trio.current_time()
        row = AttemptRow(
            leg.number,
            candidate.deployment.provider,
            candidate.deployment.upstream_model,
            at_ms,
            leg.role,
            candidate.model.name,
        )
        self.rows.append(row)
        return row

    def take_back(self, leg: Leg) -> None:
        """The last one does not go out after all."""
        self.rows.pop()
        leg.number, leg.begun_at = 0, 0.0

    def end(self, leg: Leg, bill: funds.Bill, outcome: str, *, won: bool) -> None:
        """An attempt has ended; it `won` where what it generated is the answer or a part of it."""
        attempt, measured = leg.attempt, bill.measured
        row = self.rows[leg.number - 1]
        self._ended[row.number] = AttemptReceipt(
            number=row.number,
            provider=row.provider,
            upstream_model=row.upstream_model,
            role=row.role,
            status=attempt.status,
            outcome=outcome,
            provider_request_id=attempt.provider_request_id,
            started_ms=self._ms(leg.begun_at),
            first_byte_ms=None if attempt.answered_at is None else self._ms(attempt.answered_at),
            ended_ms=self._ms(trio.current_time()),
            cost_nanodollars=bill.cost_nanodollars,
            won=won,
            usage=measured.usage.units() if attempt.answered else {},
            usage_provenance=measured.provenance,
            price_nanodollars=bill.charge_nanodollars,
        )

    def charge(self, leg: Leg, bill: funds.Bill) -> None:
        """One that has ended is a part of the answer after all, and this is charged for it."""
        ended = self._ended[leg.number]
        self._ended[leg.number] = replace(
            ended, won=True, price_nanodollars=bill.charge_nanodollars
        )

    def end_rest(self, outcome: str) -> None:
        """Whatever has not ended has ended so; what it came to is not known."""
        for row in self.rows:
            if row.number not in self._ended:
                self._ended[row.number] = replace(self._begun(row), outcome=outcome)

    def uncharge(self) -> None:
        """The exchange has failed for a fault of ours: what its attempts came to is the house's."""
        self._ended = {
            number: replace(each, price_nanodollars=0) for number, each in self._ended.items()
        }

    def note(self, *names: str) -> None:
        """This happens now; fields of `Timings`."""
        now_ms = self._ms(trio.current_time())
        for name in names:
            self._noted_ms[name] = now_ms

    @property
    def timings(self) -> Timings:
        """Milliseconds from the request's arrival to what has been noted, and to the first byte of
        the answer; where there is none, of the last attempt."""
        first_byte_ms = None
        for number in sorted(self._ended):
            told = self._ended[number]
            first_byte_ms = told.first_byte_ms
            if told.won:
                break
        return Timings(**self._noted_ms, first_byte_ms=first_byte_ms)

    @property
    def receipts(self) -> tuple[AttemptReceipt, ...]:
        """All attempts; those that have not ended are running."""
        ended = self._ended
        return tuple(
            [ended[row.number] if row.number in ended else self._begun(row) for row in self.rows]
        )

    @property
    def costs(self) -> tuple[CostLine, ...]:
        """What the attempts that have ended cost."""
        ended = self._ended.values()
        costs = [
            CostLine(each.provider, each.cost_nanodollars)
            for each in ended
            if each.cost_nanodollars
        ]
        return tuple(costs)

    @property
    def figures(self) -> tuple[AttemptFigures, ...]:
        """The attempts that have ended and come to something."""
        return tuple(
            AttemptFigures(
                each.number, each.usage, each.price_nanodollars, each.cost_nanodollars, each.won
            )
            for each in self._ended.values()
            if each.usage
        )

    @staticmethod
    def _begun(row: AttemptRow) -> AttemptReceipt:
        return AttemptReceipt(row.number, row.provider, row.upstream_model, role=row.role)

    def _ms(self, at: float) -> float:
        return (at - self._started) * 1_000
