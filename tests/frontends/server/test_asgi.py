"""An ASGI application between requests and answers: its messages, its faults, its start and end."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from frontends.server.asgi import (
    CANCEL_ON_LEAVE,
    LIFESPAN_TIMEOUT_S,
    AppRunner,
    StartupError,
    run_lifespan,
)
from frontends.server.interfaces import Headers
from frontends.server.settings import ErrorBody

App = Callable[[Any, Any, Any], Awaitable[None]]


@dataclass
class Transcript:
    """A client that takes everything: what it was told, in order."""

    said: list[Any] = field(default_factory=list)
    consumed_bytes: int = 0
    gone: bool = False
    writable: bool = True
    delivered_bytes: int = 0

    def start(self, status: int, headers: Headers) -> None:
        self.said.append((status, headers))

    def send_continue(self) -> None:
        self.said.append("continue")

    def send_nowait(self, data: bytes) -> bool:
        self.said.append(data)
        return self.writable

    def finish(self) -> None:
        self.said.append("finish")

    def abort(self) -> None:
        self.gone = True
        self.said.append("abort")

    def uncork(self, head: bytes) -> None:
        self.said.append(head)

    def consumed(self, size: int) -> None:
        self.consumed_bytes += size

    async def wait_drained(self) -> None:
        await trio.lowlevel.checkpoint()

    async def wait_writable(self) -> None:
        self.said.append("waited")
        await trio.lowlevel.checkpoint()


def start(status: int = 200, headers: Headers | None = None) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": headers or []}


def body(data: bytes = b"", *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


def render_error(status: int) -> ErrorBody:
    return ErrorBody([(b"x-status", b"%d" % status)], b"sorry")


@asynccontextmanager
async def open_runner(app: App) -> AsyncIterator[AppRunner]:
    async with trio.open_nursery() as nursery:
        yield AppRunner(app, nursery, {"kept": [1]}, render_error)


def scope() -> dict[str, Any]:
    return {"type": "http", "extensions": {}}


async def test_a_body_is_given_as_it_comes_and_counted_when_it_is_taken() -> None:
    taken: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await trio.testing.wait_all_tasks_blocked()
        while not taken or taken[-1]["more_body"]:
            taken.append(await receive())
        await send(start())
        await send(body(b"ok"))

    client = Transcript()
    async with open_runner(app) as runner:
        exchange = runner.begin(scope(), client)
        exchange.body(b"ab", ended=False)
        exchange.body(b"cd", ended=False)
        assert client.consumed_bytes == 0
        while not taken:
            await wait_all_tasks_blocked()
        assert client.consumed_bytes == 4
        exchange.body(b"e", ended=True)
    assert [(message["body"], message["more_body"]) for message in taken] == [
        (b"abcd", True),
        (b"e", False),
    ]
    assert client.said == ["continue", (200, []), b"ok", "finish"]


async def test_a_client_is_asked_for_its_body_once_the_app_wants_it() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start(401))
        await send(body(b"no"))

    client = Transcript()
    async with open_runner(app) as runner:
        runner.begin(scope(), client)
    assert "continue" not in client.said


async def test_after_its_answer_an_app_hears_of_no_disconnect() -> None:
    heard: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "http.request"
        await send(start())
        await send(body(b"ok"))
        with trio.move_on_after(0.01):
            heard.append(await receive())

    client = Transcript()
    async with open_runner(app) as runner:
        exchange = runner.begin(scope(), client)
        exchange.body(b"", ended=True)
        await wait_all_tasks_blocked()
        exchange.leave()
    assert heard == []


async def test_leaving_overtakes_the_body_and_ends_what_is_sent() -> None:
    heard: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await trio.testing.wait_all_tasks_blocked()
        heard.append((await receive())["type"])
        with pytest.raises(trio.BrokenResourceError):
            await send(start())

    client = Transcript()
    async with open_runner(app) as runner:
        exchange = runner.begin(scope(), client)
        exchange.body(b"x" * 100, ended=False)
        exchange.leave()
    assert heard == ["http.disconnect"]
    assert client.said == ["continue"]


async def test_an_app_that_asks_is_cancelled_when_the_client_leaves() -> None:
    ended: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["extensions"][CANCEL_ON_LEAVE]()
        try:
            await trio.sleep_forever()
        finally:
            ended.append("cancelled")

    async with open_runner(app) as runner:
        exchange = runner.begin(scope(), Transcript())
        await wait_all_tasks_blocked()
        exchange.leave()
    assert ended == ["cancelled"]


async def raises_at_once(scope: Any, receive: Any, send: Any) -> None:
    raise RuntimeError("a planted fault")


async def raises_after_its_head(scope: Any, receive: Any, send: Any) -> None:
    await send(start())
    raise RuntimeError("a planted fault")


async def raises_in_a_task(scope: Any, receive: Any, send: Any) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(raises_at_once, scope, receive, send)
        await trio.sleep_forever()


async def breaks_without_anybody_leaving(scope: Any, receive: Any, send: Any) -> None:
    raise trio.BrokenResourceError("a planted fault")


async def says_nothing(scope: Any, receive: Any, send: Any) -> None:
    pass


async def says_a_body_first(scope: Any, receive: Any, send: Any) -> None:
    await send(body(b"a planted fault"))


async def starts_twice(scope: Any, receive: Any, send: Any) -> None:
    await send(start())
    await send(start())


FAILED = [(500, [(b"x-status", b"500"), (b"content-length", b"5")]), b"sorry", "finish"]


@pytest.mark.parametrize(
    ("app", "said", "logged"),
    [
        (raises_at_once, FAILED, "a planted fault"),
        (raises_in_a_task, FAILED, "a planted fault"),
        (breaks_without_anybody_leaving, FAILED, "a planted fault"),
        (says_nothing, FAILED, "without a whole answer"),
        (says_a_body_first, FAILED, "no place"),
        (raises_after_its_head, [(200, []), "abort"], "a planted fault"),
        (starts_twice, [(200, []), "abort"], "no place"),
    ],
)
async def test_a_fault_of_the_app_ends_its_request_only(
    app: App, said: list[Any], logged: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = Transcript()
    with caplog.at_level(logging.ERROR, "parshall.server"):
        async with open_runner(app) as runner:
            runner.begin(scope(), client)
    assert client.said == said
    assert logged in caplog.text


async def test_an_app_that_runs_ahead_of_its_client_waits() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        await send(body(b"a", more=True))
        await send(body(b"b"))

    client = Transcript(writable=False)
    async with open_runner(app) as runner:
        runner.begin(scope(), client)
    assert client.said == [(200, []), b"a", "waited", b"b", "finish"]


async def test_an_app_that_never_waits_gives_way_to_others() -> None:
    turns: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        for count in range(1_000):
            await send(body(b"x", more=True))
            turns.append(count)
        await send(body())

    async with open_runner(app) as runner:
        runner.begin(scope(), Transcript())
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        assert 0 < len(turns) < 1_000


async def test_state_is_shared_by_copies() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["state"]["kept"].append(2)
        scope["state"]["mine"] = True
        seen.append(scope["state"])
        await send(start())
        await send(body())

    async with open_runner(app) as runner:
        runner.begin(scope(), Transcript())
        await wait_all_tasks_blocked()
        runner.begin(scope(), Transcript())
    assert seen[1] == {"kept": [1, 2, 2], "mine": True}
    assert seen[0] is not seen[1]


# -- lifespan ---------------------------------------------------------------------------------


async def test_an_app_starts_before_and_ends_after_the_block() -> None:
    events: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "lifespan"
        assert (await receive())["type"] == "lifespan.startup"
        scope["state"]["pool"] = "open"
        events.append("started")
        await send({"type": "lifespan.startup.complete"})
        assert (await receive())["type"] == "lifespan.shutdown"
        events.append("ended")
        await send({"type": "lifespan.shutdown.complete"})

    async with run_lifespan(app) as state:
        assert state == {"pool": "open"}
        events.append("served")
    assert events == ["started", "served", "ended"]


async def no_lifespan_returns(scope: Any, receive: Any, send: Any) -> None:
    return


async def no_lifespan_raises(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"


@pytest.mark.parametrize("app", [no_lifespan_returns, no_lifespan_raises])
async def test_an_app_without_lifespan_is_served(app: App) -> None:
    async with run_lifespan(app) as state:
        assert state == {}


async def test_an_app_that_cannot_start_says_why() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    with pytest.raises(StartupError, match="cannot start: no database"):
        async with run_lifespan(app):
            pass


async def test_an_app_that_never_starts_is_not_waited_for(autojump_clock: MockClock) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await trio.sleep_forever()

    with pytest.raises(StartupError, match=f"within {LIFESPAN_TIMEOUT_S:g} s"):
        async with run_lifespan(app):
            pass


async def test_an_app_that_never_ends_is_not_waited_for(autojump_clock: MockClock) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "lifespan.startup.complete"})
        await trio.sleep_forever()

    async with run_lifespan(app):
        started = trio.current_time()
    assert trio.current_time() - started == pytest.approx(LIFESPAN_TIMEOUT_S)


async def test_a_fault_of_the_block_comes_out_as_it_is() -> None:
    with pytest.raises(KeyError):
        async with run_lifespan(no_lifespan_returns):
            raise KeyError("mine")
