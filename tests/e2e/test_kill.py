"""`kill -9` of a gateway under load: nothing acknowledged is lost, nothing is billed twice."""

from __future__ import annotations

import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE

import pytest
import trio

from bench.simulate import Simulator, SimulatorSettings, open_simulator
from engine import Gateway, open_gateway, parse_config
from tests.gateways import DOLLAR, assert_invariants, charge, chat_body, config_text

STREAMS = 50
TOKENS_PER_S = 100
PARSHALL = Path(sys.executable).parent / "parshall"


@dataclass(slots=True)
class Client:
    """One streamed request, read until it ends or the gateway is gone."""

    tokens: int
    request_id: str = ""
    body: bytes = b""

    @property
    def done(self) -> bool:
        return b"data: [DONE]" in self.body

    @property
    def words(self) -> int:
        return self.body.count(b'"delta":{"content":"') - self.body.count(b'"content":""')

    async def run(self, port: int, key: str) -> None:
        body = chat_body(f"tokens={self.tokens} tokens_per_second={TOKENS_PER_S}")
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            with suppress(trio.BrokenResourceError):
                await stream.send_all(
                    b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
                    b"authorization: Bearer %s\r\ncontent-length: %d\r\n\r\n%s"
                    % (key.encode(), len(body), body)
                )
                async for data in stream:
                    self.body += data
                    if self.body.endswith(b"0\r\n\r\n"):
                        break
        head = self.body.partition(b"\r\n\r\n")[0].decode("latin-1").lower()
        if "x-request-id: " in head:
            self.request_id = head.partition("x-request-id: ")[2].split("\r\n")[0]


@asynccontextmanager
async def open_process(config: Path) -> AsyncIterator[tuple[trio.Process, int]]:
    """`parshall serve` in a process of its own, and the port it listens on."""
    process = await trio.lowlevel.open_process(
        [PARSHALL, "serve", "--config", config, "--log-level", "error"], stdout=PIPE
    )
    try:
        assert process.stdout is not None
        with trio.fail_after(30):
            line, _, _ = (await process.stdout.receive_some()).partition(b"\n")
        yield process, int(line.rpartition(b":")[2])
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def fund_account(text: str) -> tuple[str, str]:
    async with open_gateway(parse_config(text, "kill.toml", {})) as gateway:
        account = await gateway.ledger.create_account("test")
        await gateway.ledger.fund(account.account_id, DOLLAR, "first")
        _, key = await gateway.create_key(account.account_id, "test")
    return account.account_id, key


async def kill_under_load(config: Path, key: str, chance: random.Random) -> list[Client]:
    """Start streams, kill the gateway somewhere in their midst, and tell what clients saw."""
    clients = [Client(tokens=chance.randint(5, 300)) for _ in range(STREAMS)]
    async with open_process(config) as (process, port), trio.open_nursery() as nursery:
        for client in clients:
            nursery.start_soon(client.run, port, key)
        await trio.sleep(chance.uniform(0.3, 2.5))
        process.kill()
    return clients


async def check_recovered(
    gateway: Gateway, sim: Simulator, account_id: str, key: str, clients: list[Client]
) -> None:
    await assert_invariants(gateway)
    principal = gateway.authenticate(key)
    charged = 0
    for truth in sim.truth.records():
        found = await gateway.ledger.read_receipt(account_id, truth.request_id)
        if found is None:
            continue  # its hold was not durable yet, so nothing of it had gone out
        assert found["state"] == "settled"
        assert found["usage"].get("output_tokens", 0) <= truth.tokens_generated
        charged += found["price"]["nanodollars"]
    for client in clients:
        if not client.request_id:
            continue  # refused, or killed before there was a head
        receipt = await gateway.receipt(principal, client.request_id)
        truth_or_none = sim.truth.record(client.request_id)
        assert truth_or_none is not None
        price = receipt["price"]["nanodollars"]
        if client.done:
            assert receipt["outcome"] == "completed"
            assert price == charge(truth_or_none.input_tokens, client.tokens)
        elif receipt["outcome"] != "completed":
            assert receipt["outcome"] == "gateway_failed"
            billed = receipt["usage"].get("output_tokens", 0) if price else 0
            assert client.words - billed <= 256
    account = await gateway.ledger.account(account_id)
    assert account.balance_nanodollars == DOLLAR - charged


@pytest.mark.parametrize(
    "seed",
    [
        *range(3),
        *(pytest.param(seed, marks=pytest.mark.long) for seed in range(3, 100)),
    ],
)
async def test_a_killed_gateway_recovers(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    async with open_simulator(SimulatorSettings()) as sim:
        text = config_text(tmp_path / "ledger.db", sim.base_url, server='bind = ["127.0.0.1:0"]')
        config = tmp_path / "parshall.toml"
        config.write_text(text)
        account_id, key = await fund_account(text)
        clients = await kill_under_load(config, key, chance)
        ended = sum(client.done for client in clients)
        sys.stdout.write(f"seed {seed}: {ended} of {STREAMS} had ended\n")
        async with open_gateway(parse_config(text, "kill.toml", {})) as gateway:
            await check_recovered(gateway, sim, account_id, key, clients)
