"""The one poller: asks providers how their jobs do, when it is due, a bounded number at once.

Each provider has a lane of its own, so that one that is down, or slow, or has asked for patience
holds up nobody else's. What is due first is asked first; what moves seldom is asked seldom.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import trio

from engine.alarm import Alarm
from engine.clock import Clock
from engine.config_jobs import JobsConfig
from engine.errors import GatewayError, UpstreamError
from engine.job import JobError
from engine.jobs.asking import Answer
from engine.jobs.book import JobBook, OpenJob
from engine.jobs.desk import Desk, Place
from engine.jobs.learning import learn
from engine.jobs.recovering import Finding, find_out, give_up
from engine.nurseries import open_tasks

logger = logging.getLogger(__name__)

_GROWS: Final = 1.5
_JITTER: Final = 0.2
_LOOK_AGAIN_S: Final = 60.0
"""A wall clock that was set is noticed within this time."""
_PATIENCE_MAX_S: Final = 3_600.0
"""A provider that says when to come again is believed so far."""
_DOWN_AFTER: Final = 3
"""Failures in a row, of whatever job, after which a provider is asked by one question at a time."""
_MISSES_MAX: Final = 5
_GONE: Final = frozenset({404, 410})
_BUSY: Final = frozenset({429, 503})
_FAILED_FROM: Final = 500
_UNKNOWN: Final = JobError("job_not_found", "The provider does not know the job any more.")


@dataclass(slots=True, eq=False)
class _Turn:
    """A job in its lane.

    Attributes:
        wait_s: before it is asked about next.
        misses: how often its provider did not know it, one after another; or did not list it.
        number: of its place in the lane; 0: it is being asked about.
        again: at once, when it has been.
    """

    job: OpenJob
    wait_s: float
    misses: int = 0
    number: int = 0
    again: bool = False


@dataclass(slots=True, eq=False)
class _Lane:
    """Of one provider.

    Attributes:
        due: when, a number, whose turn; a heap.
        asking: how many questions are under way.
        failures: in a row.
        rests_until: nothing is asked before.
    """

    due: list[tuple[float, int, _Turn]] = field(default_factory=list)
    asking: int = 0
    failures: int = 0
    rests_until: float = -math.inf

    def next_at(self, most: int) -> float:
        """When something of it can be begun; never, while as much is under way as may be."""
        if not self.due or self.asking >= (1 if self.failures >= _DOWN_AFTER else most):
            return math.inf
        return max(self.due[0][0], self.rests_until)


class Poller:
    """Made by `open_poller`."""

    def __init__(
        self,
        book: JobBook,
        desk: Desk,
        config: Callable[[], JobsConfig],
        clock: Clock,
        draw: Callable[[], float],
        nursery: trio.Nursery,
    ) -> None:
        self._book = book
        self._desk = desk
        self._config = config
        self._clock = clock
        self._draw = draw
        self._nursery = nursery
        self._lanes: dict[str, _Lane] = {}
        self._ends: list[tuple[int, int, OpenJob]] = []
        """When a client waits no longer, and when nobody does; a heap, by the wall clock."""
        self._turns: dict[str, _Turn] = {}
        self._numbers = itertools.count(1)
        self._asking = 0
        self._changed = Alarm()
        for job in book.open.values():
            self._enter(job, draw() * config().poll_min_s)
        book.follow_taken(self._taken)
        book.follow_hints(self._hinted)

    def _taken(self, job: OpenJob) -> None:
        self._enter(job, self._config().poll_min_s if job.view.acceptance else 0.0)
        self._changed.set()

    def _enter(self, job: OpenJob, after_s: float) -> None:
        self._desk.place_of(job)  # remembers who is asked
        turn = self._turns[job.row.job_id] = _Turn(job, self._config().poll_min_s)
        self._put(turn, after_s)
        self._put_end(job)

    def _hinted(self, job: OpenJob) -> None:
        turn = self._turns[job.row.job_id]
        turn.wait_s = self._config().poll_min_s
        if turn.number:
            self._put(turn, 0.0)
            self._changed.set()
        else:
            turn.again = True

    def _put(self, turn: _Turn, after_s: float) -> None:
        """A place that it had before is nobody's."""
        lane = self._lanes.setdefault(self._desk.provider_of(turn.job), _Lane())
        due, turn.number = trio.current_time() + after_s, next(self._numbers)
        heapq.heappush(lane.due, (due, turn.number, turn))

    def _put_end(self, job: OpenJob) -> None:
        at_ms = job.row.expires_at_ms
        if job.view.ended or not self._desk.follow_of(job).expires:
            at_ms += int(self._config().late_s * 1_000)
        heapq.heappush(self._ends, (at_ms, next(self._numbers), job))

    async def run(self) -> None:
        """Ask, for as long as it runs."""
        while True:
            next_at = min(self._end_due(), self._begin_due())
            with trio.move_on_at(min(next_at, trio.current_time() + _LOOK_AGAIN_S)):
                await self._changed.wait()

    def _begin_due(self) -> float:
        """Begin what is due, one of each lane in turn; when the next one is."""
        now, at_once = trio.current_time(), self._config().polls_at_once
        most = max(1, at_once // 2)
        begun = True
        while begun:
            begun = False
            for lane in tuple(self._lanes.values()):
                if self._asking >= at_once:
                    return math.inf
                if lane.next_at(most) <= now:
                    _, number, turn = heapq.heappop(lane.due)
                    if not turn.job.open:
                        self._turns.pop(turn.job.row.job_id, None)
                    elif turn.number == number:
                        turn.number, turn.again = 0, False
                        lane.asking += 1
                        self._asking += 1
                        self._nursery.start_soon(self._ask, lane, turn)
                    begun = True
        for name in [name for name, lane in self._lanes.items() if not (lane.due or lane.asking)]:
            del self._lanes[name]
        return min((lane.next_at(most) for lane in self._lanes.values()), default=math.inf)

    def _end_due(self) -> float:
        """End what nobody waits for any more; when the next one is, on Trio's clock."""
        now_ms, ends = self._clock(), self._ends
        while ends and ends[0][0] <= now_ms:
            _, _, job = heapq.heappop(ends)
            if not job.open:
                continue
            if job.view.acceptance is None:
                give_up(self._book, job)
            elif job.view.ended or not self._desk.follow_of(job).expires:
                logger.warning("%s: nothing has come of it", job.row.job_id)
                self._book.give_up(job)
            else:
                self._book.expire(job)
                self._put_end(job)
        return trio.current_time() + (ends[0][0] - now_ms) / 1_000 if ends else math.inf

    async def _ask(self, lane: _Lane, turn: _Turn) -> None:
        job, after_s = turn.job, 0.0
        try:
            after_s = await self._turn(lane, turn)
        except UpstreamError as error:
            self._failed(lane, job, error)
            after_s = self._wait_s(turn)
        except GatewayError as error:  # the ledger's: not now
            logger.warning("%s: it waits: %s", job.row.job_id, error.message)
            after_s = self._wait_s(turn)
        except Exception:
            logger.exception("%s: a fault of ours", job.row.job_id)
            after_s = self._config().poll_max_s
        finally:
            lane.asking -= 1
            self._asking -= 1
            if job.open:
                self._put(turn, 0.0 if turn.again else after_s)
            else:
                self._turns.pop(job.row.job_id, None)
            self._changed.set()

    async def _turn(self, lane: _Lane, turn: _Turn) -> float:
        """Ask about one; in how many seconds again. Raises UpstreamError."""
        job, desk = turn.job, self._desk
        self._book.polls += 1
        job.asked += 1
        if job.view.acceptance is None:
            return await self._find_out(lane, turn)
        place = desk.place_of(job)
        if place is None:  # a reload may bring its provider back
            return self._config().poll_max_s
        answer, report = await desk.poll(job, place)
        if report is None:
            return self._no_news(lane, turn, place, answer)
        lane.failures, lane.rests_until = 0, -math.inf
        turn.misses = 0
        await learn(self._book, desk, job, place, report)
        said_s = answer.retry_after_s(self._clock() / 1_000)
        return max(self._wait_s(turn), min(said_s or 0.0, _PATIENCE_MAX_S))

    async def _find_out(self, lane: _Lane, turn: _Turn) -> float:
        finding = await find_out(self._desk, self._book, turn.job, self._clock)
        lane.failures = 0
        if finding is Finding.NONE:
            turn.misses += 1
            if turn.misses >= _MISSES_MAX:
                give_up(self._book, turn.job)
        if finding is Finding.KNOWN:
            turn.misses, turn.wait_s = 0, self._config().poll_min_s
        return self._wait_s(turn)

    def _no_news(self, lane: _Lane, turn: _Turn, place: Place, answer: Answer) -> float:
        """It says nothing of the job; in how many seconds it is asked again."""
        job, status, wait_s = turn.job, answer.status, self._wait_s(turn)
        said_s = min(answer.retry_after_s(self._clock() / 1_000) or 0.0, _PATIENCE_MAX_S)
        if status in _BUSY and said_s:
            lane.rests_until = trio.current_time() + said_s
        elif status >= _FAILED_FROM:
            self._failed(lane, job, UpstreamError(f"It answers with status {status}."))
        elif status in _GONE and place.own:
            turn.misses += 1
            if turn.misses >= _MISSES_MAX:
                self._book.give_up(job, _UNKNOWN)
        elif status >= 400:  # our key, perhaps: somebody has to look
            logger.warning("%s: its provider answers with status %d", job.row.job_id, status)
            return max(self._config().poll_max_s, said_s)
        return max(wait_s, said_s)

    def _failed(self, lane: _Lane, job: OpenJob, error: UpstreamError) -> None:
        config = self._config()
        lane.failures += 1
        if lane.failures < _DOWN_AFTER:
            return
        if lane.failures == _DOWN_AFTER:
            name = self._desk.provider_of(job)
            logger.warning("the provider %s tells nothing of its jobs: %s", name, error.message)
        doubled = config.poll_min_s * float(1 << min(lane.failures - _DOWN_AFTER, 16))
        lane.rests_until = trio.current_time() + self._jittered(min(doubled, config.poll_max_s))

    def _wait_s(self, turn: _Turn) -> float:
        """Before the next question about it, which is longer each time."""
        config = self._config()
        wait_s = min(max(turn.wait_s, config.poll_min_s), config.poll_max_s)
        turn.wait_s = min(wait_s * _GROWS, config.poll_max_s)
        return self._jittered(wait_s)

    def _jittered(self, wait_s: float) -> float:
        return wait_s * (1 + _JITTER * (2 * self._draw() - 1))


@asynccontextmanager
async def open_poller(
    book: JobBook,
    desk: Desk,
    config: Callable[[], JobsConfig],
    clock: Clock,
    draw: Callable[[], float],
) -> AsyncIterator[Poller]:
    """Poll for the block; what is open at its end is left as it is."""
    async with open_tasks() as nursery:
        poller = Poller(book, desk, config, clock, draw, nursery)
        nursery.start_soon(poller.run)
        yield poller
        nursery.cancel_scope.cancel()
