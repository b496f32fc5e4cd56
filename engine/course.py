"""Which attempt of an exchange serves, and what follows one that has failed: decided in plain code
between two waits (`engine.attempts` has these).

Until something has been generated nothing of an attempt goes to the client: its bytes and events
gather in its leg, and another one may follow it. Then it is committed.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

import trio

from engine.admitting import Choice
from engine.agent import Agent
from engine.alarm import Alarm
from engine.billing import ExchangeBilling
from engine.continuing import Continuing
from engine.errors import DeadlineError, GatewayError, UpstreamError, UpstreamRejectedError
from engine.events import Call, Event
from engine.leg import Leg, measuring_of, passage_of
from engine.measuring import Measuring
from engine.metering.pricing import Rates
from engine.parsing.jobs import Prepared
from engine.parts import Parts
from engine.passage import Passage
from engine.preparing import Preparing
from engine.request_files import NamedFiles
from engine.retrying import Again, Retrying
from engine.rounds import Rounds, open_rounds
from engine.routing.values import Candidate
from engine.seam import Seam
from engine.sink import Sink
from engine.splitting import Splitting
from engine.tally import HEDGE_LOST
from engine.uploads import Upload

_CRASHED: Final = "internal_error"
_BUSY: Final = "Nobody who serves the model takes another request now."
_BUSY_S: Final = 1.0


class Course:
    """Of one exchange.

    Attributes:
        current: the leg whose answer the client gets, or would get.
        committed: what it brings goes to the client, and no other leg can take its place.
        over: nothing more will come that the client could get.
        joined: the answer is to several requests.
        rounds: of an agent; None: it is none that is asked.
    """

    def __init__(
        self,
        parts: Parts,
        call: Call,
        prepared: Prepared,
        measuring: Measuring,
        upload: Upload | None,
        billing: ExchangeBilling,
        choose: Choice,
        files: NamedFiles | None = None,
        agent: Agent | None = None,
    ) -> None:
        """`prepared` and `measuring` are of the first attempt; `agent` is who is called."""
        plan = choose.plan
        candidate = plan.candidates[prepared.target]
        self._parts = parts
        self._stream = prepared.request.stream
        self._billing = billing
        self._retrying = Retrying(plan, prepared.target, parts.config.routing, parts.health)
        can_go_on = prepared.continuable and prepared.request.job is None
        continuable = candidate.model.continuation and can_go_on
        self._continuing = Continuing(choose, billing) if continuable else None
        self.rounds = (
            None
            if agent is None
            else open_rounds(parts, agent, call, billing, in_pieces=prepared.request.stream)
        )
        needed = continuable or prepared.held or agent is not None
        kept = call if self._retrying.has_others or needed else None
        self._preparing = Preparing(parts, kept, upload, billing, choose, files)
        self._started_at = now = trio.current_time()
        self._deadline = now + parts.config.server.exchange_deadline_s
        if self.rounds is not None:
            self._deadline = min(self._deadline, self.rounds.deadline)
        self._changed = Alarm()
        self._output_limit: int | None = None
        self._tapping = False
        self._sink: Sink | None = None
        self._pulled = False
        self._last_beat = now
        self._beat_bytes = 0
        self._again: Again | None = None
        """Who is asked next, from `_again_at` on; `current` is lost then."""
        self._again_at = 0.0
        self._beside: Leg | None = None
        """A second leg, while neither of the two has generated anything."""
        self._hedge_at = math.inf
        self._beginning: trio.CancelScope | None = None
        self._uncovered = False
        """Funds have not covered the round that was next."""
        self._final = False
        """What is sent now is not sent again."""
        self._unseen = False
        """Something may have come that has not been looked at."""
        self.committed = self.over = self.joined = False
        passage = self._passage_of(call, candidate, prepared)
        whole, prepared = prepared, self._first_of(prepared)
        own = measuring if whole is prepared else None
        self.current = self._open(Again(candidate, "first"), prepared, passage, own)

    def _passage_of(
        self,
        call: Call,
        candidate: Candidate[Rates],
        prepared: Prepared,
        seam: Seam | None = None,
    ) -> Passage:
        account_id, rounds = self._billing.receipt.account_id, self.rounds
        open_telling = None if rounds is None else rounds.open_telling
        return passage_of(self._parts, call, candidate, prepared, account_id, seam, open_telling)

    def _first_of(self, prepared: Prepared) -> Prepared:
        """What is sent first where it is several requests, else all of it."""
        self._splitting = Splitting(prepared) if prepared.shares else None
        return prepared if self._splitting is None else self._splitting.next()

    def _open(
        self, again: Again, prepared: Prepared, passage: Passage, measuring: Measuring | None = None
    ) -> Leg:
        tap = deque[Event]() if self._tapping else None
        if again.role == "continuation" or (again.role == "round" and self._stream):
            tap = self.current.tap  # its client goes on taking the events of one answer
        leg = Leg(
            self._parts,
            passage,
            again.candidate,
            prepared,
            measuring or measuring_of(self._parts, again.candidate, prepared),
            role=again.role,
            deadline=self._deadline,
            changed=self._changed,
            metered=self._billing.metered,
            tap=tap,
            sent_bytes=self._beat_bytes,
        )
        leg.attempt.relay.output_limit = self._output_limit
        return leg

    @property
    def error(self) -> UpstreamError | None:
        """What the answer has ended with, as far as nothing follows."""
        follows = self._again is not None or self.at_limit
        return None if follows else self.current.attempt.error

    @property
    def at_limit(self) -> bool:
        """It has broken off where the client's own limit ends it."""
        return self._continuing is not None and self._continuing.at_limit

    @property
    def held_up(self) -> bool:
        """The client is past its high-water mark."""
        return self.committed and self.current.attempt.held_up

    # ---- the client's side ----------------------------------------------------------------------

    def limit(self, covered_tokens: int | None, lowered_limit: int | None) -> None:
        """What the first hold covers, and what each choice must be lowered to for it."""
        self._output_limit = self.current.attempt.relay.output_limit = covered_tokens
        self._preparing.limit(lowered_limit)

    def tap(self) -> None:
        """Have the canonical events gathered as well. Asked for before the dispatch."""
        leg = self.current
        assert not leg.number, "events() comes before the answer"
        self._tapping = True
        again = Again(leg.candidate, leg.role)
        self.current = self._open(again, leg.prepared, leg.passage, leg.measuring)
        self.current.body = leg.take_body()

    def tapped(self) -> deque[Event]:
        """The events that the client may have by now; whoever takes them out has them."""
        tap = self.current.tap
        return tap if self.committed and tap is not None else deque()

    def serve(self, sink: Sink, *, pulled: bool = False) -> None:
        """The client's bytes go there, once there are any: nothing happens where they do. Whoever
        pulls them is woken for them."""
        if self._sink is None:
            self._sink, self._pulled = sink, pulled
            if self.committed:
                self.current.attempt.attach(sink, pulled=pulled)

    @property
    def _beat_at(self) -> float:
        """When a silent client is told that its stream is alive."""
        if self._sink is None or not self._stream or not self.current.passage.client.heartbeat:
            return math.inf
        last = self._last_beat
        if self.committed:
            last = max(last, self.current.attempt.last_sent)
        return last + self._parts.config.server.heartbeat_s

    def _beat(self) -> None:
        """All legs know what has gone out before what they bring."""
        assert self._sink is not None, "there is somebody to tell"
        beat = self.current.attempt.relay.heartbeat()
        if self._beside is not None:
            self._beside.attempt.relay.heartbeat()
        self._last_beat = trio.current_time()
        self._beat_bytes += len(beat)
        self._sink.send_nowait(beat)

    # ---- what follows ---------------------------------------------------------------------------

    def look(self) -> None:
        """Decide what follows from what has come; no checkpoint."""
        self._unseen = False
        if not self.committed or self._again is not None:
            self._decide()
        if not self.committed or self.over or self._again is not None:
            return
        leg = self.current
        if leg.attempt.over and not (leg.role == "round" and self._fails_round(leg)):
            if leg.role in ("continuation", "round"):
                leg.note_begin(trio.current_time())
            self._note_end(leg)
            if self.rounds is not None:
                self._write_on(self.rounds.after(leg, self._retrying))
            else:
                self._write_on(None if self._continuing is None else self._continuing.after(leg))

    def _fails_round(self, leg: Leg) -> bool:
        """A round behind the first has failed before it brought anything, and is tried again."""
        attempt, now = leg.attempt, trio.current_time()
        if attempt.error is None or attempt.crash is not None or leg.visit is None:
            return False
        if attempt.relay.meter.has_output:
            return False
        leg.note_head(now)
        failure, verdict = self._retrying.failed(leg, now)
        again = self._retrying.next(leg, failure, verdict, now, self._deadline)
        if again is None:
            self._write_on(None)
        else:
            self._lose(leg, attempt.error.code)
            self._again, self._again_at = replace(again, role="round"), now + again.after_s
        return True

    def _decide(self) -> None:
        if self._again is not None:
            if trio.current_time() >= self._deadline:
                self._give_up(DeadlineError("The request took longer than the gateway allows."))
            return
        if self._beside is not None:
            self._look_at_both(self.current, self._beside)
        attempt = self.current.attempt
        unbegun = not attempt.begun and attempt.crash is None
        if attempt.error is not None and unbegun:
            self._failed(self.current, trio.current_time())
        elif attempt.committed:
            failed = attempt.crash is not None or attempt.error is not None
            if self._splitting is not None and not failed:
                self._take_part(self.current, self._splitting)
            elif self.rounds is None or self._stream or failed:
                self._commit()
            else:
                self._take_round(self.current, self.rounds)

    def _take_part(self, leg: Leg, splitting: Splitting) -> None:
        """It has answered its part of the request."""
        splitting.take(leg)
        now = trio.current_time()
        if leg.attempt.error is not None:
            self._failed(leg, now)
        elif splitting.left:
            leg.note_begin(trio.current_time())
            leg.close(now)
            self._retrying.answered()
            self._billing.answered()
            self._again, self._again_at = Again(leg.candidate, "part"), now
        else:
            self.joined = True
            self._commit()

    def _take_round(self, leg: Leg, rounds: Rounds) -> None:
        """A round of an answer in one piece has ended."""
        again = rounds.after(leg, self._retrying)
        if again is None:
            self._commit()
        else:
            leg.note_begin(trio.current_time())
            self._again, self._again_at = again, trio.current_time()

    def _look_at_both(self, first: Leg, second: Leg) -> None:
        """The one that generates first goes on, and the other is given up; of two in one read it is
        the one that was sent first. Where one fails, the other goes on alone."""
        begun = [leg for leg in (first, second) if leg.brought_at is not None]
        if begun:
            winner = min(begun, key=lambda leg: (leg.brought_at or 0.0, leg.number))
            loser = second if winner is first else first
            self._billing.won(winner)
            self._beside, self.current = None, winner
            self._lose(loser, HEDGE_LOST)
            loser.drop_body()
            winner.attempt.go_on()
            return
        now = trio.current_time()
        if second.attempt.over:
            self._beside = None
            self._note_failure(second, now)
        elif first.attempt.error is not None:
            self._beside, self.current = None, second
            self._note_failure(first, now)

    def _failed(self, leg: Leg, now: float) -> None:
        """It has failed before anything of it went out."""
        error, again = leg.attempt.error, None
        assert error is not None, "it has failed"
        if leg.visit is not None:
            leg.note_head(now)
            failure, verdict = self._retrying.failed(leg, now)
            if not self._final and self._preparing.are_gone(leg.prepared.held, error):
                again = self._retrying.anew(leg)
            elif not self._final:
                again = self._retrying.next(leg, failure, verdict, now, self._deadline)
        if again is not None:
            if leg.role == "round":
                again = replace(again, role="round")
            self._lose(leg, error.code)
            self._again, self._again_at = again, now + again.after_s
            self._hedge_at = math.inf
            return
        told = self._retrying.told(error)
        if told is not error:
            self._lose(leg, error.code)
            leg.attempt.error = told
        self._commit()

    def _note_failure(self, leg: Leg, now: float) -> None:
        """Of one of two, where the other goes on."""
        code = _CRASHED
        if leg.attempt.error is not None:
            code = leg.attempt.error.code
            leg.note_head(now)
            self._retrying.failed(leg, now)
        self._lose(leg, code)
        leg.drop_body()

    def _write_on(self, again: Again | None) -> None:
        """Who goes on with an answer that has broken off; nobody: it ends there."""
        self._again, self.over = again, again is None
        if again is not None:
            self._again_at = trio.current_time()

    def _pass_over(self, again: Again) -> None:
        """It cannot be asked after all: who is, instead."""
        following = self._retrying.passed(again.candidate)
        if following is not None and again.role == "round":
            following = replace(following, role="round")
        if following is not None:
            self._again, self._again_at = following, trio.current_time()
        elif self._retrying.errors:
            self._give_up(self._retrying.told(self._retrying.errors[-1]))
        else:
            self._give_up(
                UpstreamRejectedError(
                    _BUSY, status=503, code="model_unavailable", retry_after_s=_BUSY_S
                )
            )

    def _give_up(self, error: UpstreamError) -> None:
        """Nothing follows the current leg, which is lost or was never sent."""
        self._again = None
        self.current.attempt.error = error
        self.current.dispatched = True
        if self.committed:
            self.over = True
        else:
            self._commit()

    def _commit(self) -> None:
        """What the current leg brings goes to the client."""
        leg, self.committed = self.current, True
        self._hedge_at = math.inf
        if self._beside is not None:
            self._drop_beside()
        leg.note_begin(trio.current_time())
        self._forget_body()
        if self._sink is not None:
            leg.attempt.attach(self._sink, pulled=self._pulled)

    def _lose(self, leg: Leg, code: str) -> None:
        """The client gets nothing of it."""
        now = trio.current_time()
        if code == HEDGE_LOST and leg.visit is not None:
            leg.visit.lost_race(now)
        leg.close(now)
        if self._billing.owed:
            self._billing.lost(leg, code)

    def _drop_beside(self) -> None:
        beside, self._beside = self._beside, None
        if beside is not None:
            self._lose(beside, HEDGE_LOST)
            beside.drop_body()

    # ---- what the deployment's health learns ----------------------------------------------------

    def _note_end(self, leg: Leg) -> None:
        """An answer may break off after it has begun."""
        if leg.visit is not None and leg.attempt.error is not None:
            self._retrying.failed(leg, trio.current_time())

    # ---- the end --------------------------------------------------------------------------------

    def let_go(self) -> None:
        """The head goes out: where nobody else can be asked, nobody needs what has been sent."""
        undecided = self._again is not None or not self.current.dispatched
        if not (undecided or self._retrying.has_others):
            self._forget_body()

    def _forget_body(self) -> None:
        self._final, leg = True, self.current
        if leg.attempt.uploaded:
            leg.drop_body()
            if self._continuing is None and self.rounds is None:
                self._preparing.release()
        elif isinstance(leg.body, bytes):
            leg.take_body()  # the stream has what it has not sent yet, and that takes room

    def end_body(self) -> None:
        """Nothing of the request will be sent any more."""
        self._final = True
        self.current.drop_body()
        self._preparing.release()

    def stop(self) -> None:
        """End the answer where it is, also one that is being asked for."""
        attempt = self.current.attempt
        if self._again is not None:
            self._again, attempt.error = None, None
        attempt.stop()
        if self._beginning is not None:
            self._beginning.cancel()
        if not self.committed:
            self._commit()
        self.over = True

    def settle_on_one(self) -> None:
        """Of two that are under way, and have generated nothing, only the first goes on."""
        self._drop_beside()

    def close(self) -> None:
        """Let go of all providers: every ending comes by here. Again and again, if need be."""
        if self._beside is not None:
            self._drop_beside()
        if not self.current.closed:
            self.current.close(trio.current_time())

    @contextmanager
    def own_faults(self) -> Iterator[None]:
        """An exception that nobody foresaw is the gateway's fault, and the client pays nothing."""
        try:
            yield
        except Exception as error:
            if not isinstance(error, GatewayError):
                self.crashed(error)
            raise

    def crashed(self, error: Exception) -> None:
        """By a fault of ours; the first is the one that counts."""
        if self.current.attempt.crash is None:
            self.current.attempt.crash = error
