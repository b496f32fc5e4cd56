"""The attempts of one exchange: one as a rule, another one after a failure, two at once.

Here are the waits; `engine.course` decides what follows from what has come.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial

import trio

from engine.conversation import MediaKind
from engine.course import Course
from engine.errors import GatewayError, UnavailableError, UpstreamError, UpstreamTimeoutError
from engine.events import Call
from engine.leg import Leg
from engine.racing import race
from engine.retrying import Again
from engine.rounds import Rounds
from engine.upstream.errors import NoStreamInTimeError
from engine.watch import wait_changed

_Begin = Callable[[], Awaitable[None]]


class Attempts(Course):
    """Of one exchange."""

    async def inline_media(self, call: Call, urls: Mapping[str, MediaKind]) -> Call:
        """As `Preparing.inline_media`, for the first attempt."""
        return await self._preparing.inline_media(self.current, call, urls)

    async def fit(self, call: Call) -> None:
        """As `Preparing.fit`, for the first attempt."""
        await self._preparing.fit(self.current, call)

    async def run(self) -> None:
        """Return once an attempt has committed, or a client has waited long enough for a head.
        Where that is waited for again, nothing is sent twice.

        Raises:
            UnavailableError: the ledger takes no attempts now.
        """
        until = math.inf
        if self._stream and self.current.passage.client.heartbeat:
            until = self._started_at + self._parts.config.server.commit_after_s
        while not self.committed:
            if not await self.step(until):
                return

    async def step(self, until: float = math.inf) -> bool:
        """Wait until there is something for the exchange to look at, and do what follows from it:
        the one place that waits for attempts. False once `until` has passed.

        Raises:
            UnavailableError: as `run`, of the first attempt.
        """
        if self._unseen:
            self.look()  # the last wait was cancelled with something in its hands
        if self.over:
            return True
        self._unseen = True
        settled = self.committed and self._again is None and self.current.dispatched
        begin = () if settled else self._to_begin()
        try:
            if not begin:
                in_time = await self._wait(until)
            elif self._is_alone(begin):
                if not await self._goes_at_once():
                    with trio.CancelScope(deadline=self._wait_until(until)) as self._beginning:
                        await begin[0]()
                    self._beginning = None
                in_time = trio.current_time() < until
            else:
                wait = partial(self._wait_begun, until, self._state)
                in_time = await race(begin, wait, self._changed.set)
            self.look()
        except GatewayError:
            raise
        except Exception as error:
            self.crashed(error)
            raise
        return in_time

    def _to_begin(self) -> tuple[_Begin, ...]:
        """What has to be sent now."""
        if self._again is not None:
            return (self._follow,) if trio.current_time() >= self._again_at else ()
        current, beside = self.current, self._beside
        begin: tuple[_Begin, ...] = ()
        if not current.dispatched:
            begin = (partial(self._dispatch, current),)
        if beside is None:
            if self._hedge_at < math.inf and trio.current_time() >= self._hedge_at:
                begin = (*begin, self._hedge)
        elif not beside.dispatched:
            begin = (*begin, partial(self._send, beside))
        return begin

    def _is_alone(self, begin: tuple[_Begin, ...]) -> bool:
        """Nothing else can happen meanwhile that anybody has to look at."""
        idle = self._again is not None or not self.current.dispatched
        return idle and len(begin) == 1 and self._beside is None and self._beat_at == math.inf

    @property
    def _state(self) -> tuple[object, ...]:
        """What `_to_begin` depends on; and what goes to a client that takes it itself."""
        beside = self._beside
        return (
            self._again,
            self.current.dispatched,
            beside is not None and beside.dispatched,
            trio.current_time() >= self._hedge_at,
            self._beat_bytes if self._pulled else 0,
        )

    async def _wait_begun(self, until: float, before: tuple[object, ...]) -> bool:
        while await self._wait(until):
            begun = any(leg.attempt.committed for leg in self._running)
            if begun or self.committed or self._state != before:
                return True
        return False

    async def _wait(self, until: float) -> bool:
        """For one change of anything; meanwhile a silent stream is kept alive."""
        watches = [leg.watch for leg in self._running]
        await wait_changed(self._changed, watches, self._wait_until(until))
        now = trio.current_time()
        if now >= self._beat_at:  # which has moved on, where something has gone out meanwhile
            self._beat()
        return now < until

    def _wait_until(self, until: float) -> float:
        return min(until, self._due_at, self._beat_at)

    @property
    def _due_at(self) -> float:
        """When something is to be begun or given up that is not due yet."""
        if self.committed and self._again is None:
            return math.inf
        at = self._hedge_at if self._again is None else self._again_at
        if at < math.inf and at <= trio.current_time():
            at = math.inf
        return at if self._again is None else min(at, self._deadline)

    @property
    def _running(self) -> tuple[Leg, ...]:
        """The legs that something may come of."""
        if self._again is not None:
            return ()
        return (self.current,) if self._beside is None else (self.current, self._beside)

    # ---- dispatches -----------------------------------------------------------------------------

    async def _goes_at_once(self) -> bool:
        """Send the first request if no stream has to be waited for, as nearly always; or find that
        it may not be sent. Otherwise `_dispatch` is to go on."""
        leg, attempt = self.current, self.current.attempt
        if self._again is not None or leg.number or self._billing.of_job:
            return False
        await trio.lowlevel.checkpoint_if_cancelled()
        if trio.current_time() >= leg.watch.start():
            return False
        if not self._begin(leg):
            self._pass_over(Again(leg.candidate, leg.role))
            return True
        try:
            headers = leg.passage.request_headers(leg.body, leg.candidate.key)
            stream = self._parts.pool.open_stream_nowait(leg.provider, headers, leg.body, attempt)
        except UpstreamError as error:
            attempt.fail(error)
        else:
            if stream is None:
                return False
            attempt.opened(stream)
        leg.dispatched = True
        return True

    async def _dispatch(self, leg: Leg) -> None:
        """Send the first request, or take up the wait for a stream again."""
        if leg.number or self._begin(leg):
            await self._send(leg)
        else:
            self._pass_over(Again(leg.candidate, leg.role))

    def _begin(self, leg: Leg) -> bool:
        """It counts from now on. False where it may not be sent, and nothing has changed.

        Raises:
            UnavailableError: the ledger takes no attempts now.
        """
        now, parts = trio.current_time(), self._parts
        tokens = leg.prepared.bounds.expected_input_tokens
        account = self._billing.receipt.account_id
        visit = parts.health.begin(
            leg.candidate, now, role=leg.role, tokens=tokens, account=account
        )
        if visit is None:
            return False
        try:
            self._billing.dispatched(leg)
        except UnavailableError:
            visit.close(now)
            raise
        leg.visit = visit
        self._retrying.begun(leg)
        if leg.role == "first" and not self._billing.of_job:
            self._hedge_at = self._retrying.hedge_at(leg, now)
            if self._beginning is not None:
                self._beginning.deadline = min(self._beginning.deadline, self._hedge_at)
        thinks_unseen = leg.prepared.bounds.output_tokens is not None
        if self._stream and not thinks_unseen and self._retrying.has_others:
            leg.watch.first_token_at = now + parts.config.routing.first_token_timeout_s
        return True

    async def _send(self, leg: Leg) -> None:
        """Where the wait for a stream is cancelled, it can be taken up again."""
        if self._billing.of_job:
            await self._billing.wait_asked_durable()
        attempt, send_by = leg.attempt, math.inf
        if self._retrying.has_others:
            first_token_s = self._parts.config.routing.first_token_timeout_s
            send_by = leg.begun_at + min(leg.provider.connect_timeout_s, first_token_s)
        with trio.CancelScope(deadline=min(leg.watch.start(), send_by)):
            try:
                headers = leg.passage.request_headers(leg.body, leg.candidate.key)
                stream = await self._parts.pool.open_stream(
                    leg.provider, headers, leg.body, attempt
                )
            except UpstreamError as error:
                attempt.fail(error)
            else:
                attempt.opened(stream)
        leg.watch.check_deadlines()
        if not attempt.sent and trio.current_time() >= send_by:
            connected = self._parts.pool.connected(leg.provider)
            kind = NoStreamInTimeError if connected else UpstreamTimeoutError
            attempt.fail(kind("The provider could not be reached in time."))
        leg.dispatched = attempt.sent or attempt.over

    async def _follow(self) -> None:
        """Send what follows a leg that has failed, or has not been sent at all."""
        again, before = self._again, self.current
        if again is None:  # it was ended before this began
            return
        leg = await self._make(again)
        if self._again is not again:  # it was ended meanwhile
            self._unmake(leg)
        elif leg is None or not self._take_up(leg):
            self._unmake(leg)
            if again.role == "continuation" and self._continuing is not None:
                self._write_on(self._continuing.instead_of(again.candidate.deployment.path))
            elif self._uncovered and self.rounds is not None:
                self._end_rounds(self.rounds)
            else:
                self._pass_over(again)
        else:
            if _shares_body(leg, before):
                before.take_body()
            before.drop_body()
            self._again, self.current = None, leg
            if self._sink is not None and self.committed:
                if self._continuing is not None:
                    self._continuing.begin(leg, before)
                elif self.rounds is not None:
                    self.rounds.begin(leg, before)
                leg.attempt.attach(self._sink, pulled=self._pulled)
            await self._send(leg)

    async def _hedge(self) -> None:
        """Send a second request beside the one that is late."""
        self._hedge_at = math.inf
        again = self._retrying.hedge(self.current, trio.current_time())
        leg = None if again is None else await self._make(again)
        if leg is None:
            return
        late = not (self.committed or self.current.attempt.committed)
        if late and self._take_up(leg):
            self._beside = leg
            await self._send(leg)
        else:
            self._unmake(leg)

    async def _make(self, again: Again) -> Leg | None:
        """The leg of another attempt; None where its provider cannot be asked that."""
        before, call = self.current, self._preparing.call
        if again.role == "round" and self.rounds is not None:
            return await self._make_round(again, self.rounds)
        if again.role == "part" and self._splitting is not None:
            return self._open(again, self._splitting.next(), before.passage)
        same = again.candidate.deployment.path == before.path
        if same and self._preparing.fit_for(before, again.candidate):
            leg = self._open(again, before.prepared, before.passage)
            leg.body = before.body
            return leg
        if call is None:
            return None
        seam, prefix = None, None
        if again.role == "continuation" and self._continuing is not None:
            seam, prefix = self._continuing.seam(), self._continuing.prefix
        try:
            prepared = await self._preparing.prepare(again.candidate, prefix)
        except GatewayError:
            return None
        passage = self._passage_of(call, again.candidate, prepared, seam)
        if not self._stream:
            self._billing.begin_anew()
            prepared = self._first_of(prepared)
        leg = self._open(again, prepared, passage)
        if self._stream and self._sink is not None:  # otherwise it is, when the head goes out
            await leg.measuring.release_prompt()
        return leg

    async def _make_round(self, again: Again, rounds: Rounds) -> Leg | None:
        """The leg that goes on from what tools have come to, which are run now; None as `_make`."""
        await rounds.run_tools()
        call = self._preparing.call
        assert call is not None, "it is kept for all rounds"
        self._preparing.call = call = replace(call, agent=rounds.brief)
        try:
            prepared = await self._preparing.prepare(again.candidate)
        except GatewayError:
            return None
        leg = self._open(again, prepared, self._passage_of(call, again.candidate, prepared))
        if self._stream:
            await leg.measuring.release_prompt()
        return leg

    def _end_rounds(self, rounds: Rounds) -> None:
        """Funds do not cover another round: the answer ends with what there is."""
        self._again, error = None, self.current.attempt.error
        if error is not None:  # of an attempt at that round
            self._give_up(error)
            return
        rounds.end(self.current, "funds")
        if self.committed:
            self.over = True
        else:
            self._commit()

    def _take_up(self, leg: Leg) -> bool:
        """Whether it is covered, and may be sent: it counts then."""
        parts, deployment = self._parts, leg.candidate.deployment
        off, health = parts.switches, parts.health.of(deployment)
        if ("model", leg.candidate.model.name) in off or parts.health.is_off(
            deployment, health, off
        ):
            return False  # operators have switched it off since the plan was made
        try:
            if leg.role == "part":
                covered = True  # all of them were, by the first hold
            elif leg.role == "continuation" and self._continuing is not None:
                covered = self._continuing.covers(leg)
            elif leg.role == "round":
                covered = self._billing.next_round(leg)
                self._uncovered = not covered
            else:
                covered = self._billing.covers(leg)
            return covered and self._begin(leg)
        except UnavailableError:
            return False

    def _unmake(self, leg: Leg | None) -> None:
        if leg is not None and not _shares_body(leg, self.current):
            leg.drop_body()


def _shares_body(leg: Leg, before: Leg) -> bool:
    """Parts of a request are of one file, which is closed for all of them."""
    return leg.role == "part" or leg.body is before.body
