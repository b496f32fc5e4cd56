"""How one exchange ends: it is settled, once, and then its client gets the last bytes."""

from __future__ import annotations

import logging
import traceback

import trio

from engine.attempts import Attempts
from engine.billing import ExchangeBilling
from engine.errors import DeadlineError, GatewayError, UpstreamError
from engine.events import Head, Outcome, Usage
from engine.idempotency import stored_answer
from engine.ledger.receipts import Receipt, format_credits, format_usd
from engine.ledger.records import StoredAnswer
from engine.parts import Parts
from engine.passage import Passage
from engine.protocols.codec import ClientRequest
from engine.protocols.costs import ShownCost

logger = logging.getLogger(__name__)


class Conclusion:
    """Of one exchange."""

    def __init__(
        self,
        parts: Parts,
        request: ClientRequest,
        passage: Passage,
        billing: ExchangeBilling,
        attempts: Attempts,
    ) -> None:
        self._parts = parts
        self._request = request
        self._passage = passage
        self._billing = billing
        self._attempts = attempts
        self._ending: bytes | None = None
        self._head: Head | None = None
        self.error: GatewayError | None = None
        """Why the gateway itself has ended it."""
        self.replayed: bytes | None = None
        """What another request of the same key has got: nothing is settled."""

    def settle(
        self,
        outcome: Outcome,
        error: GatewayError | None = None,
        *,
        drained: bool = False,
        flags: tuple[str, ...] = (),
    ) -> Usage:
        """As `ExchangeBilling.settle`; a fault in it costs the client nothing."""
        try:
            usage = self._billing.settle(
                outcome, error, drained=drained, flags=flags, answer=self._kept
            )
        except Exception as fault:  # noqa: BLE001
            # What cannot be measured is not charged; the hold ends all the same.
            trace = "".join(traceback.format_tb(fault.__traceback__))
            logger.error("%s: a settlement failed\n%s", self._billing.receipt.request_id, trace)
            usage = self._billing.abandon(error)
        self._parts.telemetry.exchange_ended(self._billing.receipt)
        return usage

    def cancel(self) -> None:
        """The stream was ended by its receipt: settle what came, with a valid ending."""
        usage = self.settle(Outcome.CLIENT_LEFT, flags=("cancelled",))
        self._ending = self._with_cost(self._attempts.current.relay.cut(usage))

    def shut_down(self, error: GatewayError) -> None:
        """The gateway stops: settle what came, with the protocol's error ending."""
        self.error = error
        self.settle(Outcome.SHUTDOWN, error)
        self._ending = self._attempts.current.relay.fail(error)

    def settle_early(self) -> None:
        """The exchange is left: settle what came, unless its end was reached before."""
        attempt = self._attempts.current
        if not self._billing.owed:
            return
        # Cutting everything at once closes the provider's connections under open streams too.
        cut = self._parts.cutting and attempt.relay.meter.has_output
        if attempt.crash is not None:
            self.settle(Outcome.GATEWAY_FAILED)
        elif attempt.error is not None and not cut:  # it had failed before the client left
            self.settle(outcome_of(attempt.error), attempt.error)
        else:
            self.settle(Outcome.SHUTDOWN if self._parts.cutting else Outcome.CLIENT_LEFT)

    async def ending(self) -> bytes:
        """Settle what the end of the answer says; its last bytes, once that is durable."""
        if self.replayed is not None:
            await trio.lowlevel.checkpoint()
            return self.replayed
        with self._attempts.own_faults():
            ending = self._conclude()
            await self._billing.wait_settlement_durable()
        return ending

    async def whole(self, head: Head) -> Head:
        """The head of an answer in one piece, which is settled: it says what that has cost."""
        self._head = head
        ending = await self.ending()
        return self._whole_head(head, ending)

    def _whole_head(self, head: Head, body: bytes) -> Head:
        cost = []
        if self._parts.config.billing.show_cost:
            shown = shown_cost(self._billing.receipt)
            cost = [
                (b"x-parshall-cost", shown.usd.encode()),
                (b"x-credits-used", shown.credits.encode()),
            ]
        length = (b"content-length", str(len(body)).encode())
        return Head(head.status, (*head.headers, *cost, length))

    def release_key(self) -> None:
        """The exchange is over: its idempotency key is not taken any more."""
        known, self._billing.idempotency = self._billing.idempotency, None
        if known is not None:
            self._parts.idempotency.release(self._billing.receipt.account_id, known.key)

    def _kept(self) -> StoredAnswer | None:
        """What is given again when the request is repeated."""
        completed = self._billing.receipt.outcome is Outcome.COMPLETED
        if self._head is None or self._billing.idempotency is None or not completed:
            return None
        body = self._with_cost(self._attempts.current.relay.finish())
        return stored_answer(self._whole_head(self._head, body), body)

    @trio.lowlevel.enable_ki_protection
    def _conclude(self) -> bytes:
        attempt = self._attempts.current
        attempt.close()
        if self._ending is None:
            self._ending = self._settled_ending()
        return self._ending

    def _settled_ending(self) -> bytes:
        attempt = self._attempts.current
        relayed = attempt.relay
        if attempt.crash is not None:
            error = GatewayError("The gateway failed.")
            self.settle(Outcome.GATEWAY_FAILED, error)
            return relayed.fail(error)
        if attempt.error is not None:
            self.settle(outcome_of(attempt.error), attempt.error)
            return relayed.fail(attempt.error)
        if relayed.exhausted:
            return self._with_cost(relayed.cut(self.settle(Outcome.FUNDS_EXHAUSTED)))
        self.settle(Outcome.COMPLETED)
        return self._with_cost(relayed.finish())

    def _with_cost(self, ending: bytes) -> bytes:
        request = self._request
        asked = request.include_usage or not request.stream
        if not asked or not self._parts.config.billing.show_cost:
            return ending
        return self._passage.client.add_cost(ending, shown_cost(self._billing.receipt), request)


def shown_cost(receipt: Receipt) -> ShownCost:
    """What a client is told that it paid.

    >>> shown_cost(Receipt("r", "a", None, 0, "chat", "openai_chat", True, "m")).usd
    '0'
    """
    price = receipt.price_nanodollars
    whole = format_usd(price).rstrip("0").rstrip(".")
    return ShownCost(whole, format_credits(price, receipt.credits_per_usd))


def outcome_of(error: UpstreamError) -> Outcome:
    """What an exchange ends as whose provider has failed."""
    return Outcome.DEADLINE if isinstance(error, DeadlineError) else Outcome.UPSTREAM_FAILED
