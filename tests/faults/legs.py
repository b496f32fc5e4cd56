"""Exchanges of several attempts, cancelled one after another, and what must hold after each."""

from __future__ import annotations

from collections.abc import Callable

import trio
import trio.testing

from engine import Call, Exchange
from engine.ledger.receipts import Receipt
from tests.fleet import Fleet
from tests.gateways import assert_invariants, drain, settled

from .cancel_everywhere import CancelPoint, Whose, cancel_everywhere
from .quiet import count

Fair = Callable[[Fleet, Receipt, CancelPoint], None]


class Trial:
    """One call of a model, again and again; `spent` is what all of them have cost."""

    def __init__(
        self,
        fleet: Fleet,
        name: str,
        directives: str,
        assert_fair: Fair,
        ask: Callable[[], Call] | None = None,
    ) -> None:
        """`ask` makes the call, where it is no chat."""
        self._fleet = fleet
        self._name = name
        self._make = ask or (lambda: fleet.call(name, directives))
        self._assert_fair = assert_fair
        self._seen: list[Exchange] = []
        self.spent_nanodollars = 0

    async def ask(self) -> None:
        """To its end, if it gets there."""
        async with self._fleet.setup.gateway.open_exchange(self._make()) as exchange:
            self._seen.append(exchange)
            await drain(exchange)

    def take_receipt(self) -> Receipt:
        """Of the last exchange."""
        receipt = self._seen.pop().receipt
        self.spent_nanodollars += receipt.price_nanodollars
        return receipt

    async def cancel_everywhere(self, funds_nanodollars: int, seed: int, whose: Whose) -> int:
        """At every step; the checks after each. How many there were."""
        fleet = self._fleet
        gateway = fleet.setup.gateway
        await self._wait_ended()
        await trio.testing.wait_all_tasks_blocked(0.01)
        baseline = count()

        async def check(point: CancelPoint) -> None:
            await self._wait_ended()
            await baseline.wait_restored(point)
            origins = gateway._parts.pool.statistics().origins
            assert {(o.open_streams, o.waiting) for o in origins} == {(0, 0)}, point
            assert gateway.ledger.statistics().open_holds == 0, point
            while self._seen:
                self._assert_fair(fleet, self.take_receipt(), point)
            deployments = gateway.running.rules.catalogue[self._name].deployments
            rows = gateway._parts.health.rows(deployments, trio.current_time())
            assert [row.busy for row in rows] == [0, 0], point

        points = await cancel_everywhere(self.ask, check, seed=seed, whose=whose)
        assert await fleet.setup.balance() == funds_nanodollars - self.spent_nanodollars
        await assert_invariants(gateway)
        return points

    async def _wait_ended(self) -> None:
        """Of all that the providers were sent."""
        await settled(lambda: all(r.ended for sim in self._fleet.records() for r in sim))
