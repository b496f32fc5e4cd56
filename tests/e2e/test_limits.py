"""Limits over real sockets: exact however many ask at once, and what the official SDKs make of
them. Time stands still unless a test moves it, so nothing refills meanwhile."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anthropic
import openai
import orjson
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.gateways import CONFIG_FILE, add_key, charge, chat_body, settled
from tests.served import Served, open_served

# The SDKs' own generators, where a stream ends with an error.
pytestmark = pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")

CHAT = "/v1/chat/completions"
ADMIN_KEY = "the-operators-own-credential-which-is-long"
PLAN = """
[plans.shared]
requests_per_min = 50
concurrent_streams = 300
"""


@pytest.fixture
def clock() -> MockClock:
    """Trio's own clock, that the limits go by."""
    return MockClock()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what others do, by a clock that stands still."""
    while not condition():
        await wait_all_tasks_blocked(0.005)


def request_of(key: str, body: bytes, *, path: str = CHAT, method: str = "POST") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {key}\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


@asynccontextmanager
async def asked(served: Served, request: bytes) -> AsyncIterator[tuple[trio.SocketStream, bytes]]:
    """A connection on which this was asked, and what has come of the answer: the head, and more."""
    async with await trio.open_tcp_stream("127.0.0.1", served.port) as stream:
        await stream.send_all(request)
        received = b""
        while b"\r\n\r\n" not in received:
            part = await stream.receive_some(65_536)
            assert part, received
            received += part
        yield stream, received


def status_of(answer: bytes) -> int:
    return int(answer[9:12])


async def ask_at_once(served: Served, requests: list[bytes]) -> list[int]:
    """The statuses of many requests, each on a connection of its own, sent side by side."""
    statuses = [0] * len(requests)

    async def ask(number: int, request: bytes) -> None:
        async with asked(served, request) as (_, answer):
            statuses[number] = status_of(answer)

    async with trio.open_nursery() as nursery:
        for number, request in enumerate(requests):
            nursery.start_soon(ask, number, request)
    return statuses


SMALL = chat_body("tokens=1", stream=False, max_completion_tokens=5)


@pytest.mark.parametrize("clients", [200, pytest.param(2_000, marks=pytest.mark.long)])
async def test_many_clients_get_exactly_what_there_is(
    tmp_path: Path, clock: MockClock, clients: int
) -> None:
    limit = clients * 6 // 10
    async with open_served(tmp_path) as served:
        setup = served.setup
        limits = {"requests_per_min": limit}
        _, key = await add_key(setup.gateway, setup.account_id, limits=limits)
        statuses = await ask_at_once(served, [request_of(key, SMALL)] * clients)
        assert Counter(statuses) == {200: limit, 429: clients - limit}
        assert len(setup.sim.truth.records()) == limit

        clock.jump(60 / limit - 0.000_002)
        assert set(await ask_at_once(served, [request_of(key, SMALL)] * 5)) == {429}
        clock.jump(0.000_002)
        assert sorted(await ask_at_once(served, [request_of(key, SMALL)] * 5)) == [200] + [429] * 4
        clock.jump(10)
        statuses = await ask_at_once(served, [request_of(key, SMALL)] * (clients // 5))
        assert Counter(statuses) == {200: limit // 6, 429: clients // 5 - limit // 6}


async def test_two_keys_share_what_their_account_has(tmp_path: Path, clock: MockClock) -> None:
    """A request that one of the limits refuses takes nothing of the other."""
    async with open_served(tmp_path, models=PLAN) as served:
        setup = served.setup
        await setup.gateway.ledger.set_account_plan(setup.account_id, "shared")
        _, small = await add_key(setup.gateway, setup.account_id, limits={"requests_per_min": 20})
        requests = [request_of(small, SMALL), request_of(setup.key, SMALL)] * 50
        statuses = await ask_at_once(served, requests)
        assert Counter(statuses) == {200: 50, 429: 50}
        assert Counter(statuses[::2])[200] <= 20
        assert len(setup.sim.truth.records()) == 50


async def test_streams_at_once_are_exact_and_free_again(tmp_path: Path) -> None:
    body = chat_body("tokens=100000 tokens_per_second=20")
    async with open_served(tmp_path) as served:
        setup = served.setup
        _, key = await add_key(setup.gateway, setup.account_id, limits={"concurrent_streams": 7})
        statuses: list[int] = []
        all_answered = trio.Event()

        async def stream() -> None:
            async with asked(served, request_of(key, body)) as (_, answer):
                statuses.append(status_of(answer))
                if len(statuses) == 60:
                    all_answered.set()
                if statuses[-1] == 200:
                    await all_answered.wait()
                else:
                    assert b"concurrency_limit_exceeded" in answer

        for _ in range(2):
            async with trio.open_nursery() as nursery:
                for _ in range(60):
                    nursery.start_soon(stream)
            assert Counter(statuses) == {200: 7, 429: 53}
            await settled(lambda: setup.gateway.open_exchanges == 0)
            statuses.clear()
            all_answered = trio.Event()


async def call_openai(served: Served, key: str) -> tuple[str | None, int]:
    async with openai.AsyncOpenAI(base_url=served.url, api_key=key, max_retries=1) as client:
        raw = await client.chat.completions.with_raw_response.create(
            model="sim-openai", messages=[{"role": "user", "content": "#sim tokens=3"}]
        )
        return raw.parse().choices[0].message.content, raw.retries_taken


async def call_anthropic(served: Served, key: str) -> tuple[str | None, int]:
    async with anthropic.AsyncAnthropic(
        base_url=served.origin, api_key=key, max_retries=1
    ) as client:
        raw = await client.messages.with_raw_response.create(
            model="sim-openai",
            max_tokens=50,
            messages=[{"role": "user", "content": "#sim tokens=3"}],
        )
        [block] = raw.parse().content
        assert block.type == "text"
        return block.text, raw.retries_taken


@pytest.mark.parametrize("call", [call_openai, call_anthropic], ids=["openai", "anthropic"])
async def test_an_sdk_waits_as_long_as_it_is_told(
    tmp_path: Path, clock: MockClock, call: Callable[..., Any]
) -> None:
    """`retry-after-ms` says half a second, `retry-after` beside it a whole one."""
    async with open_served(tmp_path) as served:
        setup, gateway = served.setup, served.setup.gateway
        _, key = await add_key(gateway, setup.account_id, limits={"requests_per_min": 120})
        admitted = gateway.identify(key, "inference")
        for _ in range(120):
            await gateway.take_request(admitted)
        answers: list[tuple[str | None, int]] = []

        async def ask() -> None:
            answers.append(await call(served, key))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await until(lambda: b"rate_limit_exceeded" in gateway.telemetry.exposition())
            await wait_all_tasks_blocked(0.05)
            clock.jump(0.45)
            await wait_all_tasks_blocked(0.05)
            assert answers == []
            assert setup.sim.truth.records() == []
            clock.jump(0.1)
        [truth] = setup.sim.truth.records()
        assert answers == [(truth.text, 1)]


LONG = "#sim tokens=100000 tokens_per_second=500"


async def take(stream: AsyncIterable[Any], seen: Callable[[], Awaitable[None]]) -> None:
    """All of its events, each told of."""
    async for _ in stream:
        await seen()


async def read_openai(served: Served, seen: Callable[[str | None], Any]) -> Any:
    """What the SDK raises at the end; it has told of each event by then."""
    async with openai.AsyncOpenAI(base_url=served.url, api_key=served.setup.key) as client:
        raw = await client.chat.completions.with_raw_response.create(
            model="sim-openai", stream=True, messages=[{"role": "user", "content": LONG}]
        )
        stream = raw.parse()
        with pytest.raises(openai.APIError) as raised:
            await take(stream, lambda: seen(raw.headers.get("x-request-id")))
    return raised.value.code


async def read_anthropic(served: Served, seen: Callable[[str | None], Any]) -> Any:
    async with anthropic.AsyncAnthropic(base_url=served.origin, api_key=served.setup.key) as client:
        raw = await client.messages.with_raw_response.create(
            model="sim-openai",
            max_tokens=200_000,
            stream=True,
            messages=[{"role": "user", "content": LONG}],
        )
        stream = raw.parse()
        with pytest.raises(anthropic.APIStatusError) as raised:
            await take(stream, lambda: seen(raw.headers.get("x-request-id")))
    body: Any = raised.value.body
    return body["error"]["code"]


@pytest.mark.parametrize("read", [read_openai, read_anthropic], ids=["openai", "anthropic"])
async def test_an_sdk_raises_what_an_operator_has_ended(
    tmp_path: Path, read: Callable[..., Any]
) -> None:
    """It was billed for what came."""
    async with open_served(tmp_path, admin_key=ADMIN_KEY) as served:
        request_ids: list[str] = []

        async def seen(request_id: str | None) -> None:
            assert request_id is not None
            request_ids.append(request_id)
            if len(request_ids) == 20:
                path = f"/admin/exchanges/{request_id}"
                order = request_of(ADMIN_KEY, b"", path=path, method="DELETE")
                async with asked(served, order) as (_, ended):
                    assert status_of(ended) == 200

        with trio.fail_after(30):
            assert await read(served, seen) == "ended_by_operator"
        gc.collect()  # here, not in another test
        receipt = await served.receipt(request_ids[0])

        assert receipt["outcome"] == "shutdown"
        assert "ended_by_operator" in receipt["flags"]
        usage = receipt["usage"]
        assert 0 < receipt["delivered_output_tokens"] <= usage["output_tokens"] < 100_000
        paid = charge(usage["input_tokens"], usage["output_tokens"])
        assert receipt["price"]["nanodollars"] == paid


async def test_a_reload_under_load_drops_nothing(tmp_path: Path) -> None:
    """Streams that run keep their price; those that begin later have the new one."""
    body = chat_body("tokens=150 tokens_per_second=150")
    outcomes: list[bytes] = []
    async with open_served(tmp_path, admin_key=ADMIN_KEY, models=PLAN) as served:
        setup, file = served.setup, tmp_path / CONFIG_FILE
        stop = False
        small: list[int] = []

        async def stream() -> None:
            async with asked(served, request_of(setup.key, body)) as (connection, received):
                while not received.endswith(b"0\r\n\r\n"):
                    part = await connection.receive_some(65_536)
                    assert part
                    received += part
                outcomes.append(received)

        async def keep_asking() -> None:
            while not stop:
                small.extend(await ask_at_once(served, [request_of(setup.key, SMALL)] * 3))

        async def reload(text: str) -> dict[str, Any]:
            file.write_text(text)
            order = request_of(ADMIN_KEY, b"", path="/admin/reload")
            async with asked(served, order) as (_, answer):
                found: dict[str, Any] = orjson.loads(answer.partition(b"\r\n\r\n")[2])
                return found

        before = file.read_text()
        dearer = before.replace("input = 1, output = 2", "input = 3, output = 7")
        async with trio.open_nursery() as nursery:
            for _ in range(30):
                nursery.start_soon(stream)
            await settled(lambda: len(setup.sim.truth.records()) == 30)
            nursery.start_soon(keep_asking)
            first = await reload(dearer)
            broken = await reload(dearer.replace("[providers.sim]", "[providers.sim]\nprotocl = 1"))
            again = await reload(dearer + "\n[plans.later]\nrequests_per_min = 5\n")
            stop = True
        listed: list[dict[str, Any]] = []
        page: dict[str, Any] = {"has_more": True}
        async with served.http() as client:
            while page["has_more"]:
                cursor = {"cursor": page["next_cursor"]} if listed else {}
                page = (await client.get("/receipts", params={"limit": "200", **cursor})).json()
                listed += page["data"]

        assert first["number"] < again["number"]
        assert "plans.later" in again["changed"]
        assert broken["error"]["code"] == "bad_configuration"
        assert "protocl" in broken["error"]["message"]
        assert len(outcomes) == 30
        assert all(status_of(answer) == 200 and b"[DONE]" in answer for answer in outcomes)
        assert small
        assert set(small) == {200}
        assert {receipt["outcome"] for receipt in listed} == {"completed"}
        prices = {
            (receipt["stream"], receipt["rates_picodollars"]["output_tokens"]) for receipt in listed
        }
        assert (True, 2_000_000) in prices
        assert (True, 7_000_000) not in prices
        assert (False, 7_000_000) in prices
