"""Fetching over real sockets from servers that behave, and from such as do not."""

from __future__ import annotations

import gzip
import ssl
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trustme
from trio.testing import MockClock

from engine.egress import (
    EgressFailedError,
    EgressPolicy,
    EgressRefusedError,
    fetch,
    parse_hosts,
)
from engine.wire.proxy import Proxy
from tests.webserver import (
    PNG,
    Answer,
    Names,
    WebServer,
    answer,
    gzip_of_zeros,
    moved,
    open_webserver,
)

MAX_BYTES = 100_000
LOCAL = EgressPolicy(
    http=True, private=parse_hosts(["127.0.0.0/8"]), max_bytes=MAX_BYTES, redirects_max=3
)


def policy_for(server: WebServer, policy: EgressPolicy = LOCAL) -> EgressPolicy:
    return replace(policy, ports=frozenset({server.port}))


@asynccontextmanager
async def serving(given: Answer) -> AsyncIterator[tuple[str, EgressPolicy, WebServer]]:
    """A URL, a policy that allows it, and the server."""
    async with open_webserver({"/a": given}) as server:
        yield f"http://127.0.0.1:{server.port}/a", policy_for(server), server


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    return Names(monkeypatch)


def chunked(*chunks: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))


@pytest.mark.parametrize(
    "given",
    [
        answer(),
        answer(content_type="Image/PNG; charset=binary"),
        answer(gzip.compress(PNG), content_encoding="gzip"),
        answer(zlib.compress(PNG), content_encoding="deflate"),
        chunked(PNG[:10], PNG[10:]),
        b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\n\r\n" + PNG,
        b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + answer(),
    ],
)
async def test_what_is_there_is_fetched(given: bytes) -> None:
    async with serving(given) as (url, policy, _):
        found = await fetch(url, policy)

    assert found.data == PNG
    assert found.content_type == "image/png"


async def test_a_server_learns_nothing_but_what_is_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    async with open_webserver({"/a?b=c": answer()}) as server:
        url = f"http://127.0.0.1:{server.port}/a?b=c#d"
        await fetch(url, replace(policy_for(server), accept=("image/png",)))

    assert len(server.heads) == 1
    assert server.heads[0].decode().split("\r\n")[:-2] == [
        "GET /a?b=c HTTP/1.1",
        f"host: 127.0.0.1:{server.port}",
        "accept: image/png",
        "accept-encoding: identity",
        "user-agent: parshall",
    ]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (answer(b"x" * (MAX_BYTES + 1)), "larger than 100000 bytes"),
        (answer(b"", content_length=str(10**15)), "larger than 100000 bytes"),
        (chunked(b"x" * MAX_BYTES, b"y"), "larger than 100000 bytes"),
        (answer(gzip_of_zeros(100), content_encoding="gzip"), "inflates to more"),
        (answer(gzip.compress(PNG), content_encoding="gzip, gzip"), "not supported"),
        (answer(b"", content_encoding="br"), "not supported"),
        (answer(gzip.compress(PNG)[:-9], content_encoding="gzip"), "broke off"),
        (answer(b"no gzip", content_encoding="gzip"), "is not gzip"),
        (answer(content_type="text/html"), "is none of image/png"),
        (answer(content_type="image/svg+xml"), "is none of image/png"),
        (answer(content_type=""), "is none of image/png"),
        (answer(b""), "nothing at the URL"),
        (chunked(), "nothing at the URL"),
        (answer(status="404 Not Found"), "status 404"),
        (answer(status="206 Partial Content"), "status 206"),
        (answer(status="304 Not Modified"), "status 304"),
        (moved(""), "status 302"),
        (moved("file:///etc/passwd"), "Only https"),
        (moved("gopher://127.0.0.1:6379/_FLUSHALL"), "Only https"),
        (moved("//127.0.0.1:1/"), "is not allowed"),
        (moved("http://user:secret@127.0.0.1/"), "neither a user"),
        (moved("http://169.254.169.254/latest/meta-data/"), "no address"),
        (moved("http://[::1]/"), "no address"),
        (moved("http://[::ffff:10.0.0.1]/"), "no address"),
        (moved("http://0.0.0.0/", status="307 Temporary Redirect"), "no address"),
        (moved("/a", status="308 Permanent Redirect"), "too often"),
    ],
)
async def test_what_is_there_is_refused(given: bytes, words: str) -> None:
    async with serving(given) as (url, policy, _):
        with pytest.raises(EgressRefusedError, match=words) as caught:
            await fetch(url, policy)

    assert caught.value.status == 400
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: 9\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n content-type: image/png\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"x" * 70_000,
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 200,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 20,
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
        answer(status="503 Service Unavailable"),
    ],
)
async def test_a_server_that_fails(given: bytes) -> None:
    async with serving(given) as (url, policy, _):
        with pytest.raises(EgressFailedError) as caught:
            await fetch(url, policy)

    assert caught.value.status == 502


