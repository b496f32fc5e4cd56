"""Request bodies: lazily taken, bounded in size, time and number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock

from engine.config_tables import ServerConfig
from engine.errors import BodyTooLargeError, UnavailableError
from engine.spool import Spool, SpoolFile
from frontends.bodies import (
    SPOOLED_AT_ONCE_BYTES,
    BodyTimeoutError,
    LazyBody,
    ParseBudget,
    read_body,
    taking_of,
)
from tests.frontends.apps import open_front
from tests.frontends.server.apps import read_until
from tests.gateways import DOLLAR, chat_body, settled

NEVER = 10**9
BOUNDS = ServerConfig()


class FakeRequest:
    """Just what `read_body` reads of a request."""

    def __init__(self, length: int | None = None) -> None:
        self.content_length = length
        self.body = LazyBody(length, None)


@pytest.fixture
def clock() -> MockClock:
    return MockClock(autojump_threshold=0)


def bounds_of(max_bytes: int, spooled_min_bytes: int = NEVER) -> ServerConfig:
    return ServerConfig(body_max_bytes=max_bytes, spooled_min_bytes=spooled_min_bytes)


def budget_of(max_bytes: int) -> ParseBudget:
    refusal = UnavailableError("Too much at once.", retry_after_s=1)
    return ParseBudget(max_bytes, Spool(None, 10_000), lambda: refusal)


async def read(request: Any, *, room: int = 10_000, max_bytes: int = 1_000) -> bytes:
    with budget_of(room).taking({}) as taking:
        data = await read_body(request, taking, bounds_of(max_bytes, NEVER), trio.CancelScope())
        assert isinstance(data, bytes)
        return data


async def test_the_parts_of_a_body_are_joined() -> None:
    request = FakeRequest()
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            await request.body.wanted.wait()
            for part in (b"one ", b"two ", b"three"):
                request.body.append(part)
                await trio.lowlevel.checkpoint()
            request.body.set_complete()

        nursery.start_soon(send)
        assert await read(request) == b"one two three"


async def test_a_declared_length_over_the_limit_is_refused_unread() -> None:
    request = FakeRequest(1_001)

    with pytest.raises(BodyTooLargeError):
        await read(request)
    assert not request.body.wanted.is_set()


@pytest.mark.parametrize(("size", "fits"), [(1_000, True), (1_001, False)])
async def test_the_limit_is_exact(size: int, fits: bool) -> None:
    request = FakeRequest()
    request.body.append(b"x" * size)
    request.body.set_complete()
    if fits:
        assert len(await read(request)) == size
    else:
        with pytest.raises(BodyTooLargeError):
            await read(request)


async def test_a_silent_client_is_timed_out(clock: MockClock) -> None:
    started = trio.current_time()
    with pytest.raises(BodyTimeoutError):
        await read(FakeRequest())

    assert trio.current_time() - started == BOUNDS.body_grace_s


async def test_how_slow_a_body_may_be_is_configurable(clock: MockClock) -> None:
    request = FakeRequest()
    request.body.append(b"x" * 400)
    started = trio.current_time()
    bounds = ServerConfig(body_grace_s=5, body_rate_min_bytes_per_s=100)
    with budget_of(1_000).taking({}) as taking, pytest.raises(BodyTimeoutError):
        await read_body(request, taking, bounds, trio.CancelScope())

    assert trio.current_time() - started == 5 + 400 / 100


async def test_a_trickle_is_timed_out_whatever_its_pauses(clock: MockClock) -> None:
    request = FakeRequest()
    async with trio.open_nursery() as nursery:

        async def trickle() -> None:
            while True:
                request.body.append(b"x")
                await trio.sleep(BOUNDS.body_grace_s / 2)

        nursery.start_soon(trickle)
        with pytest.raises(BodyTimeoutError):
            await read(request)
        nursery.cancel_scope.cancel()

    assert trio.current_time() <= BOUNDS.body_grace_s + 1


async def test_a_large_body_may_take_its_time(clock: MockClock) -> None:
    request = FakeRequest()
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            for _ in range(20):
                request.body.append(b"x" * 20_480)
                await trio.sleep(10)
            request.body.set_complete()

        nursery.start_soon(send)
        data = await read(request, room=1_000_000, max_bytes=1_000_000)

    assert len(data) == 409_600


async def test_room_is_taken_until_a_request_ends_or_needs_it_no_more() -> None:
    budget = budget_of(100)
    for _ in range(5):
        request: Any = FakeRequest()
        request.body.append(b"x" * 100)
        request.body.set_complete()
        with budget.taking(scope := dict[str, Any]()) as taking:
            await read_body(request, taking, bounds_of(1_000, NEVER), trio.CancelScope())
            assert budget.held_bytes == 100
            taking_of(scope).give_back()
            assert budget.held_bytes == 0
    with budget.taking({}) as taking, budget.taking({}) as another:
        taking.more(b"x" * 60)
        request = FakeRequest()
        request.body.append(b"x" * 41)
        with pytest.raises(UnavailableError):
            await read_body(request, another, bounds_of(1_000, NEVER), trio.CancelScope())
        assert budget.held_bytes == 60
    assert budget.held_bytes == 0


@pytest.mark.parametrize("declared", [True, False])
async def test_a_large_body_goes_to_a_file(declared: bool) -> None:
    budget = budget_of(SPOOLED_AT_ONCE_BYTES * 2)
    budget.spool = Spool(None, 10_000_000)
    parts = [bytes([number]) * 100_000 for number in range(20)]
    request: Any = FakeRequest(2_000_000 if declared else None)
    with budget.taking({}) as taking:
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                for part in parts:
                    request.body.append(part)
                    await settled(lambda: not request.body._data)
                    assert budget.held_bytes < SPOOLED_AT_ONCE_BYTES * 2
                request.body.set_complete()

            nursery.start_soon(send)
            data = await read_body(request, taking, bounds_of(NEVER, 300_000), trio.CancelScope())
        assert isinstance(data, SpoolFile)
        assert b"".join(data.pieces()) == b"".join(parts)
        assert (budget.held_bytes, budget.spool.used_bytes) == (0, 2_000_000)
    assert budget.spool.used_bytes == 0


@pytest.mark.parametrize("declared", [True, False])
async def test_a_full_spool_refuses(declared: bool) -> None:
    budget = budget_of(NEVER)
    request: Any = FakeRequest(20_000 if declared else None)
    request.body.append(b"x" * 20_000)
    request.body.set_complete()
    with budget.taking({}) as taking, pytest.raises(UnavailableError):
        await read_body(request, taking, bounds_of(NEVER, 1_000), trio.CancelScope())

    assert request.body.wanted.is_set() is not declared, "known unread where it is declared"
    assert (budget.held_bytes, budget.spool.used_bytes) == (0, 0)


async def test_what_finds_no_room_is_refused_unread() -> None:
    request: Any = FakeRequest(101)
    with budget_of(100).taking({}) as taking, pytest.raises(UnavailableError):
        await read_body(request, taking, bounds_of(1_000, NEVER), trio.CancelScope())

    assert not request.body.wanted.is_set()


async def test_room_is_given_back_once_the_answer_has_begun(tmp_path: Path) -> None:
    async with open_front(tmp_path) as front:

        def held_bytes() -> float | None:
            return front.setup.gateway.telemetry.registry.get_sample_value("parshall_body_bytes")

        body = chat_body("tokens=1000 tokens_per_second=50")
        async with front.client.stream("POST", "/v1/chat/completions", content=body) as response:
            assert response.status_code == 200
            assert held_bytes() == 0
        refused = await front.client.post("/v1/chat/completions", content=b"{")
        assert refused.status_code == 400
        await settled(lambda: held_bytes() == 0)


async def test_a_refused_body_is_dropped() -> None:
    body = LazyBody(None, None)
    body.append(b"before")
    body.refuse()
    body.append(b"after")
    body.set_complete()

    assert await body == b""


async def test_a_client_that_leaves_while_sending_is_forgotten(tmp_path: Path) -> None:
    body = chat_body()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer %s\r\n"
    async with open_front(tmp_path) as front:
        async with await trio.open_tcp_stream(*front.address) as stream:
            await stream.send_all(head % front.setup.key.encode())
            await stream.send_all(b"content-length: %d\r\n\r\n" % (len(body) + 1) + body)
            await trio.testing.wait_all_tasks_blocked(0.01)
        while front.server.open_connections:
            await trio.testing.wait_all_tasks_blocked(0.01)

        assert front.setup.sim.truth.records() == []
        assert await front.setup.balance() == 1_000_000_000


async def test_a_large_upload_asks_before_it_is_sent(tmp_path: Path) -> None:
    """curl does so: `Expect: 100-continue`. An unknown key is refused without the upload."""
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer %s\r\n"
        b"expect: 100-continue\r\ncontent-length: 2000000\r\n\r\n"
    )
    async with open_front(tmp_path) as front:
        async with await trio.open_tcp_stream(*front.address) as stream:
            await stream.send_all(head % b"sk-parshall-unknown")
            assert (await read_until(stream, b"\r\n")).startswith(b"HTTP/1.1 401")
        async with await trio.open_tcp_stream(*front.address) as stream:
            await stream.send_all(head % front.setup.key.encode())
            assert (await read_until(stream, b"\r\n")).startswith(b"HTTP/1.1 100")


async def test_many_bodies_at_once(tmp_path: Path) -> None:
    statuses: list[tuple[int, str | None]] = []
    body = chat_body("tokens=1", stream=False, user="x" * 200_000)
    server = "body_max_bytes = 250_000\nparsing_max_bytes = 1_000_000"
    async with open_front(tmp_path, server=server, funds_nanodollars=1_000 * DOLLAR) as front:

        async def post() -> None:
            headers = {"authorization": f"Bearer {front.setup.key}"}
            base_url = f"http://{front.server.addresses[0]}"
            async with httpx.AsyncClient(base_url=base_url, headers=headers, timeout=30) as client:
                response = await client.post("/v1/chat/completions", content=body)
                statuses.append((response.status_code, response.headers.get("retry-after")))

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(post)
        await post()
        metrics = front.setup.gateway.telemetry.exposition().decode()

    assert statuses[-1] == (200, None), "room was given back"
    refused = [retry for status, retry in statuses if status == 503]
    assert set(refused) <= set("12345")
    assert len(refused) + sum(status == 200 for status, _ in statuses) == 21
    assert refused == [] or f'parshall_shed_total{{reason="bodies"}} {len(refused)}.0' in metrics
