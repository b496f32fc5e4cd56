"""The load's process against a simulated provider: what it counts is what the truth log says."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial

import pytest
import trio

from bench.load.control import Client, LoadError, running_client
from bench.load.plan import ClosedPlan, Plan, Planned
from bench.load.protocols import Target
from bench.load.tally import Left, Tally
from bench.simulate import Simulator, TruthRecord, open_simulator
from bench.suite.scenario import Http
from tests.bench.load.plans import REQUEST, plan_of, target
from tests.bench.peer import PATIENCE_S

BOTH: tuple[Http, ...] = ("http1", "http2")
UNARY = replace(REQUEST, stream=False, tokens=7)
LASTING = replace(REQUEST, tokens=10_000, tokens_per_second=1.0, lasts=True)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """One process for all: `finish` makes it ready for the next."""
    with running_client() as client:
        yield client


@dataclass
class Counted:
    """Sums over all windows so far."""

    tokens: int = 0
    requests: int = 0
    closed: int = 0
    sent: int = 0
    streams: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    left: list[Left] = field(default_factory=list)

    @property
    def over(self) -> int:
        return self.requests + self.errors.total() + len(self.left)


@asynccontextmanager
async def loaded(client: Client, plan: Plan, whom: Target) -> AsyncIterator[float]:
    """When a plan was started; everything is closed at the end."""
    start_s = await trio.to_thread.run_sync(client.start, plan, whom)
    try:
        yield start_s
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + PATIENCE_S):
            await trio.to_thread.run_sync(client.finish)


async def next_window(client: Client) -> Tally:
    """What was counted since the last time, a moment ago."""
    await trio.sleep(0.01)
    return await trio.to_thread.run_sync(client.window)


async def count(client: Client, counted: Counted) -> None:
    """Add what was counted since the last time, a moment ago."""
    tally = await next_window(client)
    counted.tokens += tally.tokens
    counted.requests += tally.requests
    counted.closed += tally.closed_requests
    counted.sent += tally.sent
    counted.streams = tally.streams
    counted.errors.update(tally.errors)
    counted.left += tally.left


async def run(client: Client, plan: Plan, whom: Target) -> Counted:
    """Everything that a plan of answers that end gives."""
    counted = Counted()
    async with loaded(client, plan, whom):
        with trio.fail_after(PATIENCE_S):
            while counted.over < len(plan.requests):
                await count(client, counted)
    return counted


def by_tag(simulator: Simulator) -> dict[str, TruthRecord]:
    records = simulator.truth.records()
    assert len({record.tag for record in records}) == len(records)
    return {record.tag or "": record for record in records}


# -- what is counted ----------------------------------------------------------------------------


@pytest.mark.parametrize("http", BOTH)
async def test_what_is_counted_is_what_the_provider_wrote(client: Client, http: Http) -> None:
    kinds = [
        replace(each, protocol=protocol, provider=protocol)
        for protocol in ("openai_chat", "openai_responses", "anthropic", "gemini")
        for each in (REQUEST, UNARY)
    ]
    requests = [replace(kinds[n % 8], at_s=n * 0.002, tokens=n % 7 + 1) for n in range(24)]
    async with open_simulator() as simulator:
        counted = await run(client, plan_of(*requests), target(simulator.port, http, run="sum"))
        truth = by_tag(simulator)
    assert set(truth) == {f"sum-{number}" for number in range(24)}
    assert {record.protocol for record in truth.values()} == {
        "h2" if http == "http2" else "http/1.1"
    }
    assert counted.tokens == sum(record.tokens_written for record in truth.values())
    assert (counted.requests, counted.sent) == (24, 24)
    assert not counted.errors


@pytest.mark.parametrize("http", BOTH)
async def test_clients_that_leave_are_resets_there(client: Client, http: Http) -> None:
    leaving = replace(REQUEST, tokens=100_000, tokens_per_second=200.0, leave_after_tokens=3)
    for leave_at_s in (0.05, 0.5, 5.0):  # a machine that sleeps that long is asked again
        by_clock = replace(LASTING, leave_at_s=leave_at_s)
        plan = plan_of(leaving, REQUEST, leaving, by_clock, LASTING)
        truth, counted, endings = await left_by(client, plan, http)
        if set(truth) == {"t-0", "t-1", "t-2", "t-3", "t-4"}:
            break
    assert endings == {"t-0": "reset", "t-1": "done", "t-2": "reset", "t-3": "reset", "t-4": None}
    assert truth["t-4"].ended == "reset", "closed with the measurement"
    assert sorted(left.tag for left in counted.left) == ["t-0", "t-2", "t-3"]
    for left in counted.left:
        ended_s = truth[left.tag].ended_monotonic_s
        assert ended_s is not None
        assert left.at_s <= ended_s
        assert left.tokens <= truth[left.tag].tokens_generated
    assert not counted.errors


async def left_by(
    client: Client, plan: Plan, http: Http
) -> tuple[dict[str, TruthRecord], Counted, dict[str, str | None]]:
    """The truth at the end, what was counted, and how each had ended before the measurement did.

    A client that left before its request arrived is not in the truth.
    """
    counted = Counted()
    async with open_simulator() as simulator:
        async with loaded(client, plan, target(simulator.port, http)):
            with trio.fail_after(PATIENCE_S):
                while counted.over < 4:
                    await count(client, counted)
                truth = by_tag(simulator)
                for left in counted.left:
                    if left.tag in truth:
                        await simulator.truth.wait_ended(truth[left.tag].request_id)
            assert counted.streams == 1
            endings: dict[str, str | None] = {tag: each.ended for tag, each in truth.items()}
        with trio.fail_after(PATIENCE_S):
            await simulator.wait_idle()
    return truth, counted, endings


@pytest.mark.parametrize("http", BOTH)
async def test_what_goes_wrong_is_counted_by_its_kind(client: Client, http: Http) -> None:
    faults = {
        "status=529": "status 529",
        "fault=rst cut_after=2": "reset",
        "fault=error_event cut_after=2": "error event",
        "fault=eof cut_after=2": "unfinished",
    }
    requests = [replace(REQUEST, directives=words) for words in faults]
    async with open_simulator() as simulator:
        counted = await run(client, plan_of(*requests, REQUEST), target(simulator.port, http))
        alone = plan_of(replace(REQUEST, directives="fault=cut cut_after=2"))
        cut = await run(client, alone, target(simulator.port, http))
    assert counted.errors == Counter(faults.values())
    assert counted.requests == 1
    assert cut.errors == {"cut": 1}


@pytest.mark.parametrize("http", BOTH)
async def test_a_server_that_is_not_there_is_an_error_a_request(client: Client, http: Http) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        counted = await run(client, plan_of(REQUEST, UNARY), target(bound.getsockname()[1], http))
    assert counted.errors == {"refused": 2}


async def test_streams_of_http2_that_are_taken_back_are_asked_for_once_more(client: Client) -> None:
    refused = replace(REQUEST, directives="fault=refused")
    async with open_simulator() as simulator:
        counted = await run(client, plan_of(refused), target(simulator.port, "http2"))
        assert [record.tag for record in simulator.truth.records()] == ["t-0", "t-0"]
    assert counted.errors == {"refused stream": 1}


# -- how it is sent -----------------------------------------------------------------------------


@pytest.mark.parametrize("http", BOTH)
async def test_prompts_greater_than_any_window_arrive_whole(client: Client, http: Http) -> None:
    request = replace(REQUEST, prompt_bytes=1_000_000, tokens=2)
    async with open_simulator() as simulator:
        counted = await run(client, plan_of(request, request), target(simulator.port, http))
        [first, _] = simulator.truth.records()
    assert len(first.request["messages"][0]["content"]) == 1_000_000
    assert (counted.requests, counted.tokens) == (2, 4)


async def test_a_connection_is_kept_and_taken_again(client: Client) -> None:
    requests = [replace(UNARY, at_s=n * 0.02) for n in range(5)]
    async with open_simulator() as simulator:
        plan, whom = plan_of(*requests), target(simulator.port)
        async with loaded(client, plan, whom):
            counted = Counted()
            with trio.fail_after(PATIENCE_S):
                while counted.over < 5:
                    await count(client, counted)
            assert simulator.statistics().connections < 5
    assert counted.requests == 5


async def test_a_kept_connection_that_was_closed_meanwhile_is_no_error(client: Client) -> None:
    served = 0
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal served
        async with stream:
            await stream.receive_some()
            served += 1
            await stream.send_all(answer)  # and closes, without having said so

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        requests = [replace(UNARY, at_s=n * 0.01) for n in range(5)]
        counted = await run(client, plan_of(*requests), target(port))
        nursery.cancel_scope.cancel()
    assert (served, counted.requests, dict(counted.errors)) == (5, 5, {})


@pytest.mark.parametrize("http", BOTH)
async def test_a_slow_reader_takes_no_more_than_it_says(client: Client, http: Http) -> None:
    slow = replace(REQUEST, tokens=20_000, reads_bytes_per_s=20_000)
    beside = replace(REQUEST, tokens=20, tokens_per_second=100.0)
    async with open_simulator() as simulator:
        counted = Counted()
        async with loaded(client, plan_of(slow, beside), target(simulator.port, http)):
            with trio.fail_after(PATIENCE_S):
                while counted.requests < 1:
                    await count(client, counted)
            begun_s = trio.current_time()
            tokens = counted.tokens
            with trio.fail_after(PATIENCE_S):
                while counted.tokens < tokens + 20:
                    await count(client, counted)
            passed_s = trio.current_time() - begun_s
        assert not counted.errors
    least_bytes = 150 * (counted.tokens - tokens)
    assert least_bytes < 20_000 * (passed_s + 0.5) + 8_192, "the rate, and what was under way"
    assert counted.tokens < 1_000


# -- by the due moment --------------------------------------------------------------------------


async def test_every_token_is_late_that_a_stalling_server_holds_back(client: Client) -> None:
    event = b"data: " + json.dumps({"choices": [{"delta": {"content": "word"}}]}).encode() + b"\n\n"
    body = event * 50 + b"data: [DONE]\n\n"
    head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body)

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await trio.sleep(0.5)
            await stream.send_all(head + body)

    planned = replace(REQUEST, tokens=50, tokens_per_second=100.0)
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        await trio.to_thread.run_sync(client.start, plan_of(planned), target(port))
        with trio.fail_after(PATIENCE_S):
            tally = await next_window(client)
            while not tally.requests:
                tally = await next_window(client)
            await trio.to_thread.run_sync(client.finish)
        nursery.cancel_scope.cancel()
    assert tally.first_token_ms.least_ms >= 500
    assert tally.lateness_ms.count == tally.tokens == 50
    assert tally.lateness_ms.least_ms >= 500 - 490, "even the last was due long before it came"
    assert tally.lateness_ms.greatest_ms >= 500
    assert tally.gap_ms.greatest_ms == 0, "gaps alone would have shown nothing"


async def test_the_process_knows_what_it_costs_and_how_late_it_is_itself(client: Client) -> None:
    async with open_simulator() as simulator:
        await trio.to_thread.run_sync(client.start, plan_of(REQUEST), target(simulator.port))
        with trio.fail_after(PATIENCE_S):
            await simulator.wait_idle()
            tally = await next_window(client)
            while not tally.lag_ms.count:
                tally = await next_window(client)
            await trio.to_thread.run_sync(client.finish)
    assert tally.lag_ms.least_ms >= 0, "nothing is sent early"
    assert tally.cpu_s > 0
    assert tally.core == tally.cpu_s / tally.elapsed_s


# -- plans on plans -----------------------------------------------------------------------------


async def test_steps_add_up_and_all_is_closed_in_the_end(client: Client) -> None:
    async with open_simulator() as simulator:
        counted = Counted()
        async with loaded(client, plan_of(LASTING, LASTING), target(simulator.port, run="a")):
            more: tuple[Planned, ...] = (LASTING,)
            await trio.to_thread.run_sync(
                client.start, plan_of(*more), target(simulator.port, run="b")
            )
            with trio.fail_after(PATIENCE_S):
                while counted.tokens < 3:
                    await count(client, counted)
            assert counted.streams == 3
        with trio.fail_after(PATIENCE_S):
            await simulator.wait_idle()
        assert {tag: each.ended for tag, each in by_tag(simulator).items()} == {
            "a-0": "reset",
            "a-1": "reset",
            "b-0": "reset",
        }


def answered(simulator: Simulator) -> int:
    """How many requests the provider answered whole."""
    return sum(record.ended == "done" for record in by_tag(simulator).values())


@pytest.mark.parametrize("http", BOTH)
async def test_a_closed_loop_asks_again_as_soon_as_it_is_answered(
    client: Client, http: Http
) -> None:
    closed = ClosedPlan(0.0, 2 * PATIENCE_S, 4, (replace(UNARY, window="closed"),))
    async with open_simulator() as simulator:
        counted = Counted()
        async with loaded(client, plan_of(closed=closed), target(simulator.port, http)):
            with trio.fail_after(PATIENCE_S):
                while counted.closed <= closed.clients:
                    await count(client, counted)
        assert closed.clients < counted.closed <= answered(simulator)
    assert counted.requests == 0


@pytest.mark.parametrize("http", BOTH)
async def test_a_closed_loop_ends_with_its_window(client: Client, http: Http) -> None:
    closed = ClosedPlan(0.0, 0.15, 4, (replace(UNARY, window="closed"),))
    async with open_simulator() as simulator:
        counted = Counted()
        plan, whom = plan_of(closed=closed), target(simulator.port, http)
        async with loaded(client, plan, whom) as start_s:
            with trio.fail_after(PATIENCE_S):
                while time.monotonic() < start_s + closed.end_s or counted.closed < counted.sent:
                    await count(client, counted)
            sent = counted.sent
            await count(client, counted)
        assert counted.closed == counted.sent == sent == answered(simulator)


def test_what_cannot_be_asked_is_refused(client: Client) -> None:
    whom = target(1)
    with pytest.raises(LoadError, match="gemini"):
        client.start(
            plan_of(replace(REQUEST, provider="gemini")), replace(whom, models={"anthropic": "x"})
        )
    with pytest.raises(LoadError, match="http://"):
        client.start(plan_of(REQUEST), replace(whom, base_url="ftp://127.0.0.1"))
    assert client.finish().sent == 0


def test_a_process_that_has_died_is_said_to_have() -> None:
    plan = plan_of(*[REQUEST] * 2_000)
    with running_client() as dying:
        os.kill(dying.pid, signal.SIGKILL)
        os.waitid(os.P_PID, dying.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(LoadError, match="has died"):
            dying.start(plan, target(1))
