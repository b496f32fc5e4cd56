"""The load's process: `python -m bench.load.client [CORE]`, told what to do on standard input.

One line of JSON a command, one a reply; see `control`. It ends with its standard input.
No event loop of a framework and no HTTP library: what reads must cost little beside what is
measured. It keeps nothing of a token but counts.
"""

from __future__ import annotations

import gc
import os
import resource
import sys
import time
from select import EPOLLIN
from typing import Any, Final, Protocol

import orjson

from bench.load.exchange import Book, Exchange
from bench.load.loop import EpollLoop
from bench.load.plan import ClosedPlan, Plan, Planned
from bench.load.pool import Http1Pool, Http2Pool
from bench.load.protocols import Message, Target, message_of
from bench.suite.records import from_json

LEAD_S: Final = 0.1
"""From the reply to a start to the plan's own start."""
BODIES_MAX_BYTES: Final = 512 * 1024 * 1024
"""Of all requests of a plan, which are made before it starts."""
_HEARTBEAT_S: Final = 0.01
_READ_BYTES: Final = 1_048_576


class Pool(Protocol):
    """Connections to one server."""

    def send(self, exchange: Exchange) -> None:
        """Ask on one of them, a new one if there is none."""

    def close(self) -> None:
        """Close them all."""


class LoadProcess:
    """Carries out plans, and counts."""

    def __init__(self, loop: EpollLoop) -> None:
        self._loop = loop
        self._book = Book(time.monotonic())
        self._pools: dict[tuple[str, str], Pool] = {}

    # -- commands -------------------------------------------------------------------------------

    def start(self, plan: Plan, target: Target) -> float:
        """Begin a plan beside those that run; returns the moment its times are counted from.

        Raises:
            ValueError: of what it asks, something cannot be had.
        """
        messages = self._messages(plan, target)
        pool = self._pool(target)
        if any(planned.window == "probe" for planned in plan.requests):
            self._book.probes = True
        start_s = time.monotonic() + LEAD_S
        for planned, message in zip(plan.requests, messages, strict=True):
            self._plan_one(pool, planned, message, start_s)
        if plan.closed is not None:
            closed = _ClosedLoop(self._loop, self._book, pool, plan.closed, target, start_s)
            self._loop.call_at(start_s + plan.closed.begin_s, closed.begin)
        return start_s

    def window(self) -> dict[str, Any]:
        """The tally of the window that ends now; the next begins."""
        return self._book.cut(time.monotonic()).to_json()

    def finish(self) -> dict[str, Any]:
        """Close everything; returns the tally of the last window, as it was before."""
        now_s = time.monotonic()
        tally = self._book.cut(now_s)
        self._loop.forget_timers()
        for exchange in list(self._book.active):
            exchange.abandon(now_s)
        for pool in self._pools.values():
            pool.close()
        self._pools = {}
        self._book = Book(now_s)
        return tally.to_json()

    # -- what they do ---------------------------------------------------------------------------

    def _pool(self, target: Target) -> Pool:
        """That of its address and protocol, which requests of all plans share."""
        key = (target.base_url, target.http)
        if key not in self._pools:
            kind = Http1Pool if target.http == "http1" else Http2Pool
            pool = kind(self._loop, target.address)
            if not self._pools:
                self._loop.call_at(time.monotonic() + _HEARTBEAT_S, self._beat)
            self._pools[key] = pool
        return self._pools[key]

    def _messages(self, plan: Plan, target: Target) -> list[Message]:
        messages = [message_of(planned, target) for planned in plan.requests]
        if sum(len(message.body) for message in messages) > BODIES_MAX_BYTES:
            raise ValueError(f"the plan's requests have more than {BODIES_MAX_BYTES} bytes")
        return messages

    def _plan_one(self, pool: Pool, planned: Planned, message: Message, start_s: float) -> None:
        due_s = start_s + planned.at_s
        book = self._book

        def send(now_s: float) -> None:
            book.tally.lag_ms.record((now_s - due_s) * 1000)
            exchange = Exchange(book, planned, message, due_s)
            if planned.leave_at_s is not None:
                leave_at_s = max(now_s, start_s + planned.leave_at_s)
                self._loop.call_at(leave_at_s, lambda _: exchange.leave())
            pool.send(exchange)

        self._loop.call_at(due_s, send)

    def _beat(self, due_s: float) -> None:
        """A timer of its own, so that its lag is known where nothing is sent.

        It is due all the same while it is late: a pause shows in every beat that fell into it.
        """
        next_s = due_s + _HEARTBEAT_S

        def beat(now_s: float) -> None:
            self._book.tally.lag_ms.record((now_s - next_s) * 1000)
            self._beat(next_s)

        self._loop.call_at(next_s, beat)


