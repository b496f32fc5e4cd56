"""Messages to receivers on real sockets that take them, and to such as do not."""

from __future__ import annotations

import ssl
from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trustme
from trio.testing import MockClock

from engine.egress import EgressFailedError, EgressPolicy, EgressRefusedError, parse_hosts, send
from tests.receivers import open_receiver
from tests.webserver import Names, WebServer, answer, moved, open_webserver

LOCAL = EgressPolicy(
    http=True,
    private=parse_hosts(["127.0.0.0/8"]),
    accept=(),
    timeout_s=10.0,
    idle_timeout_s=10.0,
)
MESSAGE = b'{"type":"job.succeeded"}'


def policy_for(server: WebServer, policy: EgressPolicy = LOCAL) -> EgressPolicy:
    return replace(policy, ports=frozenset({server.port}))


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    return Names(monkeypatch)


async def test_a_message_comes_as_it_was_sent() -> None:
    async with open_receiver(202) as receiver:
        port = int(receiver.url.split(":")[2].partition("/")[0])
        policy = replace(LOCAL, ports=frozenset({port}))
        status = await send(receiver.url, policy, MESSAGE, [(b"webhook-id", b"msg_1")])

    (message,) = receiver.messages
    assert status == 202
    assert message.target == "/hooks?from=parshall"
    assert message.body == MESSAGE
    assert message.headers == {
        "host": f"127.0.0.1:{port}",
        "accept-encoding": "identity",
        "user-agent": "parshall",
        "webhook-id": "msg_1",
        "content-length": str(len(MESSAGE)),
    }


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (answer(status="500 Internal Server Error"), 500),
        (answer(b"", status="410 Gone"), 410),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nclosed early", 200),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nno chunk\r\n", 200),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n" + answer(b""), 200),
    ],
)
async def test_what_is_answered_is_told_by_its_status(given: bytes, status: int) -> None:
    async with open_webserver({"/a": given}) as server:
        url = f"http://127.0.0.1:{server.port}/a"
        assert await send(url, policy_for(server), MESSAGE, []) == status


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See", "307 Temp", "308 Perm"])
async def test_a_redirect_is_not_followed(status: str) -> None:
    async with open_webserver({"/inside": answer()}) as inside:
        inward = moved(f"http://127.0.0.1:{inside.port}/inside", status)
        async with open_webserver({"/a": inward}) as server:
            policy = replace(LOCAL, ports=frozenset({server.port, inside.port}))
            sent = await send(f"http://127.0.0.1:{server.port}/a", policy, MESSAGE, [])

    assert sent == int(status[:3])
    assert inside.heads == []


@pytest.mark.parametrize(
    "given",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"x" * 70_000,
    ],
)
async def test_no_answer_is_a_failure(given: bytes) -> None:
    async with open_webserver({"/a": given}) as server:
        with pytest.raises(EgressFailedError):
            await send(f"http://127.0.0.1:{server.port}/a", policy_for(server), MESSAGE, [])


async def test_a_large_answer_is_not_read() -> None:
    sent = 0

    async def flood(stream: trio.abc.Stream) -> None:
        nonlocal sent
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n")
        while True:
            await stream.send_all(b"x" * 100_000)
            sent += 100_000

    async with open_webserver({"/a": flood}) as server:
        url = f"http://127.0.0.1:{server.port}/a"
        assert await send(url, policy_for(server), MESSAGE, []) == 200

    assert sent < 20_000_000  # what the kernel's buffers hold, and no more


@pytest.mark.parametrize(
    ("interval_s", "status", "took_s"),
    [(60.0, None, 10.0), (0.9, 200, 1.0)],
    ids=["says nothing", "trickles when it has taken it"],
)
async def test_a_slow_receiver(
    autojump_clock: MockClock, interval_s: float, status: int | None, took_s: float
) -> None:
    async def trickle(stream: trio.abc.Stream) -> None:
        if status is not None:
            await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")
        while True:
            await trio.sleep(interval_s)
            await stream.send_all(b"x")

    async with open_webserver({"/a": trickle}) as server:
        autojump_clock.autojump_threshold = 0.05  # sockets are real: give them a moment
        started = trio.current_time()
        url = f"http://127.0.0.1:{server.port}/a"
        if status is None:
            with pytest.raises(EgressFailedError, match="too slow"):
                await send(url, policy_for(server), MESSAGE, [])
        else:
            assert await send(url, policy_for(server), MESSAGE, []) == status

    assert trio.current_time() - started == pytest.approx(took_s, abs=0.01)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/a",
        "http://[::ffff:127.0.0.1]:{port}/a",
        "http://internal.test:{port}/a",
        "http://both.test:{port}/a",
    ],
)
async def test_nothing_is_sent_inside(names: Names, url: str) -> None:
    names["internal.test"] = [["127.0.0.1"]]
    names["both.test"] = [["93.184.215.14", "127.0.0.1"]]
    async with open_webserver({"/a": answer()}) as server:
        policy = policy_for(server, replace(LOCAL, private=parse_hosts([])))
        with pytest.raises(EgressRefusedError):
            await send(url.format(port=server.port), policy, MESSAGE, [])

    assert server.heads == []


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """A certificate of `secure.test`, and the file of who vouches for it."""
    ca = trustme.CA()
    path = tmp_path_factory.mktemp("tls") / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("secure.test").configure_cert(context)
    return path, context


async def test_a_receiver_proves_its_name(
    names: Names, authority: tuple[Path, ssl.SSLContext]
) -> None:
    ca_file, context = authority
    names["secure.test"] = names["other.test"] = [["127.0.0.1"]]
    async with open_webserver({"/a": answer()}, tls=context) as server:
        policy = policy_for(server, replace(LOCAL, http=False, ca_file=ca_file))
        with pytest.raises(EgressFailedError, match="cannot be reached"):
            await send(f"https://other.test:{server.port}/a", policy, MESSAGE, [])
        assert server.heads == []
        assert await send(f"https://secure.test:{server.port}/a", policy, MESSAGE, []) == 200
