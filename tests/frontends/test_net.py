"""The net over real sockets: each address has so many requests, before anybody is asked who it is.

The client is a trusted proxy, which says for whom it asks.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import trio

from engine import Config, open_gateway, parse_config
from engine.errors import AddressLimitedError
from frontends.app import create_app
from frontends.net import Net
from frontends.server import open_server
from frontends.serving import server_settings
from tests.frontends.server.apps import read_all
from tests.gateways import Setup, config_text, open_setup

TRUSTED = 'trusted_proxies = ["127.0.0.1", "10.0.0.0/8"]'
LIMITS = "[limits]\nrequests_per_ip = 3\nper_ip_window_s = 600"

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
GEMINI = "/v1beta/models/sim-gemini:generateContent"


@dataclass(frozen=True, slots=True)
class Proxied:
    """A served gateway, and a client that is its trusted proxy."""

    setup: Setup
    client: httpx.AsyncClient
    port: int

    async def ask(self, address: str, path: str = CHAT, **headers: str) -> httpx.Response:
        """For somebody else, without a key."""
        headers["x-forwarded-for"] = address
        return await self.client.post(path, content=b"{}", headers=headers)

    async def statuses(self, address: str, times: int) -> list[int]:
        return [(await self.ask(address)).status_code for _ in range(times)]


@asynccontextmanager
async def open_proxied(folder: Path, server: str = "parshall") -> AsyncIterator[Proxied]:
    by = f'server = "{server}"\n{TRUSTED}'
    async with (
        open_setup(folder, server=by, models=LIMITS) as setup,
        open_server(
            create_app(setup.gateway), ["127.0.0.1:0"], server_settings(setup.gateway.config)
        ) as served,
        httpx.AsyncClient(
            base_url=f"http://{served.addresses[0]}", verify=False, timeout=30
        ) as client,
    ):
        yield Proxied(setup, client, int(served.addresses[0].rpartition(":")[2]))


@pytest.fixture
async def proxied(tmp_path: Path) -> AsyncIterator[Proxied]:
    async with open_proxied(tmp_path) as proxied:
        yield proxied


async def test_an_address_has_so_many_requests_whoever_it_is(proxied: Proxied) -> None:
    assert await proxied.statuses("192.0.2.1", 5) == [401, 401, 401, 429, 429]
    key = f"Bearer {proxied.setup.key}"
    assert (await proxied.ask("192.0.2.1", authorization=key)).status_code == 429
    assert (await proxied.ask("192.0.2.2", authorization=key)).status_code == 400
    exposition = proxied.setup.gateway.telemetry.exposition().decode()
    assert 'parshall_refused_total{code="ip_rate_limited"} 3.0' in exposition
    assert "parshall_addresses 2.0" in exposition


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("192.0.2.1", "203.0.113.7, 192.0.2.1, 10.2.3.4", True),
    ],
)
async def test_who_counts_together(proxied: Proxied, one: str, other: str, together: bool) -> None:
    assert await proxied.statuses(one, 4) == [401, 401, 401, 429]
    assert await proxied.statuses(other, 1) == [429 if together else 401]


@pytest.mark.parametrize("address", ["127.0.0.1", "10.2.3.4", "::1", "nobody"])
async def test_this_machine_and_trusted_proxies_are_not_counted(
    proxied: Proxied, address: str
) -> None:
    assert await proxied.statuses(address, 6) == [401] * 6


async def test_every_protocol_says_it_in_its_words(proxied: Proxied) -> None:
    await proxied.statuses("192.0.2.1", 3)
    message = "Too many requests from one address: 3 in 600 s."
    bodies: dict[str, Any] = {}
    for path in (CHAT, "/v1/responses", MESSAGES, GEMINI, "/v1/account", "/nothing"):
        answer = await proxied.ask("192.0.2.1", path)
        assert answer.status_code == 429
        assert 190 < int(answer.headers["retry-after"]) <= 200
        assert 190_000 < int(answer.headers["retry-after-ms"]) <= 200_000
        assert answer.headers["x-should-retry"] == "false"  # no SDK waits so long
        assert answer.headers["x-request-id"].startswith("req_")
        bodies[path] = orjson.loads(answer.content)
    openai = {"message": message, "type": "requests", "param": None, "code": "ip_rate_limited"}
    for path in (CHAT, "/v1/responses", "/v1/account", "/nothing"):
        assert bodies[path]["error"] == openai
    assert bodies[MESSAGES]["error"]["type"] == "rate_limit_error"
    assert bodies[MESSAGES]["error"]["message"] == message
    gemini = bodies[GEMINI]["error"]
    assert (gemini["code"], gemini["status"]) == (429, "RESOURCE_EXHAUSTED")
    info, retry = gemini["details"][:2]
    assert info["reason"] == "IP_RATE_LIMITED"
    assert retry["@type"] == "type.googleapis.com/google.rpc.RetryInfo"
    assert 190 < float(retry["retryDelay"].removesuffix("s")) <= 200


async def test_a_refused_body_is_not_read(proxied: Proxied) -> None:
    await proxied.statuses("192.0.2.1", 3)
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nx-forwarded-for: 192.0.2.1\r\n"
        b"content-length: 10000000\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n"
    )
    async with await trio.open_tcp_stream("127.0.0.1", proxied.port) as stream:
        await stream.send_all(head)
        with trio.fail_after(30):
            answer = await read_all(stream)
    assert answer.startswith(b"HTTP/1.1 429 ")  # nothing said "100 Continue"


async def test_it_is_the_same_on_hypercorn(tmp_path: Path) -> None:
    async with open_proxied(tmp_path, "hypercorn") as proxied:
        assert await proxied.statuses("192.0.2.1", 5) == [401, 401, 401, 429, 429]
        assert await proxied.statuses("192.0.2.2", 1) == [401]
        assert await proxied.statuses("127.0.0.1", 5) == [401] * 5


async def test_balancers_may_ask_for_ever(proxied: Proxied) -> None:
    await proxied.statuses("192.0.2.1", 4)
    for path in ("/healthz", "/readyz"):
        answer = await proxied.client.get(path, headers={"x-forwarded-for": "192.0.2.1"})
        assert answer.status_code == 200


def scope_of(address: str | None, **headers: str) -> dict[str, Any]:
    """As much of an ASGI scope as the net looks at."""
    return {
        "path": CHAT,
        "client": None if address is None else (address, 1),
        "headers": [(name.replace("_", "-").encode(), v.encode()) for name, v in headers.items()],
    }


async def test_who_is_refused_and_may_be_a_proxy_is_named_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "parshall.app")
    async with open_setup(tmp_path, models=LIMITS) as setup:
        net = Net(setup.gateway)
        for _ in range(3):
            net.take(scope_of("203.0.113.1", x_forwarded_for="192.0.2.1"))
        assert caplog.messages == []
        for _ in range(3):
            with pytest.raises(AddressLimitedError):
                net.take(scope_of("203.0.113.1", x_forwarded_for="192.0.2.1"))
    (message,) = caplog.messages
    assert message.startswith("203.0.113.1 has made 3 requests in 600 s")
    assert "'trusted_proxies'" in message


async def test_a_reload_counts_anew_only_where_the_bounds_are_others(tmp_path: Path) -> None:
    def config(limits: str) -> Config:
        text = config_text(tmp_path / "ledger.db", "http://127.0.0.1:9", models=limits)
        return parse_config(text, "test.toml", {})

    written = [
        config(f"{LIMITS}\nkey_prefix = 'sk-acme-'"),
        config("[limits]\nrequests_per_ip = 7"),
    ]
    async with open_gateway(config(LIMITS), read=lambda: written.pop(0)) as gateway:
        net = Net(gateway)

        def passed(times: int) -> int:
            done = 0
            for _ in range(times):
                try:
                    net.take(scope_of("192.0.2.1"))
                except AddressLimitedError:
                    continue
                done += 1
            return done

        assert passed(5) == 3
        await gateway.reload()
        assert passed(5) == 0
        await gateway.reload()
        assert passed(9) == 7


async def test_a_unix_socket_is_this_machine(tmp_path: Path) -> None:
    async with open_setup(tmp_path, models=LIMITS) as setup:
        net = Net(setup.gateway)
        for _ in range(9):
            net.take(scope_of(None))
