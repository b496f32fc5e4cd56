"""Clients come, leave and stall at random while every fault strikes: nothing is left behind."""

from __future__ import annotations

import os
import random

import pytest
import trio

from bench.simulate import Simulator, SimulatorSettings, open_simulator
from engine.wire.http2 import Http2StreamLimit
from tests.bench.peer import PATIENCE_S, Answer, chat_request, open_http2
from tests.bench.raw import post

FAULTS = ("cut", "rst", "goaway", "goaway_refused", "refused", "error_event", "stall", "eof")


def random_request(chance: random.Random) -> dict[str, object]:
    directives = [
        f"tokens={chance.choice([0, 1, 5, 50, 400, 3000])}",
        f"tokens_per_second={chance.choice([0, 100, 1000])}",
        f"tokens_per_event={chance.randint(1, 40)}",
        f"first_token_ms={chance.choice([0, 0, 10])}",
    ]
    if chance.random() < 0.5:
        directives.append(f"fault={chance.choice(FAULTS)}")
    if chance.random() < 0.3:
        directives.append(f"cut_after={chance.randint(0, 50)}")
    if chance.random() < 0.1:
        directives.append("stall_ms=20")
    return chat_request(
        " ".join(directives), stream=chance.random() < 0.8, n=chance.choice([1, 1, 3])
    )


class Crowd:
    """Random clients of one simulated provider, and what each of their answers brought."""

    def __init__(self, simulator: Simulator, seed: int) -> None:
        self.simulator = simulator
        self.seed = seed
        self.answers: dict[str, Answer] = {}

    async def come_and_go(self, number: int) -> None:
        chance = random.Random(f"{self.seed}/{number}")
        if chance.random() < 0.2:
            await self._over_http1(chance, f"{number}")
        else:
            await self._over_http2(chance, f"{number}")

    async def _over_http1(self, chance: random.Random, name: str) -> None:
        request = post(random_request(chance), more=f"x-request-id: {name}\r\n")
        answer = self.answers[name] = Answer()
        async with await trio.open_tcp_stream("127.0.0.1", self.simulator.port) as stream:
            await stream.send_all(request)
            with trio.move_on_after(chance.random() * 0.1):
                try:
                    while more := await stream.receive_some():
                        answer.reads.append(bytes(more))
                except trio.BrokenResourceError:
                    pass

    async def _over_http2(self, chance: random.Random, name: str) -> None:
        acknowledge = chance.random() < 0.8
        async with open_http2(self.simulator.port, acknowledge=acknowledge) as client:
            ids = []
            for index in range(chance.randint(1, 20)):
                try:
                    stream_id = await client.chat(random_request(chance), f"{name}.{index}")
                except (Http2StreamLimit, trio.BrokenResourceError):
                    break  # a fault has taken the connection
                self.answers[f"{name}.{index}"] = client.answers[stream_id]
                ids.append(stream_id)
            for stream_id in ids:
                with trio.move_on_after(chance.random() * 0.05):
                    await client.wait(stream_id)
                if chance.random() < 0.3 and not client.lost:
                    client.h2.reset(stream_id)

    def check(self) -> None:
        """What the log says is true, and no client has more than it says was written."""
        for record in self.simulator.truth.records():
            assert record.ended is not None
            assert record.tokens_written <= record.tokens_generated
            if record.ended == "done":
                assert record.tokens_written == record.tokens_generated
            answer = self.answers.get(record.request_id)
            if answer is not None and record.stream:
                assert tokens_in(answer.body) <= record.tokens_written


def tokens_in(body: bytes) -> int:
    """Tokens of the text events that arrived whole."""
    events = [piece.partition(b"\n\n") for piece in body.split(b'"delta":{"content":"')[1:]]
    return sum(len(event.partition(b'"')[0].split()) for event, end, _ in events if end)


@pytest.mark.parametrize("seed", [pytest.param(1), pytest.param(2, marks=pytest.mark.long)])
async def test_nothing_is_left_behind(seed: int) -> None:
    async with open_simulator(SimulatorSettings(connections_max=20)) as simulator:
        descriptors = len(os.listdir("/proc/self/fd"))
        crowd = Crowd(simulator, seed)
        for wave in range(4 if seed == 1 else 40):
            async with trio.open_nursery() as nursery:
                for number in range(20):
                    nursery.start_soon(crowd.come_and_go, wave * 20 + number)
        with trio.fail_after(PATIENCE_S):
            await simulator.wait_idle()
        statistics = simulator.statistics()
        assert (statistics.scheduled_replies, statistics.crashes) == (0, 0), f"seed {seed}"
        assert len(os.listdir("/proc/self/fd")) <= descriptors
        assert len(simulator.truth) > 100
        crowd.check()
