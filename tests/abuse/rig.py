"""A served gateway in a thread of its own, requests as raw as a case wants them, and what has to
hold after each: the process lives, no money moved, nothing secret was logged or said."""

from __future__ import annotations

import http.client
import io
import json
import logging
import queue
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from engine import Gateway
from engine.admission.keys import SCOPES
from frontends.app import GatewayApp, create_app, render_server_error
from frontends.logs import JsonFormatter, logging_to
from frontends.server import ServerSettings, open_server
from frontends.server.settings import ServerKind
from tests.gateways import DOLLAR, HTTP2, Setup, add_key, open_setup, settled
from tests.webserver import Names, WebServer, open_webserver

T = TypeVar("T")

PROMPT_CANARY = "canary-of-a-prompt-7f3a"
OTHER_CANARY = "canary-of-another-account-2c81"
"""The name of the other account, and of its key."""
ADMIN_KEY = "the-operators-own-credential-which-is-long"
BODY_MAX_BYTES = 12 * 1024 * 1024
TIMEOUT_S = 30.0

MODELS_TEXT = f"""
[egress]
http = true
ports = [WEB_PORT]
private = ["images.test"]
denied = ["denied.test"]
urls_max = 3
max_bytes = 100_000
timeout_s = 15
idle_timeout_s = 1.5
[providers.inlining-gemini]
protocol = "gemini"
base_url = "$SIM/v1beta"
http2 = "{HTTP2}"
inlines = ["image", "document"]
[models.inlining-gemini]
deployments = [{{ provider = "inlining-gemini", model = "sim-gemini" }}]
price = {{ input = 1, output = 2 }}
[providers.inlining-anthropic]
protocol = "anthropic"
base_url = "$SIM/v1"
http2 = "{HTTP2}"
inlines = ["image", "document"]
[models.inlining-anthropic]
deployments = [{{ provider = "inlining-anthropic", model = "sim-anthropic" }}]
price = {{ input = 1, output = 2 }}
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class State:
    """What an attack must not change."""

    available: tuple[int, ...]
    """Nanodollars of each account."""
    asked: int
    """Requests that have reached a provider."""
    held: int
    open_exchanges: int


@dataclass
class Rig:
    """Where the gateway listens, two accounts with a key each, and what it has logged."""

    setup: Setup
    port: int
    web: WebServer
    names: Names
    token: trio.lowlevel.TrioToken
    other_account_id: str
    other_key_id: str
    other_key: str
    full_key: str
    """Of the account that attacks, with all scopes."""
    app: GatewayApp
    log: io.StringIO
    last_state: State
    """As it was after the case before."""

    @property
    def key(self) -> str:
        """Of the account that attacks."""
        return self.setup.key

    def run(self, function: Callable[[], Awaitable[T]]) -> T:
        """Have the gateway's own thread do something, and wait for it."""
        return trio.from_thread.run(function, trio_token=self.token)

    def state(self) -> State:
        """As it is now."""
        return self.run(self._state)

    async def _state(self) -> State:
        await wait_all_tasks_blocked(0.003)  # what follows an answer has been done, and logged
        ledger = self.setup.gateway.ledger
        accounts = (self.setup.account_id, self.other_account_id)
        return State(
            tuple(map(ledger.available_nanodollars, accounts)),
            len(self.setup.sim.truth.records()),
            ledger.statistics().held_nanodollars,
            self.setup.gateway.open_exchanges,
        )

    def wait_quiet(self) -> None:
        """Until no exchange is under way."""
        self.run(self._wait_quiet)

    async def _wait_quiet(self) -> None:
        await settled(lambda: self.setup.gateway.open_exchanges == 0)

    def forget_failures(self) -> None:
        """What providers have done in other cases counts no more: none is left alone for it."""
        self.run(self._forget_failures)

    async def _forget_failures(self) -> None:
        health = self.setup.gateway._parts.health
        health.renew(health.rules, (), ())

    def logged(self) -> str:
        """All lines so far."""
        return self.log.getvalue()

    def connect(self) -> socket.socket:
        """A connection to the gateway; its user closes it."""
        return socket.create_connection(("127.0.0.1", self.port), TIMEOUT_S)

    def send(self, raw: bytes, *, method: str = "POST", source: str = "127.0.0.1") -> Answer:
        """The answer to bytes on a connection of their own, from an address of this machine."""
        place = ("127.0.0.1", self.port)
        with socket.create_connection(place, TIMEOUT_S, (source, 0)) as connection:
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(raw)  # an early answer may be all that is read of it
            response = http.client.HTTPResponse(connection, method=method)
            response.begin()
            body = response.read()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, headers, body)

    def ask(
        self,
        path: str,
        body: bytes | dict[str, Any] = b"",
        *,
        method: str = "POST",
        headers: Mapping[str, str | bytes] | None = None,
        source: str = "127.0.0.1",
    ) -> Answer:
        """A request that is well formed but for what is given; headers go out as they are."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        fields: dict[str, str | bytes] = {
            "host": "gateway",
            "authorization": f"Bearer {self.key}",
            "content-type": "application/json",
            "content-length": str(len(data)),
        }
        fields |= headers or {}
        lines = [
            name.encode() + b": " + (value.encode() if isinstance(value, str) else value)
            for name, value in fields.items()
            if value
        ]
        head = b"%b %b HTTP/1.1\r\n" % (method.encode(), path.encode())
        raw = head + b"\r\n".join(lines) + b"\r\n\r\n" + data
        return self.send(raw, method=method, source=source)


def chat(**changes: Any) -> dict[str, Any]:
    """A small chat request with the canary in its prompt."""
    message = {"role": "user", "content": f"#sim tokens=2\n{PROMPT_CANARY}"}
    return {"model": "sim-openai", "messages": [message], "stream": False} | changes


def check_error(answer: Answer, protocol: str = "openai_chat") -> dict[str, Any]:
    """The error of an answer, after checking its shape in the protocol."""
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "private, no-store"
    document = answer.document
    error: dict[str, Any] = document["error"]
    match protocol:
        case "anthropic":
            assert document["type"] == "error"
            assert set(error) == {"type", "message", "code"}
            assert document["request_id"] == answer.headers["request-id"]
        case "gemini":
            assert set(error) <= {"code", "message", "status", "details"}
            assert error["code"] == answer.status
        case _:
            assert set(document) == {"error"}
            assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    return error


@contextmanager
def open_rig(folder: Path, server: ServerKind) -> Iterator[Rig]:
    """Serve until the block is left; then the invariants are checked."""
    started: queue.SimpleQueue[Rig | BaseException] = queue.SimpleQueue()
    stop = trio.Event()
    log = io.StringIO()

    async def serve(names: Names) -> None:
        settings = ServerSettings(render_error=render_server_error, server=server)
        async with open_webserver({}) as web:
            models = MODELS_TEXT.replace("WEB_PORT", str(web.port))
            bounds = f"body_max_bytes = {BODY_MAX_BYTES}"
            async with (
                open_setup(folder, models=models, server=bounds, admin_key=ADMIN_KEY) as setup,
                open_server(app := create_app(setup.gateway), ["127.0.0.1:0"], settings) as served,
            ):
                account_id, key_id, key = await _add_account(setup.gateway)
                _, full_key = await add_key(setup.gateway, setup.account_id, scopes=SCOPES)
                port = int(served.addresses[0].rpartition(":")[2])
                token = trio.lowlevel.current_trio_token()
                state = State((DOLLAR, DOLLAR), 0, 0, 0)
                started.put(
                    Rig(
                        setup=setup,
                        port=port,
                        web=web,
                        names=names,
                        token=token,
                        other_account_id=account_id,
                        other_key_id=key_id,
                        other_key=key,
                        full_key=full_key,
                        app=app,
                        log=log,
                        last_state=state,
                    )
                )
                await stop.wait()

    def run(names: Names) -> None:
        try:
            trio.run(serve, names)
        except BaseException as error:
            started.put(error)
            raise

    with pytest.MonkeyPatch.context() as patch, _logging_to(log):
        thread = threading.Thread(target=run, args=(Names(patch),))
        thread.start()
        rig = started.get(timeout=60)
        if isinstance(rig, BaseException):
            raise rig
        try:
            yield rig
        finally:
            trio.from_thread.run_sync(stop.set, trio_token=rig.token)
            thread.join(60)
    assert not thread.is_alive()
    assert started.empty(), started.get()


@contextmanager
def _logging_to(stream: io.StringIO) -> Iterator[None]:
    """As `frontends.logs.logging_to` in its words and levels, but at once."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    with logging_to(io.StringIO(), "debug"):
        logging.getLogger().addHandler(handler)
        try:
            yield
        finally:
            logging.getLogger().removeHandler(handler)


async def _add_account(gateway: Gateway) -> tuple[str, str, str]:
    """Ids of account and key, and the key."""
    account = await gateway.ledger.create_account(OTHER_CANARY)
    await gateway.ledger.fund(account.account_id, DOLLAR, "second")
    key = await add_key(gateway, account.account_id, OTHER_CANARY, scopes=SCOPES)
    return account.account_id, *key
