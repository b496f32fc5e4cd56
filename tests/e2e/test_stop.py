"""SIGTERM under load: all clients get an ending, the process ends in time, the books are right."""

from __future__ import annotations

import signal
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import trio

from bench.simulate import Simulator, SimulatorSettings, open_simulator
from engine import open_gateway, parse_config
from engine.upstream.pool import Pool, open_pool
from engine.upstream.transport import MultiplexTransport
from frontends.server.listener import FLUSH_S
from tests.gateways import DOLLAR, assert_invariants, chat_body, config_text, settled
from tests.processes import fund_account, is_ready, open_process

GRACE_S = 1.0
STOP_MAX_S = GRACE_S + FLUSH_S + 30
"""Thirty seconds are for a machine that has a lot to do."""
SHORT = "tokens=40 tokens_per_second=80"
ENDLESS = "tokens=1000000 tokens_per_second=50"
STALLED = "tokens=1000000 tokens_per_event=40"
FUNDS_NANODOLLARS = 1_000 * DOLLAR
"""What the kernel takes for stalled readers is a lot of tokens."""
ERROR = b"The gateway is stopping."


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a protocol asks for a stream, and what one ends with that is whole."""

    path: str
    request: Mapping[str, Any]
    whole: bytes
    broken: bytes
    """What begins its error ending."""


def dialects(directives: str) -> dict[str, Dialect]:
    """The streams of all protocols, by name."""
    prompt = f"#sim {directives}\nTell me more."
    messages = [{"role": "user", "content": prompt}]
    gemini = {"contents": [{"role": "user", "parts": [{"text": prompt}]}]}
    models = "/v1beta/models/sim-gemini:streamGenerateContent"
    return {
        "chat": Dialect(
            "/v1/chat/completions",
            {"model": "sim-openai", "stream": True, "messages": messages},
            b"data: [DONE]\n\n",
            b'data: {"error":{',
        ),
        "responses": Dialect(
            "/v1/responses",
            {"model": "sim-responses", "stream": True, "input": prompt},
            b"event: response.completed\n",
            b"event: response.failed\n",
        ),
        "completions": Dialect(
            "/v1/completions",
            {"model": "sim-openai", "stream": True, "prompt": prompt, "max_tokens": 4_096},
            b"data: [DONE]\n\n",
            b'data: {"error":{',
        ),
        "anthropic": Dialect(
            "/v1/messages",
            {"model": "sim-anthropic", "stream": True, "max_tokens": 4_096, "messages": messages},
            b"event: message_stop\n",
            b"event: error\n",
        ),
        "gemini": Dialect(f"{models}?alt=sse", gemini, b'"STOP"', b'data: {"error":{'),
        "gemini-array": Dialect(models, gemini, b'"STOP"', b'{"error":{'),
    }


@dataclass
class Running:
    """A serving process, its provider, and who may ask."""

    process: trio.Process
    port: int
    sim: Simulator
    key: str
    text: str
    account_id: str

    def client(self, pool: Pool | None = None) -> httpx.AsyncClient:
        """Over HTTP/1.1, or over HTTP/2 on the connections of a pool. (httpx' own HTTP/2 gives up
        on streams that a GOAWAY lets go on.)"""
        transport = None
        if pool is not None:
            transport = MultiplexTransport(pool, http2="prior-knowledge")
        return httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self.port}",
            headers={"authorization": f"Bearer {self.key}"},
            timeout=60,
            verify=False,
            transport=transport,
            limits=httpx.Limits(max_connections=None),
        )

    def generating(self) -> int:
        """How many streams have begun."""
        return sum(t.stream and t.tokens_written > 0 for t in self.sim.truth.records())

    def unary(self) -> int:
        """How many answers in one piece are under way."""
        return sum(not t.stream for t in self.sim.truth.records())

    async def check_books(self, outcomes: set[str]) -> None:
        """Every request is settled, as one of `outcomes`, and no more is billed than there was."""
        async with open_gateway(parse_config(self.text, "parshall.toml", {})) as gateway:
            await assert_invariants(gateway)
            charged = 0
            for truth in self.sim.truth.records():
                receipt = await gateway.ledger.read_receipt(self.account_id, truth.request_id)
                assert receipt is not None
                assert receipt["state"] == "settled"
                assert receipt["outcome"] in outcomes
                assert receipt["usage"].get("output_tokens", 0) <= truth.tokens_generated
                charged += receipt["price"]["nanodollars"]
            account = await gateway.ledger.account(self.account_id)
            assert account.balance_nanodollars == FUNDS_NANODOLLARS - charged


@asynccontextmanager
async def open_running(folder: Path, server: str) -> AsyncIterator[Running]:
    async with open_simulator(SimulatorSettings()) as sim:
        server = f'bind = ["127.0.0.1:0"]\n{server}'
        text = config_text(folder / "ledger.db", sim.base_url, server=server)
        config = folder / "parshall.toml"
        config.write_text(text)
        account_id, key = await fund_account(text, FUNDS_NANODOLLARS)
        async with open_process(config) as (process, port):
            yield Running(process, port, sim, key, text, account_id)


async def read_stream(client: httpx.AsyncClient, dialect: Dialect, bodies: list[bytes]) -> None:
    """Read a stream to the end of its HTTP message, which has to be whole."""
    async with client.stream("POST", dialect.path, content=orjson.dumps(dialect.request)) as answer:
        bodies.append(b"".join([chunk async for chunk in answer.aiter_raw()]))
        # The provider may have begun, and the gateway not have heard it yet.
        assert answer.status_code == 200 or ERROR in bodies[0]


def is_whole(dialect: Dialect, body: bytes) -> bool:
    """Whether a stream is; else it has its protocol's error ending."""
    if dialect.whole in body:
        return True
    assert ERROR in body[max(0, body.rfind(dialect.broken)) :]
    return False


