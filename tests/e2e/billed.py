"""The money of a conversation: every turn's receipt, and all of them against the balance."""

from __future__ import annotations

from dataclasses import dataclass

from bench.simulate import TruthRecord
from engine.events import Usage
from tests.gateways import DOLLAR, charge
from tests.served import Served


@dataclass(slots=True)
class Billed:
    """What the turns of a conversation have cost so far."""

    served: Served
    turns: int = 0
    spent_nanodollars: int = 0

    async def check_turn(self, request_id: str, read: Usage) -> TruthRecord:
        """A turn was billed as its client read it, which is what its provider generated; gives what
        the provider knows of it."""
        receipt = await self.served.receipt(request_id)
        assert (receipt["outcome"], receipt["provenance"]) == ("completed", "reported")
        told = read.units()
        beside = {unit: n for unit, n in receipt["usage"].items() if unit not in told}
        assert receipt["usage"] == told | beside
        record = self.served.setup.sim.truth.record(request_id)
        assert record is not None
        assert record.ended == "done"
        assert (read.input_tokens, read.output_tokens) == (
            record.input_tokens,
            record.tokens_generated,
        )
        assert beside == {unit: record.consumed[unit] for unit in beside}, "no client is told"
        price = charge(read.input_tokens, read.output_tokens)
        assert receipt["price"]["nanodollars"] == price
        self.turns += 1
        self.spent_nanodollars += price
        return record

    async def check_balance(self) -> None:
        """The account has paid for these turns, and for nothing else."""
        assert await self.served.setup.balance() == DOLLAR - self.spent_nanodollars
        assert len(self.served.setup.sim.truth.records()) == self.turns
