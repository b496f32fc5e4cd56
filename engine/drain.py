"""Reading an answer on without its client, for the provider's own figures."""

from __future__ import annotations

import math

import trio

from engine.attempts import Attempts
from engine.billing import ExchangeBilling
from engine.conclusion import Conclusion, outcome_of
from engine.events import Outcome
from engine.parts import OpenExchange, Parts


class Drain:
    """Of one exchange whose client has left. The gateway's own task reads on, and settles; until it
    has, the exchange is `settling`."""

    def __init__(
        self,
        parts: Parts,
        exchange: OpenExchange,
        attempts: Attempts,
        billing: ExchangeBilling,
        conclusion: Conclusion,
    ) -> None:
        self._parts = parts
        self._exchange = exchange
        self._request_id = exchange.receipt.request_id
        self._attempts = attempts
        self._leg = attempts.current
        self._billing = billing
        self._conclusion = conclusion

    def begin(self) -> bool:
        """Take the exchange over, if its provider's policy says so and there is something to read
        on; no checkpoint. Only one of two attempts is read on."""
        parts, provider, attempt = self._parts, self._leg.provider, self._leg.attempt
        of_job = self._billing.of_job
        if not (provider.on_cancel == "drain" or of_job):
            return False
        if parts.stopping or not self._billing.owed or not attempt.under_way:
            return False
        if of_job and attempt.relay.accepted is not None:
            return False  # it goes on without anybody who reads it
        account_id = self._exchange.receipt.account_id
        if not parts.drains.adopt(account_id, self._read_on, needed=of_job):
            return False
        parts.draining[self._request_id] = self._exchange
        try:
            self._attempts.settle_on_one()
            self._billing.client_left()
        except Exception as error:  # noqa: BLE001
            attempt.crashed(error)
        attempt.detach(provider.cancel_drain_tokens)
        return True

    async def _read_on(self) -> None:
        attempt = self._leg.attempt
        try:
            drain_s = self._leg.provider.cancel_drain_s
            of_job = self._billing.of_job
            with trio.move_on_after(math.inf if of_job else drain_s):
                while not (attempt.over or (of_job and attempt.relay.accepted is not None)):
                    await self._leg.watch.wait_changed()
        except Exception as error:  # noqa: BLE001
            attempt.crashed(error)
        finally:
            self._settle()

    @trio.lowlevel.enable_ki_protection
    def _settle(self) -> None:
        attempt = self._leg.attempt
        del self._parts.draining[self._request_id]
        self._attempts.close()
        self._attempts.end_body()
        try:
            if not self._billing.owed:
                return
            if self._billing.of_job and attempt.crash is None:
                self._end_submit()
            elif attempt.crash is not None:
                self._conclusion.settle(Outcome.GATEWAY_FAILED)
            else:
                whole = attempt.relay.terminal and attempt.error is None
                self._conclusion.settle(Outcome.CLIENT_LEFT, drained=whole)
        finally:
            self._conclusion.release_key()

    def _end_submit(self) -> None:
        """Of a job: whoever asked for it and has left finds it among those of the account."""
        attempt = self._leg.attempt
        if attempt.relay.accepted is None and (error := attempt.error) is not None:
            self._conclusion.settle(outcome_of(error), error)
        else:
            self._conclusion.settle_early()
