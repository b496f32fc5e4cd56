"""`kill -9` of a gateway under load: nothing acknowledged is lost, nothing is billed twice."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import trio

from bench.simulate import Simulator, SimulatorSettings, open_simulator
from engine import Gateway, open_gateway, parse_config
from tests.engine.ledger.samples import wait_until
from tests.gateways import DOLLAR, assert_invariants, charge, config_text
from tests.processes import Client, ask, fund_account, open_process

KILLS = 5
"""Of one ledger, one after another."""
STREAMS = 20
READY_WITHIN_S = 5.0
LOST_MAX_TOKENS = 256
"""What one progress record may be behind."""


def some_client(chance: random.Random) -> Client:
    """Slow or fast; one in three leaves in the midst."""
    tokens_per_s = chance.choice([100, 100, 2_000])
    tokens = chance.randint(5, 2 * tokens_per_s)
    leaves_after = chance.randint(1, tokens) if chance.random() < 1 / 3 else None
    return Client(tokens, tokens_per_s, leaves_after)


async def write_ends_down(port: int, key: str) -> list[Client]:
    """Clients whose ends are durable: of one that has left, and of one that has had all."""
    clients = [Client(40, leaves_after=3)]
    await clients[0].run(port, key)
    while not clients[-1].left:  # a machine that stalls has given it all at once
        clients.append(Client(40, leaves_after=3))
        await clients[-1].run(port, key)
    clients.append(Client(5))
    await clients[-1].run(port, key)
    for client in clients:
        answer = b""
        while b'"durability":"durable"' not in answer:
            await trio.sleep(0.01)
            answer = await ask(
                port,
                b"GET /v1/receipts/%s HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
                b"authorization: Bearer %s\r\n\r\n" % (client.request_id.encode(), key.encode()),
            )
    return clients


async def kill_under_load(
    config: Path, key: str, chance: random.Random, *, after_some: bool = False
) -> list[Client]:
    """Start streams, kill the gateway somewhere in their midst, and tell what clients saw.

    `after_some` has had others end before, and two that last begin, however slow the machine is.
    """
    lasting = [Client(100_000), Client(100_000, leaves_after=3)]
    clients = [*lasting, *(some_client(chance) for _ in range(STREAMS))]
    async with (
        open_process(config, ready_within_s=READY_WITHIN_S) as (process, port),
        trio.open_nursery() as nursery,
    ):
        for client in clients:
            nursery.start_soon(client.run, port, key)
        await trio.sleep(chance.uniform(0.1, 1.0))
        if after_some:
            with trio.fail_after(60):
                clients += await write_ends_down(port, key)
            await wait_until(lambda: all(client.words >= 3 for client in lasting))
        process.kill()
    return clients


async def check_recovered(
    gateway: Gateway, sim: Simulator, account_id: str, key: str, clients: list[Client]
) -> set[tuple[str, bool]]:
    """The books against the provider's log, and against what each client saw; the outcomes, and
    whether the client had left before."""
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
    account = await gateway.ledger.account(account_id)
    assert account.balance_nanodollars == DOLLAR - charged
    outcomes: set[tuple[str, bool]] = set()
    for client in clients:
        if not client.request_id:
            continue  # refused, or killed before there was a head
        receipt = await gateway.receipt(principal, client.request_id)
        record = sim.truth.record(client.request_id)
        assert record is not None
        outcomes.add((receipt["outcome"], client.left))
        price = receipt["price"]["nanodollars"]
        billed = receipt["usage"]["output_tokens"] if price else 0
        if client.done:
            assert receipt["outcome"] == "completed"
        match receipt["outcome"]:
            case "completed":
                assert price == charge(record.input_tokens, client.tokens)
            case "client_left":
                assert client.left
                assert billed >= client.words
                if receipt["provenance"] == "drained":
                    assert billed == client.tokens == record.tokens_generated
            case other:
                assert other == "gateway_failed"
                assert client.words - billed <= LOST_MAX_TOKENS
    return outcomes


@pytest.mark.parametrize("on_cancel", ["stop", "drain"])
@pytest.mark.parametrize(
    "seed",
    [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 100))],
)
async def test_a_killed_gateway_recovers(tmp_path: Path, seed: int, on_cancel: str) -> None:
    """Again and again, within five seconds each time; with `drain`, under streams that are read
    on after their clients."""
    chance = random.Random(f"{seed} {on_cancel}")
    async with open_simulator(SimulatorSettings()) as sim:
        text = config_text(
            tmp_path / "ledger.db",
            sim.base_url,
            server='bind = ["127.0.0.1:0"]',
            provider=f'on_cancel = "{on_cancel}"',
        )
        config = tmp_path / "parshall.toml"
        config.write_text(text)
        account_id, key = await fund_account(text)
        clients: list[Client] = []
        for number in range(KILLS):
            clients += await kill_under_load(config, key, chance, after_some=number == 0)
        async with open_gateway(parse_config(text, "kill.toml", {})) as gateway:
            outcomes = await check_recovered(gateway, sim, account_id, key, clients)
        assert {("completed", False), ("client_left", True), ("gateway_failed", False)} <= outcomes
        drained_at_the_kill = ("gateway_failed", True) in outcomes
        assert drained_at_the_kill or on_cancel == "stop"