class _ClosedLoop:
    """Clients each of whom asks as soon as its last request is over."""

    def __init__(
        self,
        loop: EpollLoop,
        book: Book,
        pool: Pool,
        plan: ClosedPlan,
        target: Target,
        start_s: float,
    ) -> None:
        self._loop = loop
        self._book = book
        self._pool = pool
        self._plan = plan
        self._target = target
        self._end_s = start_s + plan.end_s
        self._asked = 0

    def begin(self, now_s: float) -> None:
        """All at once."""
        for _ in range(self._plan.clients):
            self._ask(now_s)

    def _ask(self, now_s: float) -> None:
        if now_s >= self._end_s:
            return
        planned = self._plan.requests[self._asked % len(self._plan.requests)]
        message = message_of(planned, self._target, f"c{self._asked}")
        self._asked += 1
        # Not from within the answer: one that fails at once would be asked again without end.
        again = self._again
        self._pool.send(Exchange(self._book, planned, message, now_s, again))

    def _again(self, now_s: float) -> None:
        self._loop.call_at(now_s, self._ask)


# -- the process --------------------------------------------------------------------------------


class _Commands:
    """Reads commands from a pipe, and replies on another."""

    def __init__(self, loop: EpollLoop, process: LoadProcess, source: int, sink: int) -> None:
        self._loop = loop
        self._process = process
        self._source = source
        self._sink = sink
        self._read: list[bytes] = []
        loop.watch(source, EPOLLIN, self._on_event)

    def _on_event(self, mask: int) -> None:
        data = os.read(self._source, _READ_BYTES)
        if not data:
            self._loop.stop()
            return
        self._read.append(data)
        if b"\n" not in data:
            return
        *lines, rest = b"".join(self._read).split(b"\n")
        self._read = [rest]
        for line in lines:
            self._reply(self._answer(orjson.loads(line)))

    def _answer(self, command: dict[str, Any]) -> dict[str, Any]:
        try:
            match command:
                case {"start": plan, "target": target}:
                    at_s = self._process.start(from_json(Plan, plan), from_json(Target, target))
                    return {"start_s": at_s}
                case {"window": _}:
                    return {"tally": self._process.window()}
                case {"finish": _}:
                    return {"tally": self._process.finish()}
            return {"error": "no such command"}
        except (ValueError, KeyError) as error:
            return {"error": f"{type(error).__name__}: {error}"}

    def _reply(self, reply: dict[str, Any]) -> None:
        line = memoryview(orjson.dumps(reply) + b"\n")
        while line:
            line = line[os.write(self._sink, line) :]


def main() -> None:
    """Run until standard input ends."""
    if len(sys.argv) > 1:
        os.sched_setaffinity(0, {int(sys.argv[1])})
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    loop = EpollLoop()
    _Commands(loop, LoadProcess(loop), sys.stdin.fileno(), sys.stdout.fileno())
    gc.disable()  # a pass over all that is open would make tokens late; little here is cyclic
    loop.run()


if __name__ == "__main__":
    main()
