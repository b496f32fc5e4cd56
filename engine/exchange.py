"""The life of one call, from key to receipt.

`open_exchange` authenticates, admits, plans and holds; `Exchange` attempts and relays; leaving the
block settles, always and exactly once, in code without a checkpoint.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import trio

from engine.admitting import Choice, admit_call, check_jobs, check_kept, check_room
from engine.agent import Agent
from engine.agent_calls import brief_call
from engine.attempt import Attempt
from engine.attempts import Attempts
from engine.billing import ExchangeBilling
from engine.conclusion import Conclusion, outcome_of
from engine.conversation import MediaKind
from engine.drain import Drain
from engine.errors import (
    EndedByOperatorError,
    GatewayError,
    NotAStreamError,
    ShutdownError,
    UnavailableError,
)
from engine.events import Call, Event, Head, Outcome
from engine.idempotency import Replay
from engine.ledger.receipts import Receipt
from engine.ledger.records import ProgressEntry
from engine.leg import measuring_of
from engine.parsing.jobs import AgentNamedError, Prepared
from engine.parts import Parts
from engine.protocols.codec import AnswersPlainly
from engine.pulling import Events
from engine.request_files import NamedFiles, prepare_first
from engine.reserving import TokenReserve
from engine.rules import Admitted
from engine.sink import PullSink, Sink, wait_taken
from engine.uploads import Upload


@asynccontextmanager
async def open_exchange(
    parts: Parts, call: Call, admitted: Admitted | None = None
) -> AsyncIterator[Exchange]:
    """Admit a call and own it until the block is left.

    Who was `admitted` before the body came is looked at again, and served by the rules of then.

    Raises:
        AuthenticationError: the key is missing, unknown, revoked or expired.
        PermissionDeniedError: the key is not for this, or is switched off.
        RateLimitedError, ConcurrencyLimitedError: the key or the account is at a limit.
        InvalidRequestError: the body cannot be served.
        GatewayError: as `Choice`, for the model.
        InsufficientFundsError: the account does not cover a first slice.
        OwnedLimitError: a provider keeps as much for it as it may.
        IdempotencyError: another request has, or had, its idempotency key.
        UnavailableError: the gateway takes no requests now, or cannot parse this one.
        ShutdownError: it stopped while the call was prepared.
    """
    # authenticate
    admitted = await admit_call(parts, call, admitted)
    parts = parts.pinned(admitted.rules)
    # admit
    check_room(parts, len(parts.open_exchanges))
    async with parts.limiter.slot(admitted.demand):
        # parse, plan
        upload, call = call.upload, call.opened()
        choose = Choice(parts, admitted, call.source)
        account_id = admitted.entry.principal.account_id
        agent = None
        try:
            prepared, call, files = await prepare_first(parts, call, choose, account_id)
        except AgentNamedError as error:
            agent, call = await brief_call(parts, call, error.use, account_id)
            prepared, call, files = await prepare_first(parts, call, choose, account_id)
        if prepared.request.stores or prepared.request.thoughts:
            await check_kept(parts, account_id, choose.plan, prepared)
        exchange = Exchange(parts, call, admitted, choose, prepared, upload, files, agent)
        try:
            # hold
            if call.idempotency_key is None or not await exchange.replays(call):
                await exchange.hold(call, prepared.urls)
            del call, prepared, files  # the exchange knows when their memory is not needed any more
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
        admitted: Admitted,
        choose: Choice,
        prepared: Prepared,
        upload: Upload | None,
        files: NamedFiles | None = None,
        agent: Agent | None = None,
    ) -> None:
        self._parts = parts
        self._request_id = call.request_id
        self._request = prepared.request
        plan = choose.plan
        candidate = plan.candidates[prepared.target]
        measuring = measuring_of(parts, candidate, prepared)
        self._billing = ExchangeBilling(
            parts.ledger,
            parts.config.billing,
            call=call,
            principal=admitted.entry.principal,
            prepared=prepared,
            plan=plan,
            candidate=candidate,
            measuring=measuring,
            model=parts.catalogue[self._request.model].name,
            reference=choose.reference,
            tokens=TokenReserve(parts.limiter, admitted.demand),
            barrier_timeout_s=parts.config.storage.barrier_timeout_s,
            job_timeout_s=parts.config.jobs.timeout_s,
            progress_due=parts.progress_due.set,
        )
        self._pulled: PullSink | None = None
        """Where bytes wait for whoever pulls them."""
        self._attempts = Attempts(
            parts, call, prepared, measuring, upload, self._billing, choose, files, agent
        )
        self._conclusion = Conclusion(parts, self._request, self._billing, self._attempts)
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
            self._attempts.stop()
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

    async def hold(self, call: Call, urls: Mapping[str, MediaKind]) -> None:
        """Take what the answer is expected to need: of the tokens a minute, and of the funds;
        `close` is owed from then on.

        Raises:
            GatewayError: as `ExchangeBilling.reserve_tokens` and `reserve`, `Attempts.inline_media`
                and `fit`.
        """
        await self._billing.reserve_tokens()
        call = await self._attempts.inline_media(call, urls)
        self._begin()
        try:
            await self._attempts.fit(call)
        except GatewayError as error:
            raise self._refused(Outcome.GATEWAY_FAILED, error) from None

    @trio.lowlevel.enable_ki_protection
    def _begin(self) -> None:
        if (ask := self._request.job) is not None:
            check_jobs(self._parts, self.receipt.account_id, ask)
        first = self._billing.reserve()
        covered = None if self._billing.of_job else first.covered_tokens
        self._attempts.limit(covered, first.lowered_limit)
        self._parts.open_exchanges[self._request_id] = self

    @property
    def _attempt(self) -> Attempt:
        return self._attempts.current.attempt

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
                    await self._attempts.run()
                    self._check_failed()
                    self._attempts.let_go()
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
        attempts = self._attempts
        attempts.serve(sink)
        stall_s = self._parts.config.server.write_stall_s
        while not attempts.over:
            if attempts.held_up:
                await wait_taken(sink, stall_s)
                self._attempt.drained()
            else:
                await attempts.step()
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
        pulled, attempts = self._pulled, self._attempts
        if pulled is None:
            high_water_bytes = self._parts.config.server.buffered_output_max_bytes
            self._pulled = pulled = PullSink(high_water_bytes, self._drained)
            attempts.serve(pulled, pulled=True)
        while True:
            if chunk := pulled.take():
                return chunk
            if self._finished:
                raise StopAsyncIteration
            if attempts.over:
                pulled.send_nowait(await self._finish())
            else:
                await attempts.step()

    def events(self) -> AsyncIterator[Event]:
        """Pull canonical events instead of bytes, whatever the two protocols are.

        Asked for before anything else of the answer. The iterator raises the GatewayError that
        the answer ended with, after the events that came before it.
        """
        if (body := self._conclusion.replayed) is not None:
            client = self._attempts.current.passage.client
            if self._request.answer_type is not None and isinstance(client, AnswersPlainly):
                told = deque(client.decode_plain(body))
            else:
                told = deque(client.decode_response(body))
            return Events(self, lambda: told, lambda: self.error)
        self._attempts.tap()
        return Events(self, self._attempts.tapped, lambda: self.error)

    @property
    def broken_off(self) -> bool:
        """The answer has ended before its end, and its format could not say so."""
        ended = self.error is not None or self._conclusion.cancelled
        return ended and self._request.answer_type is not None

    @property
    def error(self) -> GatewayError | None:
        """What the answer ended with, where it did not end well."""
        return self._refusal or self._attempts.error or self._conclusion.error

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
            NotAStreamError: an answer in one piece has no early ending, and what its provider goes
                on with by itself does not end with its stream.
        """
        if self._billing.of_job:
            raise NotAStreamError(
                "What is made in the background goes on without its stream; cancel it by its id."
            )
        if not self._request.stream:
            raise NotAStreamError(
                "Only a stream can be ended early; other answers come whole or not at all."
            )
        if self._stop():
            self._conclusion.cancel()

    @trio.lowlevel.enable_ki_protection
    def shut_down(self) -> None:
        """End it here because the gateway stops: what came is billed, and the client gets its
        protocol's error ending or, where no head has gone out, a refusal. Nothing happens where
        the end has been reached already."""
        self._end_by_us(ShutdownError())

    @trio.lowlevel.enable_ki_protection
    def end_by_operator(self) -> None:
        """As `shut_down`, because an operator wants it; the receipt says so."""
        self._end_by_us(EndedByOperatorError(), "ended_by_operator")

    async def wait_settled(self) -> None:
        """Wait until the settlement is durable, or `barrier_timeout_s`. It has been settled."""
        await self._billing.wait_settlement_durable()

    @trio.lowlevel.enable_ki_protection
    def close(self) -> None:
        """Let go of the provider, and settle if the end has not been reached.

        A provider whose `on_cancel` is `drain` is read on without the client: then the gateway's
        own task settles, and this exchange is `settling` until it has.
        """
        request_id = self._request_id
        if self._parts.open_exchanges.get(request_id) is self:
            del self._parts.open_exchanges[request_id]
        if self._pulled is not None:
            self._pulled.abort()
        drain = Drain(self._parts, self, self._attempts, self._billing, self._conclusion)
        if drain.begin():
            return
        self._attempts.close()
        self._attempts.end_body()
        try:
            self._conclusion.settle_early()
        finally:
            self._billing.release_tokens()
            self._conclusion.release_key()

    # attempt

    def _check_failed(self) -> None:
        attempt = self._attempt
        if attempt.relay.accepted is not None:
            return
        if attempt.crash is not None:
            raise self._refused(Outcome.GATEWAY_FAILED, GatewayError("The gateway failed."))
        if attempt.relay.meter.has_output:
            return
        if self._conclusion.error is not None:
            raise self._refused(Outcome.SHUTDOWN, self._conclusion.error)
        if (error := self._attempts.error) is not None:
            raise self._refused(outcome_of(error), error)

    def _stop(self) -> bool:
        if not self._goes_on:
            return False
        self._attempts.stop()
        return True

    @property
    def _goes_on(self) -> bool:
        """The end has not been reached already."""
        self._attempts.look()
        return not self._attempts.over and self._billing.owed

    def _end_by_us(self, error: GatewayError, *flags: str) -> None:
        if self._billing.of_job and self._attempt.under_way:
            if self._goes_on:
                self._conclusion.leave_behind(error)
                self._attempts.stop()
        elif self._stop():
            self._conclusion.shut_down(error, *flags)

    def _refused(self, outcome: Outcome, error: GatewayError) -> GatewayError:
        self._attempts.close()
        if self._billing.owed:  # or it was ended by its receipt before this happened
            self._conclusion.settle(outcome, error)
        self._refusal = error
        return error

    async def _make_head(self) -> Head:
        head = self._conclusion.head()
        if self._request.stream:
            return head
        await trio.lowlevel.checkpoint_if_cancelled()  # who has left by now pays nothing
        return await self._conclusion.whole(head)

    # relay

    def _drained(self) -> None:
        self._attempt.drained()

    # settle

    async def _finish(self) -> bytes:
        ending = await self._conclusion.ending()
        self._finished = True
        return ending
