"""The life of one call, from key to receipt.

`open_exchange` authenticates, admits, plans and holds; `Exchange` attempts and relays; leaving the
block settles, always and exactly once, in code without a checkpoint.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

import trio

from engine.admission.keys import Principal
from engine.attempt import Attempt
from engine.attempts import Attempts
from engine.billing import ExchangeBilling
from engine.conclusion import Conclusion, outcome_of
from engine.conversation import MediaKind
from engine.drain import Drain
from engine.errors import (
    GatewayError,
    NotAStreamError,
    ShutdownError,
    UnavailableError,
)
from engine.events import Call, Event, Head, Outcome
from engine.idempotency import Replay
from engine.ledger.receipts import Receipt
from engine.ledger.records import ProgressEntry
from engine.parsing.jobs import Prepared
from engine.parts import Parts
from engine.passage import Passage
from engine.protocols.codec import spell
from engine.pulling import Events
from engine.routing.plan import plan
from engine.sink import PullSink, Sink, wait_taken
from engine.uploads import Upload


@asynccontextmanager
async def open_exchange(parts: Parts, call: Call) -> AsyncIterator[Exchange]:
    """Admit a call and own it until the block is left.

    Raises:
        AuthenticationError: the key is missing or unknown.
        InvalidRequestError, ModelNotFoundError: the body cannot be served.
        InsufficientFundsError: the account does not cover a first slice.
        IdempotencyError: another request has, or had, its idempotency key.
        UnavailableError: the gateway takes no requests now, or cannot parse this one.
        ShutdownError: it stopped while the call was prepared.
    """
    # authenticate
    principal = parts.keys.authenticate(call.key)
    # admit
    if parts.stopping:
        raise UnavailableError("The gateway is stopping.", retry_after_s=1)
    if len(parts.open_exchanges) >= parts.config.server.exchanges_max:
        raise UnavailableError("The gateway is at its limit of open requests.", retry_after_s=1)
    # parse, plan
    upload, call = call.upload, call.opened()
    prepared = await parts.prepare(call)
    exchange = Exchange(parts, call, principal, prepared, upload)
    try:
        # hold
        if call.idempotency_key is None or not await exchange.replays(call):
            call = await exchange.inline_media(call, prepared.urls)
            exchange.begin()
            await exchange.fit(call)
        del call, prepared  # the exchange knows when their memory is not needed any more
        # attempt, relay
        yield exchange
    finally:
        # settle
        exchange.close()


class Exchange:
    """One admitted call: attempt, relay, settle."""

    def __init__(
        self,
        parts: Parts,
        call: Call,
        principal: Principal,
        prepared: Prepared,
        upload: Upload | None,
    ) -> None:
        self._parts = parts
        self._request_id = call.request_id
        self._request = prepared.request
        model = plan(self._request.model, parts.catalogue)
        deployment = model.deployments[0]
        self._provider = parts.providers[deployment.provider]
        self._passage = Passage(call, prepared, deployment, self._provider, parts.clock)
        self._billing = ExchangeBilling(
            parts.ledger,
            parts.config.billing,
            call=call,
            principal=principal,
            prepared=prepared,
            model=model,
            waive=self._provider.on_cancel == "waive",
            barrier_timeout_s=parts.config.storage.barrier_timeout_s,
            progress_due=parts.progress_due.set,
        )
        self._pulled = PullSink(parts.config.server.buffered_output_max_bytes, self._drained)
        self._attempts = Attempts(
            parts, prepared, upload, self._passage, self._billing, self._provider, self._pulled
        )
        self._conclusion = Conclusion(
            parts, self._request, self._passage, self._billing, self._attempts
        )
        self._head: Head | None = None
        self._refusal: GatewayError | None = None
        self._finished = False

    async def replays(self, call: Call) -> bool:
        """Take the call's idempotency key. True where its request was carried out before: then
        this exchange gives that one's answer and receipt, and owes nothing.

        Raises as `IdempotencyKeys.take`.
        """
        account_id, stream = self.receipt.account_id, self._request.stream
        taken = await self._parts.idempotency.take(account_id, call, stream=stream)
        if isinstance(taken, Replay):
            self._attempt.stop()
            self._head, self._conclusion.replayed = taken.head, taken.body
            self._billing.receipt = Receipt.from_json(taken.receipt)
            self._attempts.end_body()
            return True
        self._billing.idempotency = taken
        return False

    @property
    def replayed(self) -> bool:
        """The answer is that of an earlier request, whose receipt this is."""
        return self._conclusion.replayed is not None

    async def inline_media(self, call: Call, urls: Mapping[str, MediaKind]) -> Call:
        """The call with the media that its provider would not fetch. Nobody's URLs are fetched who
        could not pay for the answer.

        Raises:
            GatewayError: as `ExchangeBilling.check_funds` and `Inliner.fetch_all`.
        """
        if not urls or not self._parts.inliner.enabled:
            return call
        self._billing.check_funds()
        with self._parts.preliminaries.refused_at_end():
            try:
                found = await self._parts.inliner.fetch_all(urls, self.receipt.account_id)
            except GatewayError as error:
                error.param = spell("turns", self._passage.client.field_names)
                raise
        call = replace(call, inline=found)
        self._attempts.rewrite(await self._parts.prepare(call))
        return call

    @trio.lowlevel.enable_ki_protection
    def begin(self) -> None:
        """Hold funds; `close` is owed from now on. Raises as `ExchangeBilling.reserve`."""
        first = self._billing.reserve()
        self._attempts.limit(first.covered_tokens, first.lowered_limit)
        self._parts.open_exchanges[self._request_id] = self

    async def fit(self, call: Call) -> None:
        """Lower what the provider may generate to what the hold covers, where it must be.

        Raises:
            UnavailableError: the body cannot be written anew now.
        """
        limit = self._attempts.lowered_limit
        if limit is None:
            return
        try:
            self._attempts.rewrite(await self._parts.prepare(call, limit))
        except GatewayError as error:
            raise self._refused(Outcome.GATEWAY_FAILED, error) from None

    @property
    def _attempt(self) -> Attempt:
        return self._attempts.current

    @property
    def receipt(self) -> Receipt:
        """The account of this exchange; final after the block."""
        return self._billing.receipt

    @property
    def finished(self) -> bool:
        """All bytes for the client have been given out: settled, and durable or past waiting."""
        return self._finished

    async def head(self) -> Head:
        """Wait until the provider has begun to answer (or `commit_after_s`); status and headers.

        When this returns, the hold is durable. An answer in one piece is settled by then: its head
        says what it has cost.

        Raises:
            GatewayError: the attempt failed; the exchange is settled and nothing was charged.
        """
        if self._refusal is not None:
            raise self._refusal
        if self._head is None:
            with self._attempts.own_faults():
                try:
                    await self._attempts.dispatch()
                    await self._attempts.wait_committed()
                    if self._attempts.sent_again():
                        await self._attempts.dispatch()
                        await self._attempts.wait_committed()
                    self._check_failed()
                    self._attempts.forget_body()
                    if self._request.stream:
                        await self._billing.release_prompt()
                    await self._billing.wait_hold_durable()
                except UnavailableError as error:
                    raise self._refused(Outcome.GATEWAY_FAILED, error) from None
                self._billing.head_ready()
                self._head = await self._make_head()
        return self._head

    async def relay_to(self, sink: Sink) -> None:
        """Push bytes into a client's sink until the outcome is known and the ending is out."""
        await self.head()
        self._attempt.attach(sink)
        stall_s = self._parts.config.server.write_stall_s
        while not self._attempt.over:
            if self._attempt.held_up:
                await wait_taken(sink, stall_s)
                self._attempt.drained()
            else:
                await self._wait_relaying()
            if sink.gone:
                return
        await wait_taken(sink, stall_s)
        if not sink.gone:
            sink.send_nowait(await self._finish())
            await wait_taken(sink, stall_s)

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Pull the bytes for the client; the last ones come after the settlement is durable."""
        return self

    async def __anext__(self) -> bytes:
        await self.head()
        while True:
            if chunk := self._pulled.take():
                return chunk
            if self._finished:
                raise StopAsyncIteration
            if self._attempt.over:
                self._pulled.send_nowait(await self._finish())
            else:
                await self._wait_relaying()

    def events(self) -> AsyncIterator[Event]:
        """Pull canonical events instead of bytes, whatever the two protocols are.

        Asked for before anything else of the answer. The iterator raises the GatewayError that
        the answer ended with, after the events that came before it.
        """
        if (body := self._conclusion.replayed) is not None:
            tapped = deque(self._passage.client.decode_response(body))
        else:
            tapped = self._attempts.tap()
        return Events(self, tapped, lambda: self.error)

    @property
    def error(self) -> GatewayError | None:
        """What the answer ended with, where it did not end well."""
        return self._refusal or self._attempt.error or self._conclusion.error

    def progress(self) -> ProgressEntry | None:
        """What a crash would bill now, if that has changed. Never raises: others are asked too."""
        if self._attempt.crash is not None:
            return None
        try:
            return self._billing.progress()
        except Exception as error:  # noqa: BLE001
            self._attempt.crashed(error)
            return None

    @trio.lowlevel.enable_ki_protection
    def cancel(self) -> None:
        """End the stream here: the provider stops, what came is billed, and the client gets a
        valid ending with its usage. Nothing happens where the end has been reached already.

        Raises:
            NotAStreamError: an answer in one piece has no early ending.
        """
        if not self._request.stream:
            raise NotAStreamError(
                "Only a stream can be ended early; other answers come whole or not at all."
            )
        if self._attempt.over or not self._billing.owed:
            return
        self._attempts.stop()
        self._conclusion.cancel()

    @trio.lowlevel.enable_ki_protection
    def shut_down(self) -> None:
        """End it here because the gateway stops: what came is billed, and the client gets its
        protocol's error ending or, where no head has gone out, a refusal. Nothing happens where
        the end has been reached already."""
        if self._attempt.over or not self._billing.owed:
            return
        self._attempts.stop()
        self._conclusion.shut_down(ShutdownError())

    async def wait_settled(self) -> None:
        """Wait until the settlement is durable, or `barrier_timeout_s`. It has been settled."""
        await self._billing.wait_settlement_durable()

    @trio.lowlevel.enable_ki_protection
    def close(self) -> None:
        """Let go of the provider, and settle if the end has not been reached.

        A provider whose `on_cancel` is `drain` is read on without the client: then the gateway's
        own task settles, and this exchange is `settling` until it has.
        """
        attempt, request_id = self._attempt, self._request_id
        if self._parts.open_exchanges.get(request_id) is self:
            del self._parts.open_exchanges[request_id]
        drain = Drain(
            self._parts, self, self._provider, self._attempts, self._billing, self._conclusion
        )
        if drain.begin():
            self._pulled.abort()
            return
        attempt.close()
        self._attempts.end_body()
        self._pulled.abort()
        try:
            self._conclusion.settle_early()
        finally:
            self._conclusion.release_key()

    # attempt

    def _check_failed(self) -> None:
        attempt = self._attempt
        if attempt.crash is not None:
            raise self._refused(Outcome.GATEWAY_FAILED, GatewayError("The gateway failed."))
        if self._conclusion.error is not None and not attempt.relay.meter.has_output:
            raise self._refused(Outcome.SHUTDOWN, self._conclusion.error)
        if attempt.error is not None and not attempt.relay.meter.has_output:
            outcome = outcome_of(attempt.error)
            raise self._refused(outcome, attempt.error)

    def _refused(self, outcome: Outcome, error: GatewayError) -> GatewayError:
        self._attempt.close()
        if self._billing.owed:  # or it was ended by its receipt before this happened
            self._conclusion.settle(outcome, error)
        self._refusal = error
        return error

    async def _make_head(self) -> Head:
        attempt = self._attempt
        head = self._passage.head(
            attempt.header(b"content-type"),
            committed=attempt.committed,
            provider_request_id=attempt.provider_request_id,
        )
        if self._request.stream:
            return head
        await trio.lowlevel.checkpoint_if_cancelled()  # who has left by now pays nothing
        return await self._conclusion.whole(head)

    # relay

    async def _wait_relaying(self) -> None:
        """Wait for the attempt to change, and keep a silent stream alive meanwhile."""
        attempt, heartbeat_s = self._attempt, self._parts.config.server.heartbeat_s
        if not self._request.stream or not self._passage.client.heartbeat:
            await self._attempts.watch.wait_changed()
        elif not await self._attempts.watch.wait_changed(lambda: attempt.last_sent + heartbeat_s):
            attempt.keep_alive()

    def _drained(self) -> None:
        self._attempt.drained()

    # settle

    async def _finish(self) -> bytes:
        ending = await self._conclusion.ending()
        self._finished = True
        return ending