async def stall(running: Running, stack: AsyncExitStack) -> None:
    """Ask for a stream and never read."""
    sock = trio.socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    await sock.connect(("127.0.0.1", running.port))
    stream = await stack.enter_async_context(trio.SocketStream(sock))
    body = chat_body(STALLED)
    await stream.send_all(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %s\r\n"
        b"content-length: %d\r\n\r\n%s" % (running.key.encode(), len(body), body)
    )


async def refuse_unary(client: httpx.AsyncClient, refusals: list[httpx.Response]) -> None:
    """An answer in one piece that does not come in time."""
    body = chat_body("tokens=1000 tokens_per_second=1", stream=False)
    refusals.append(await client.post("/v1/chat/completions", content=body))


@pytest.mark.parametrize(
    ("streams", "stalled"), [(30, 5), pytest.param(300, 20, marks=pytest.mark.long)]
)
async def test_whoever_reads_gets_an_ending(tmp_path: Path, streams: int, stalled: int) -> None:
    server = f"shutdown_grace_s = {GRACE_S}\nbuffered_output_max_bytes = 16_384"
    names = list(dialects(""))
    asked: list[tuple[Dialect, bool, list[bytes]]] = []
    refusals: list[httpx.Response] = []
    async with open_running(tmp_path, server) as running, AsyncExitStack() as stack:
        http1 = await stack.enter_async_context(running.client())
        pool = await stack.enter_async_context(open_pool())
        http2 = await stack.enter_async_context(running.client(pool))
        for _ in range(stalled):
            await stall(running, stack)
        with trio.fail_after(120):
            async with trio.open_nursery() as nursery:
                for number in range(streams):
                    short, over_http2 = number // 6 % 2 == 0, number // 12 % 2 == 0
                    dialect = dialects(SHORT if short else ENDLESS)[names[number % 6]]
                    bodies: list[bytes] = []
                    asked.append((dialect, short, bodies))
                    client = http2 if over_http2 else http1
                    nursery.start_soon(read_stream, client, dialect, bodies)
                nursery.start_soon(refuse_unary, http1, refusals)
                nursery.start_soon(refuse_unary, http2, refusals)
                await settled(lambda: running.generating() == streams + stalled)
                await settled(lambda: running.unary() == 2)
                await settled(lambda: any(short and bodies for _, short, bodies in asked))
                running.process.send_signal(signal.SIGTERM)
                with trio.fail_after(STOP_MAX_S):
                    assert await running.process.wait() == 0
        whole = [(is_whole(dialect, body), short) for dialect, short, [body] in asked]
        assert (True, True) in whole, "some of the short ones have ended"
        assert (True, False) not in whole
        assert [(answer.status_code, answer.json()["error"]["code"]) for answer in refusals] == [
            (503, "shutdown")
        ] * 2
        await running.check_books({"completed", "shutdown"})


async def test_balancers_see_it_before_clients_do_and_a_second_signal_ends_it(
    tmp_path: Path,
) -> None:
    server = "drain_delay_s = 600\nshutdown_grace_s = 600"
    dialect = dialects(ENDLESS)["chat"]
    bodies: list[bytes] = []
    async with open_running(tmp_path, server) as running, running.client() as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_stream, client, dialect, bodies)
            await settled(lambda: running.generating() == 1)
            running.process.send_signal(signal.SIGTERM)
            with trio.fail_after(30):
                while await is_ready(running.port):  # noqa: ASYNC110 - it has no event for that
                    await trio.sleep(0.01)
            late: list[bytes] = []
            short = dialects(SHORT)["anthropic"]
            async with running.client() as other:
                await read_stream(other, short, late)
            running.process.send_signal(signal.SIGTERM)
            with trio.fail_after(STOP_MAX_S):
                assert await running.process.wait() == 0
        assert is_whole(short, late[0])
        assert not is_whole(dialect, bodies[0])
        await running.check_books({"completed", "shutdown"})