async def test_a_body_without_end_is_read_to_the_bound_only() -> None:
    sent = 0

    async def flood(stream: trio.abc.Stream) -> None:
        nonlocal sent
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\n\r\n")
        while True:
            await stream.send_all(b"x" * 10_000)
            sent += 10_000

    async with serving(flood) as (url, policy, _):
        with pytest.raises(EgressRefusedError, match="larger"):
            await fetch(url, policy)

    assert sent < 20_000_000  # what the kernel's buffers hold, and no more


@pytest.mark.parametrize(
    ("interval_s", "at_s"),
    [(6.0, 5.0), (2.0, 20.0)],
    ids=["silent", "trickling"],
)
async def test_a_slow_server_is_given_up(
    autojump_clock: MockClock, interval_s: float, at_s: float
) -> None:
    async def trickle(stream: trio.abc.Stream) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\n\r\n")
        while True:
            await trio.sleep(interval_s)
            await stream.send_all(b"x")

    async with serving(trickle) as (url, policy, _):
        autojump_clock.autojump_threshold = 0.05  # sockets are real: give them a moment
        started = trio.current_time()
        with pytest.raises(EgressFailedError, match="too slow"):
            await fetch(url, policy)

    assert trio.current_time() - started == pytest.approx(at_s, abs=0.01)


async def test_redirects_are_followed_to_the_third() -> None:
    answers: dict[str, Answer] = {f"/{n}": moved(f"/{n + 1}") for n in range(4)}
    answers["/4"] = answer()
    async with open_webserver(answers) as server:
        found = await fetch(f"http://127.0.0.1:{server.port}/1", policy_for(server))
        with pytest.raises(EgressRefusedError, match="too often"):
            await fetch(f"http://127.0.0.1:{server.port}/0", policy_for(server))

    assert found.data == PNG
    assert server.paths == ["/1", "/2", "/3", "/4", "/0", "/1", "/2", "/3"]


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/a",
        "http://[::ffff:127.0.0.1]:{port}/a",
        "http://localhost:{port}/a",
        "http://internal.test:{port}/a",
        "http://both.test:{port}/a",
        "http://nowhere.test:{port}/a",
        "http://many.test:{port}/a",
    ],
)
async def test_nobody_learns_whether_a_refused_address_listens(names: Names, url: str) -> None:
    names["internal.test"] = [["127.0.0.1"]]
    names["both.test"] = [["93.184.215.14", "127.0.0.1"]]
    names["many.test"] = [[f"93.184.215.{n}" for n in range(1, 30)]]
    async with open_webserver({"/a": answer()}) as server:
        policy = policy_for(server, EgressPolicy(http=True))
        with pytest.raises(EgressRefusedError) as caught:
            await fetch(url.format(port=server.port), policy)

    assert server.heads == []
    assert str(caught.value) == "The host of the URL has no address that may be fetched from."


async def test_a_name_is_resolved_once_and_connected_to_what_was_checked(names: Names) -> None:
    """Rebinding: the first answer is allowed, and nobody listens there; the second is not."""
    names["rebinding.test"] = [["127.0.0.2"], ["127.0.0.1"]]
    async with open_webserver({"/a": answer()}, host="127.0.0.1") as server:
        policy = policy_for(server, replace(LOCAL, private=parse_hosts(["127.0.0.2"])))
        with pytest.raises(EgressFailedError, match="cannot be reached"):
            await fetch(f"http://rebinding.test:{server.port}/a", policy)

    assert names.asked == ["rebinding.test"]
    assert server.heads == []


