"""What the simulator says of itself, over a socket: pages of the truth log, tags, its own load."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
import trio

from bench.load.histogram import Histogram
from bench.simulate import Simulator, SimulatorLoad, SimulatorSettings, open_simulator
from tests.bench.peer import PATIENCE_S
from tests.bench.raw import Received, converse, post
from tests.bench.talks import APIS, ask


async def get(simulator: Simulator, path: str) -> Received:
    request = f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    return await converse(simulator.port, request.encode())


async def truth(simulator: Simulator, query: str) -> list[dict[str, Any]]:
    received = await get(simulator, f"/_truth?{query}")
    assert received.status == 200
    return [orjson.loads(line) for line in received.body.splitlines()]


async def load(simulator: Simulator) -> SimulatorLoad:
    return SimulatorLoad.from_json(orjson.loads((await get(simulator, "/_load")).body))


@pytest.mark.parametrize("api", APIS)
async def test_a_request_is_found_by_its_tag(api: str) -> None:
    async with open_simulator() as simulator:
        await ask(api, "tokens=3 tag=run1-17").send(simulator)
        await ask(api, "tokens=3").send(simulator)
        assert [record["tag"] for record in await truth(simulator, "text=0")] == ["run1-17", None]


async def test_a_request_that_is_refused_is_found_too() -> None:
    async with open_simulator() as simulator:
        await ask("openai", "status=529 tag=a").send(simulator)
        assert [(r["tag"], r["status"]) for r in await truth(simulator, "")] == [("a", 529)]


async def test_the_log_is_read_page_by_page_even_while_it_forgets() -> None:
    async with open_simulator(SimulatorSettings(truth_max_records=4)) as simulator:
        read: list[int] = []
        for number in range(1, 7):
            await ask("openai", f"tokens=1 tag=t{number}").send(simulator)
            if number == 3:
                for _ in range(2):
                    after = read[-1] if read else 0
                    page = await truth(simulator, f"after={after}&limit=2&text=0")
                    assert {record["tag"] for record in page} == {
                        f"t{record['number']}" for record in page
                    }
                    read += [record["number"] for record in page]
        assert read == [1, 2, 3]
        assert [r["number"] for r in await truth(simulator, "after=3")] == [4, 5, 6]
        assert [r["number"] for r in await truth(simulator, "limit=1")] == [3], "1 and 2 are gone"
        assert await truth(simulator, "after=6") == []
        assert await truth(simulator, "limit=0") == []


@pytest.mark.parametrize("query", ["after=-1", "after=x", "limit=1.5", "limit=" + "9" * 40])
async def test_a_page_that_is_no_number_is_refused(query: str) -> None:
    async with open_simulator() as simulator:
        received = await get(simulator, f"/_truth?{query}")
    assert received.status == 400
    assert "must be a whole number" in orjson.loads(received.body)["error"]["message"]


async def test_the_load_is_counted_and_given_back() -> None:
    async with open_simulator(SimulatorSettings(truth_max_records=1)) as simulator:
        before = await load(simulator)
        await ask("openai", "tokens=20 tokens_per_second=400").send(simulator)
        await ask("openai", "tokens=1").send(simulator)
        with trio.fail_after(PATIENCE_S):
            await simulator.wait_idle()
        after = await load(simulator)
    assert (before.requests, before.running, before.lost) == (0, 0, 0)
    assert (after.requests, after.running, after.lost) == (2, 0, 1)
    assert (after.connections, after.crashes) == (1, 0), "the connection that asks"
    assert after.core_since(before) > 0
    assert after.late_since(before).count > 0


async def test_a_stream_runs_until_its_client_leaves() -> None:
    async with open_simulator() as simulator:
        talk = ask("openai", "tokens=1000 tokens_per_second=1 tag=gone")
        with trio.fail_after(PATIENCE_S):
            async with await trio.open_tcp_stream("127.0.0.1", simulator.port) as stream:
                await stream.send_all(post(talk.body, path=talk.path))
                await stream.receive_some(1)
                assert (await load(simulator)).running == 1
            [running] = simulator.truth.records()
            await simulator.truth.wait_ended(running.request_id)
        assert (await load(simulator)).running == 0
        [record] = await truth(simulator, "text=0")
    assert (record["tag"], record["ended"]) == ("gone", "reset")
    assert record["ended_monotonic_s"] > 0


def test_two_loads_give_what_was_between() -> None:
    early = SimulatorLoad(1.0, 100.0, Histogram([1.0]), 5, 0, 0, 1, 0)
    late = SimulatorLoad(1.5, 102.0, Histogram([1.0, 40.0]), 9, 2, 0, 1, 0)
    assert late.core_since(early) == 0.25
    assert [times for _, times in late.late_since(early).buckets()] == [1]
    assert SimulatorLoad.from_json(orjson.loads(orjson.dumps(late.to_json()))) == late
