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
from engine.ledger.owned_rows import OwnedRow
from engine.ledger.receipts import Receipt, format_credits, format_usd
from engine.ledger.records import StoredAnswer
from engine.parts import Parts
from engine.passage import header_text
from engine.protocols.codec import ClientRequest
from engine.protocols.costs import ShownCost
from engine.protocols.operation import OperationCodec
from engine.recording import keep_made, keeps, kept_rows
from engine.rounds import Limit
from engine.wire.http import Headers

logger = logging.getLogger(__name__)


class Conclusion:
    """Of one exchange."""

    def __init__(
        self,
        parts: Parts,
        request: ClientRequest,
        billing: ExchangeBilling,
        attempts: Attempts,
    ) -> None:
        self._parts = parts
        self._request = request
        self._billing = billing
        self._attempts = attempts
        self._ending: bytes | None = None
        self._head: Head | None = None
        self._shown: ShownCost | None = None
        self.error: GatewayError | None = None
        """Why the gateway itself has ended it."""
        self.cancelled = False
        """It was ended by its receipt."""
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
                outcome, error, drained=drained, flags=flags, answer=self._kept, owned=self._owned
            )
        except Exception as fault:  # noqa: BLE001
            # What cannot be measured is not charged; the hold ends all the same.
            trace = "".join(traceback.format_tb(fault.__traceback__))
            logger.error("%s: a settlement failed\n%s", self._billing.receipt.request_id, trace)
            usage = self._billing.abandon(error)
            self._shown = None  # what was to be paid
        self._parts.telemetry.exchange_ended(self._billing.receipt)
        return usage

    def cancel(self) -> None:
        """The stream was ended by its receipt: settle what came, with a valid ending."""
        self.cancelled = True
        usage = self.settle(Outcome.CLIENT_LEFT, flags=("cancelled",))
        self._ending = self._with_cost(self._attempts.current.attempt.relay.cut(usage))

    def shut_down(self, error: GatewayError, *flags: str) -> None:
        """The gateway stops, or an operator ends it: settle what came, with the protocol's error
        ending."""
        self.error = error
        self.settle(Outcome.SHUTDOWN, error, flags=flags)
        self._ending = self._attempts.current.attempt.relay.fail(error)

    def hand_over(self) -> bytes:
        """A provider has taken the job that was asked for: it is that one's to be settled. Returns
        the answer, where that is in one piece."""
        leg = self._attempts.current
        accepted, body, answer = leg.attempt.relay.accepted, b"", None
        assert accepted is not None, "somebody has taken it"
        if not self._request.stream:
            head, body = self._head or self.head(), leg.attempt.relay.finish()
        if body and self._billing.idempotency is not None:
            answer = stored_answer(self._whole_head(head, body), body)
        self._billing.hand_over(accepted, self._parts.jobs, answer)
        if self._request.stream and leg.attempt.over:  # it may have ended as well
            run_or_response = accepted.provider_job_id.rpartition("/")[2]
            self._parts.jobs.hint(leg.candidate.deployment.provider, run_or_response)
        return body

    def leave_behind(self, error: GatewayError | None = None) -> None:
        """A provider was asked for a job, and what it says is not waited for any more: what comes
        of it is found out without this exchange."""
        self.error = self.error or error
        relay = self._attempts.current.attempt.relay
        if relay.accepted is not None:
            self.hand_over()
        else:
            self._billing.keep_job(self._parts.jobs)
        if self.error is not None and self._request.stream:
            self._ending = relay.fail(self.error)

    def settle_early(self) -> None:
        """The exchange is left: settle what came, unless its end was reached before."""
        attempt = self._attempts.current.attempt
        if not self._billing.owed:
            return
        if attempt.relay.accepted is not None and attempt.crash is None:
            self.hand_over()
            return
        if self._billing.of_job and attempt.under_way:
            self.leave_behind()
            return
        # Cutting everything at once closes the provider's connections under open streams too.
        cut = self._parts.cutting and attempt.relay.meter.has_output
        if attempt.crash is not None:
            self.settle(Outcome.GATEWAY_FAILED)
        elif (error := self._attempts.error) is not None and not cut:  # before the client left
            self.settle(outcome_of(error), error)
        else:
            self.settle(Outcome.SHUTDOWN if self._parts.cutting else Outcome.CLIENT_LEFT)

    def head(self) -> Head:
        """The head of the answer: who gives it, once that is sure."""
        leg = self._attempts.current
        if not self._attempts.committed:
            return leg.passage.head()
        head = leg.passage.head(
            leg.attempt.header(b"content-type"),
            provider_request_id=leg.attempt.provider_request_id,
            sure=True,
        )
        return Head(head.status, (*head.headers, *route_headers(self._billing.receipt)))

    async def ending(self) -> bytes:
        """Settle what the end of the answer says; its last bytes, once that is durable."""
        if self.replayed is not None:
            await trio.lowlevel.checkpoint()
            return self.replayed
        with self._attempts.own_faults():
            ending = self._conclude()
            await self._billing.wait_settlement_durable()
            await keep_made(self._parts.files, self._attempts.current, self._billing.receipt)
        return ending

    async def whole(self, head: Head) -> Head:
        """The head of an answer in one piece, which is settled: it says what that has cost."""
        self._head = head
        ending = await self.ending()
        return self._whole_head(head, ending)

    def _whole_head(self, head: Head, body: bytes) -> Head:
        cost = []
        if self._parts.config.billing.show_cost and not self._billing.of_job:
            shown = self._shown_cost()
            cost = [
                (b"x-parshall-cost", shown.usd.encode()),
                (b"x-credits-used", shown.credits.encode()),
            ]
            if shown.savings is not None:
                cost.append((b"x-parshall-savings", shown.savings.encode()))
        length = (b"content-length", str(len(body)).encode())
        return Head(head.status, (*head.headers, *cost, length))

    def release_key(self) -> None:
        """The exchange is over: its idempotency key is not taken any more."""
        known, self._billing.idempotency = self._billing.idempotency, None
        if known is not None:
            self._parts.idempotency.release(self._billing.receipt.account_id, known.key)

    def _owned(self, usage: Usage) -> tuple[OwnedRow, ...]:
        """What the account has at the provider by the answer."""
        leg = self._attempts.current
        if not keeps(leg):
            return ()
        return kept_rows(leg, self._billing.receipt, self._parts.clock(), usage)

    def _kept(self) -> StoredAnswer | None:
        """What is given again when the request is repeated."""
        completed = self._billing.receipt.outcome is Outcome.COMPLETED
        if self._head is None or self._billing.idempotency is None or not completed:
            return None
        body = self._finished()
        return stored_answer(self._whole_head(self._head, body), body)

    @trio.lowlevel.enable_ki_protection
    def _conclude(self) -> bytes:
        self._attempts.close()
        if self._ending is None:
            self._ending = self._settled_ending()
        return self._ending

    def _settled_ending(self) -> bytes:
        attempt = self._attempts.current.attempt
        relayed = attempt.relay
        taken = relayed.accepted is not None
        if taken and not self._request.stream and self._billing.owed:
            return self.hand_over()
        if attempt.crash is not None:
            error = GatewayError("The gateway failed.")
            self.settle(Outcome.GATEWAY_FAILED, error)
            return relayed.fail(error)
        if self._attempts.at_limit:
            return self._with_cost(relayed.cut(self.settle(Outcome.COMPLETED)))
        if attempt.error is not None:
            if taken:  # its provider goes on with it, or says what it has come to
                self.hand_over()
            else:
                self.settle(outcome_of(attempt.error), attempt.error)
            return relayed.fail(attempt.error)
        rounds = self._attempts.rounds
        if rounds is not None and rounds.limit is not None:
            return self._cut_agent(rounds.limit)
        if taken and relayed.meter.reported is None:  # it has come to more than its stream says
            self.hand_over()
            return relayed.finish()
        if relayed.exhausted:
            return self._with_cost(relayed.cut(self.settle(Outcome.FUNDS_EXHAUSTED)))
        self.settle(Outcome.COMPLETED)
        return self._finished()

    def _cut_agent(self, limit: Limit) -> bytes:
        """The end of an agent's answer whose model would have gone on."""
        outcome = Outcome.FUNDS_EXHAUSTED if limit == "funds" else Outcome.COMPLETED
        usage = self.settle(outcome, flags=(f"agent_{limit}",))
        if limit == "rounds" or not self._request.stream:
            return self._finished()
        return self._with_cost(self._attempts.current.attempt.relay.cut(usage))

    def _finished(self) -> bytes:
        """The end of an answer that is whole, and settled."""
        leg = self._attempts.current
        ending, client = leg.attempt.relay.finish(), leg.passage.client
        made_here = self._attempts.joined or not leg.passage.verbatim
        if made_here and isinstance(client, OperationCodec):
            ending = client.add_usage(ending, self._billing.receipt.usage)
        return self._with_cost(ending)

    def _with_cost(self, ending: bytes) -> bytes:
        request = self._request
        asked = request.include_usage or not request.stream
        if not asked or not self._parts.config.billing.show_cost:
            return ending
        client = self._attempts.current.passage.client
        return client.add_cost(ending, self._shown_cost(), request)

    def _shown_cost(self) -> ShownCost:
        """Of an exchange that is settled."""
        if self._shown is None:
            self._shown = shown_cost(self._billing.receipt)
        return self._shown


def shown_cost(receipt: Receipt) -> ShownCost:
    """What a client is told that it paid.

    >>> shown_cost(Receipt("r", "a", None, 0, "chat", "openai_chat", True, "m")).usd
    '0'
    """
    price, savings = receipt.price_nanodollars, receipt.savings_nanodollars
    return ShownCost(
        _short(price),
        format_credits(price, receipt.credits_per_usd),
        None if savings is None else _short(savings),
    )


def _short(amount_nanodollars: int) -> str:
    return format_usd(amount_nanodollars).rstrip("0").rstrip(".")


def route_headers(receipt: Receipt) -> Headers:
    """Who serves, and who was to: for the head of an answer whose attempt is sure."""
    headers = [(b"x-parshall-provider", header_text(receipt.provider or ""))]
    route = receipt.route
    if route is not None and route.fallback_from is not None:
        headers.append((b"x-fallback-from", header_text(route.fallback_from)))
        headers.append((b"x-fallback-depth", str(route.fallback_depth).encode()))
    return headers


def outcome_of(error: UpstreamError) -> Outcome:
    """What an exchange ends as whose provider has failed."""
    return Outcome.DEADLINE if isinstance(error, DeadlineError) else Outcome.UPSTREAM_FAILED