async def test_a_redirect_to_the_same_name_is_resolved_and_checked_again(names: Names) -> None:
    names["rebinding.test"] = [["127.0.0.2"], ["127.0.0.1"]]
    async with (
        open_webserver({"/a": moved("/b"), "/b": answer()}, host="127.0.0.2") as allowed,
        open_webserver({"/b": answer()}, host="127.0.0.1", port=allowed.port) as refused,
    ):
        policy = policy_for(allowed, replace(LOCAL, private=parse_hosts(["127.0.0.2"])))
        with pytest.raises(EgressRefusedError, match="no address"):
            await fetch(f"http://rebinding.test:{allowed.port}/a", policy)

    assert allowed.paths == ["/a"]
    assert refused.heads == []


async def test_another_address_of_a_name_is_tried(names: Names) -> None:
    names["two.test"] = [["127.0.0.2", "127.0.0.1"]]
    async with open_webserver({"/a": answer()}, host="127.0.0.1") as server:
        found = await fetch(f"http://two.test:{server.port}/a", policy_for(server))

    assert found.data == PNG
    assert b"\r\nhost: two.test:" in server.heads[0]


async def test_what_is_denied_is_not_even_resolved(names: Names) -> None:
    policy = replace(LOCAL, denied=parse_hosts(["evil.test"]))

    with pytest.raises(EgressRefusedError, match="not allowed"):
        await fetch("http://www.evil.test/a", policy)

    assert names.asked == []


async def test_a_proxy_is_asked_for_the_address_that_was_checked(names: Names) -> None:
    names["images.test"] = [["127.0.0.9"]]

    async def tunnel(stream: trio.abc.Stream) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
        await stream.receive_some()
        await stream.send_all(answer())

    async with open_webserver({"127.0.0.9:80": tunnel}) as proxy:
        found = await fetch(
            "http://images.test/a", replace(LOCAL, proxy=Proxy("127.0.0.1", proxy.port))
        )

    assert found.data == PNG


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """A certificate of `secure.test`, and the file of who vouches for it."""
    ca = trustme.CA()
    path = tmp_path_factory.mktemp("tls") / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("secure.test").configure_cert(context)
    return path, context


async def test_tls_is_checked_against_the_name(
    names: Names, authority: tuple[Path, ssl.SSLContext]
) -> None:
    ca_file, context = authority
    names["secure.test"] = names["other.test"] = [["127.0.0.1"]]
    async with open_webserver({"/a": answer()}, tls=context) as server:
        policy = policy_for(server, replace(LOCAL, http=False, ca_file=ca_file))
        found = await fetch(f"https://secure.test:{server.port}/a", policy)
        for url, trusted in (
            (f"https://other.test:{server.port}/a", policy),
            (f"https://secure.test:{server.port}/a", replace(policy, ca_file=None)),
        ):
            with pytest.raises(EgressFailedError, match="cannot be reached"):
                await fetch(url, trusted)

    assert found.data == PNG
    assert len(server.heads) == 1


async def test_a_redirect_does_not_leave_tls(
    names: Names, authority: tuple[Path, ssl.SSLContext]
) -> None:
    ca_file, context = authority
    names["secure.test"] = [["127.0.0.1"]]
    async with open_webserver({"/a": moved("http://secure.test/b")}, tls=context) as server:
        policy = policy_for(server, replace(LOCAL, http=False, ca_file=ca_file))
        with pytest.raises(EgressRefusedError, match="scheme"):
            await fetch(f"https://secure.test:{server.port}/a", policy)


async def test_a_fetch_can_be_left() -> None:
    """Whoever asked is gone: nothing is kept open."""
    asked, closed = trio.Event(), trio.Event()

    async def wait(stream: trio.abc.Stream) -> None:
        asked.set()
        assert await stream.receive_some() == b""
        closed.set()

    async with serving(wait) as (url, policy, _), trio.open_nursery() as nursery:
        nursery.start_soon(fetch, url, policy)
        await asked.wait()
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True), trio.fail_after(30):
            await closed.wait()
