"""Who gets a connection, and who the app is told it is."""

from __future__ import annotations

import json
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from frontends.server import Server, open_server
from frontends.server.forwarded import PEER, parse_trusted
from tests.frontends.server.apps import bounds, dial, read_all, read_until

pytestmark = pytest.mark.usefixtures("each_server")

LOOPBACK = parse_trusted(["127.0.0.0/8"])
GET = b"GET / HTTP/1.1\r\nhost: a\r\n"
LAST = GET + b"connection: close\r\n\r\n"


async def tell_scope(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI app that answers who asked."""
    if scope["type"] != "http":
        return
    peer = scope["extensions"][PEER]
    told = {
        "client": scope["client"],
        "scheme": scope["scheme"],
        "server": scope["server"],
        "local": peer.local,
    }
    body = json.dumps(told).encode()
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def clock() -> MockClock:
    return MockClock(autojump_threshold=0.01)


@asynccontextmanager
async def open_telling(bind: str = "127.0.0.1:0", **settings: Any) -> AsyncIterator[Server]:
    async with open_server(tell_scope, [bind], bounds(**settings)) as server:
        yield server


async def ask(server: Server, *, before: bytes = b"", headers: bytes = b"") -> dict[str, Any]:
    """What the app saw of one request."""
    async with await dial(server) as stream:
        await stream.send_all(before + GET + headers + b"connection: close\r\n\r\n")
        answer = await read_all(stream)
    told: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return told


async def test_the_app_is_told_who_asks() -> None:
    async with open_telling() as server:
        told = await ask(server)
        assert told["client"][0] == "127.0.0.1"
        assert (told["scheme"], told["local"]) == ("http", True)
        assert f"{told['server'][0]}:{told['server'][1]}" == server.addresses[0]
        told = await ask(server, headers=b"x-forwarded-for: 203.0.113.9\r\n")
        assert (told["client"][0], told["local"]) == ("127.0.0.1", False)


async def test_a_trusted_proxy_says_who_asks() -> None:
    async with open_telling(trusted=LOOPBACK) as server:
        forwarded = b"x-forwarded-for: 203.0.113.9\r\nx-forwarded-proto: https\r\n"
        told = await ask(server, headers=forwarded)
        assert (told["client"], told["scheme"]) == (["203.0.113.9", 0], "https")
        assert not told["local"]


async def test_a_client_on_a_unix_socket_has_no_address(tmp_path: Path) -> None:
    path = tmp_path / "p.sock"
    async with open_telling(f"unix:{path}"), await trio.open_unix_socket(path) as stream:
        await stream.send_all(LAST)
        told = json.loads((await read_all(stream)).partition(b"\r\n\r\n")[2])
        assert told["client"] is None
        assert told["server"] == [str(path), None]
        assert told["local"]


async def test_the_proxy_protocol_says_who_asks() -> None:
    async with open_telling(trusted=LOOPBACK, proxy_protocol=True) as server:
        told = await ask(server, before=b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 443\r\n")
        assert told["client"] == ["203.0.113.9", 4711]
        assert told["server"] == ["192.0.2.1", 443]
        assert not told["local"]
        told = await ask(server, before=b"PROXY UNKNOWN\r\n")
        assert (told["client"][0], told["local"]) == ("127.0.0.1", True)


async def test_a_trusted_proxy_has_to_speak_its_protocol() -> None:
    async with (
        open_telling(trusted=LOOPBACK, proxy_protocol=True) as server,
        await dial(server) as stream,
    ):
        await stream.send_all(LAST)
        assert await read_all(stream) in {b"", b"<reset>"}


@pytest.mark.parametrize("settings", [{"proxy_protocol": True}, {"trusted": LOOPBACK}, {}])
async def test_others_may_not_speak_it(settings: dict[str, Any]) -> None:
    async with open_telling(**settings) as server, await dial(server) as stream:
        await stream.send_all(b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 443\r\n" + LAST)
        assert (await read_all(stream)).startswith(b"HTTP/1.1 400")


async def test_a_proxy_that_says_nothing_is_closed(clock: MockClock) -> None:
    settings: dict[str, Any] = {
        "trusted": LOOPBACK,
        "proxy_protocol": True,
        "header_timeout_s": 5.0,
    }
    async with open_telling(**settings) as server, await dial(server) as stream:
        await stream.send_all(b"PROXY TC")
        assert await read_all(stream) in {b"", b"<reset>"}
        assert trio.current_time() >= 5


async def test_one_address_holds_so_many_connections_and_no_more() -> None:
    settings: dict[str, Any] = {
        "trusted": LOOPBACK,
        "proxy_protocol": True,
        "connections_per_ip_max": 2,
    }

    async def enter(server: Server, address: bytes) -> tuple[trio.SocketStream, bytes]:
        stream = await dial(server)
        await stream.send_all(b"PROXY TCP4 %b 192.0.2.1 4711 443\r\n" % address + GET + b"\r\n")
        return stream, await read_until(stream, b"\r\n\r\n")

    async with open_telling(**settings) as server:
        held = [await enter(server, b"203.0.113.9") for _ in range(2)]
        held.append(await enter(server, b"203.0.113.10"))
        assert all(answer.startswith(b"HTTP/1.1 200") for _, answer in held)
        refused, answer = await enter(server, b"203.0.113.9")
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"\r\nretry-after: 1\r\n" in answer
        assert await read_all(refused) == b""  # no reset could overtake it
        assert server.refused_connections == 1
        await held[0][0].aclose()
        await trio.testing.wait_all_tasks_blocked(0.01)  # the server notices
        again, answer = await enter(server, b"203.0.113.9")
        assert answer.startswith(b"HTTP/1.1 200")
        for stream, _ in (*held, (refused, b""), (again, b"")):
            await stream.aclose()


async def test_a_crowd_is_refused_beyond_the_bound() -> None:
    async with open_telling(connections_max=3) as server:
        streams = [await dial(server) for _ in range(10)]
        answers = []
        for stream in streams:
            await stream.send_all(LAST)
            answers.append(await read_all(stream))
        served = sum(answer.startswith(b"HTTP/1.1 200") for answer in answers)
        refused = sum(answer.startswith(b"HTTP/1.1 503") for answer in answers)
        assert (served, refused) == (3, 7)
        for stream in streams:
            await stream.aclose()


@pytest.fixture
def descriptors() -> Iterator[tuple[int, int]]:
    """The limits on open files, restored afterwards."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield limits
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


async def test_a_server_out_of_descriptors_serves_again_once_it_has_some(
    descriptors: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    async with open_telling() as server:
        with socket.socket() as client:
            limit = (client.fileno() + 1, descriptors[1])
            resource.setrlimit(resource.RLIMIT_NOFILE, limit)
            host, _, port = server.addresses[0].rpartition(":")
            client.setblocking(False)
            client.connect_ex((host, int(port)))
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert "cannot accept connections: Too many open files" in caplog.text
            resource.setrlimit(resource.RLIMIT_NOFILE, descriptors)
            assert (await ask(server))["local"]


async def test_a_bound_that_descriptors_do_not_allow_is_warned_of(
    descriptors: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    soft, hard = descriptors
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
    async with open_telling(connections_max=hard):
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
        assert f"connections_max = {hard} needs up to {hard + 1_024} open files" in caplog.text
