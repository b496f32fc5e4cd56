"""A whole gateway under load whose database fails, or whose process or clock is tampered with.

From the first fault to the last, nothing generated reaches a client before its hold can be read in
the database, and no last byte before its settlement, unless the barrier's deadline has passed. New
calls are refused meanwhile. When the fault is gone, so are its traces, without help.
"""

from __future__ import annotations

import shutil
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from subprocess import PIPE

import pytest
import trio

from bench.simulate import Simulator, SimulatorSettings, open_simulator
from engine import Gateway, open_gateway, parse_config
from tests.clocks import HOUR_MS, HandClock
from tests.gateways import DOLLAR, Setup, assert_invariants, charge, config_text, settled
from tests.processes import Client, ask, fund_account, is_ready, open_process
from tests.served import open_served

BARRIER_S = 0.3
STORAGE = f"barrier_timeout_s = {BARRIER_S}"
STREAMS = 12
WITHIN_S = 30.0
ATTEMPTS = 5
"""So often a fault is tried until streams have ended in it."""


@dataclass
class Load:
    """Clients of a gateway, and what its database told a reader at each of their moments."""

    port: int
    key: str
    database: Path
    clients: list[Client] = field(default_factory=list)
    running: int = 0
    pending: list[str] = field(default_factory=list)
    """Whose last byte came before the settlement could be read, as they were told."""

    def start(self, nursery: trio.Nursery, tokens: int) -> list[Client]:
        """Some more streams."""
        clients = [Client(tokens + 20 * number, tokens_per_s=200) for number in range(STREAMS)]
        for client in clients:
            nursery.start_soon(self.run, client)
        self.clients += clients
        self.running += len(clients)
        return clients

    async def run(self, client: Client) -> None:
        """One stream to its end."""
        with closing(sqlite3.connect(self.database)) as reader:

            def is_stored(table: str) -> bool:
                sql = f"SELECT 1 FROM {table} WHERE request_id = ?"
                return reader.execute(sql, [client.request_id]).fetchone() is not None

            def watch() -> None:
                assert not client.words or is_stored("holds"), "a word came before its hold"
                if client.done and not is_stored("receipts"):
                    unsettled.set()

            unsettled = trio.Event()
            await client.run(self.port, self.key, watch)
            if unsettled.is_set():
                ready, receipt = await is_ready(self.port), await self._receipt(client.request_id)
                if not is_stored("receipts"):  # so it was not when these were asked for
                    assert not ready
                    assert b'"durability":"pending"' in receipt
                    self.pending.append(client.request_id)
        self.running -= 1

    async def _receipt(self, request_id: str) -> bytes:
        return await ask(
            self.port,
            b"GET /v1/receipts/%s HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
            b"authorization: Bearer %s\r\n\r\n" % (request_id.encode(), self.key.encode()),
        )

    async def fail(self, fault: Callable[[], AbstractAsyncContextManager[None]]) -> None:
        """Streams that began before a fault end in it, others begin in it; then it is gone."""
        for _ in range(ATTEMPTS):
            await self._fail(fault())
            await self.assert_serves()
            if self.pending:  # else this machine was so slow that they had ended before
                break
        assert self.pending, "the fault was none"

    async def _fail(self, fault: AbstractAsyncContextManager[None]) -> None:
        async with trio.open_nursery() as nursery:
            early = self.start(nursery, 100)
            await settled(lambda: all(client.words for client in early), WITHIN_S)
            async with fault:
                late = self.start(nursery, 10)
                await self._wait_ready(False)
                refused = Client(5)
                await refused.run(self.port, self.key)
                assert refused.status == 503
                await settled(lambda: self.running == 0, WITHIN_S)
            await self._wait_ready(True)
        assert all(client.done for client in early)
        assert {client.status for client in late} <= {200, 503}

    async def assert_serves(self) -> None:
        """The next call is answered."""
        client = Client(5)
        self.clients.append(client)
        await client.run(self.port, self.key)
        assert client.done

    async def _wait_ready(self, ready: bool) -> None:
        with trio.fail_after(WITHIN_S):
            while await is_ready(self.port) != ready:  # noqa: ASYNC110 - it has no event for us
                await trio.sleep(0.01)


async def check_books(gateway: Gateway, load: Load, sim: Simulator, account_id: str) -> None:
    """What was generated is billed, all of it where the client got all of it."""
    await assert_invariants(gateway)
    charged = 0
    for request_id in {truth.request_id for truth in sim.truth.records()}:
        receipt = await gateway.ledger.read_receipt(account_id, request_id)
        truth = sim.truth.record(request_id)
        assert receipt is not None
        assert truth is not None
        assert receipt["durability"] == "durable"
        assert receipt["usage"]["output_tokens"] <= truth.tokens_generated
        charged += receipt["price"]["nanodollars"]
    for client in load.clients:
        receipt = await gateway.ledger.read_receipt(account_id, client.request_id)
        truth = sim.truth.record(client.request_id)
        if client.done:
            assert truth is not None
            assert receipt is not None
            assert receipt["outcome"] == "completed"
            price = charge(truth.input_tokens, client.tokens)
            assert receipt["price"]["nanodollars"] == price
        else:
            assert client.status == 503
            if receipt is not None:  # admitted, but its hold did not become durable in time
                assert receipt["outcome"] == "gateway_failed"
                assert receipt["price"]["nanodollars"] == 0
    account = await gateway.ledger.account(account_id)
    assert account.balance_nanodollars == DOLLAR - charged


@asynccontextmanager
async def full_database(setup: Setup) -> AsyncIterator[None]:
    """It may not grow."""
    connection = setup.gateway.ledger._store.connection
    connection.execute("PRAGMA max_page_count = 1")
    yield
    connection.execute("PRAGMA max_page_count = 1073741823")


_LOCKER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", end="", flush=True)
sys.stdin.read()
"""


@asynccontextmanager
async def locked_database(setup: Setup) -> AsyncIterator[None]:
    """Another process writes to it, and does not come to an end."""
    command = [sys.executable, "-c", _LOCKER, str(setup.gateway.config.storage.path)]
    process = await trio.lowlevel.open_process(command, stdin=PIPE, stdout=PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert await process.stdout.receive_some() == b"locked"
        yield
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


@pytest.mark.parametrize("fault", [full_database, locked_database], ids=lambda f: f.__name__)
async def test_a_database_that_cannot_be_written(
    tmp_path: Path, fault: Callable[[Setup], AbstractAsyncContextManager[None]]
) -> None:
    async with open_served(tmp_path, storage=STORAGE) as served:
        setup = served.setup
        load = Load(served.port, setup.key, tmp_path / "ledger.db")
        await load.fail(partial(fault, setup))
        await settled(lambda: setup.gateway.open_exchanges == 0)
        await check_books(setup.gateway, load, setup.sim, setup.account_id)


@asynccontextmanager
async def open_loaded(folder: Path) -> AsyncIterator[tuple[Load, trio.Process]]:
    """A gateway in a process of its own, to be tampered with; afterwards its books are checked."""
    async with open_simulator(SimulatorSettings()) as sim:
        server = 'bind = ["127.0.0.1:0"]'
        text = config_text(folder / "ledger.db", sim.base_url, server=server, storage=STORAGE)
        config = folder / "parshall.toml"
        config.write_text(text)
        account_id, key = await fund_account(text)
        async with open_process(config) as (process, port):
            load = Load(port, key, folder / "ledger.db")
            yield load, process
            process.terminate()
            await process.wait()
        async with open_gateway(parse_config(text, "after.toml", {})) as gateway:
            assert gateway.ledger.recovered_holds == 0, "it had ended everything itself"
            await check_books(gateway, load, sim, account_id)


@asynccontextmanager
async def failing_fdatasync(process: trio.Process) -> AsyncIterator[None]:
    """Nothing that the process writes comes to its disk."""
    command = ["strace", "-f", "-p", str(process.pid), "-o", "/dev/null"]
    command += ["-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO"]
    strace = await trio.lowlevel.open_process(command, stderr=PIPE)
    assert strace.stderr is not None
    try:
        with trio.fail_after(WITHIN_S):
            said = await strace.stderr.receive_some()
        if b"attached" not in said:
            pytest.skip(f"strace may not attach to a process here: {said.decode().strip()}")
        yield
    finally:
        strace.terminate()  # it lets go of the process first
        with trio.CancelScope(shield=True):
            await strace.wait()


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace: apt-get install strace")
async def test_a_disk_that_fails(tmp_path: Path) -> None:
    async with open_loaded(tmp_path) as (load, process):
        await load.fail(partial(failing_fdatasync, process))


async def test_a_process_that_is_stopped_for_a_while(tmp_path: Path) -> None:
    """Longer than the barrier's deadline; what it had begun goes on as if nothing had been."""
    async with open_loaded(tmp_path) as (load, process), trio.open_nursery() as nursery:
        early = load.start(nursery, 100)
        await settled(lambda: all(client.words for client in early), WITHIN_S)
        process.send_signal(signal.SIGSTOP)
        load.start(nursery, 10)
        await trio.sleep(4 * BARRIER_S)
        process.send_signal(signal.SIGCONT)
        await settled(lambda: load.running == 0, WITHIN_S)
        assert all(client.done for client in early)
        await load.assert_serves()


async def test_a_wall_clock_that_is_set(tmp_path: Path) -> None:
    """An hour on and an hour back under streams: they are dated by it, and nothing else changes."""
    clock = HandClock()
    began_ms = clock.now_ms
    async with open_served(tmp_path, clock=clock, storage="hold_lease_s = 0.1") as served:
        setup = served.setup
        load = Load(served.port, setup.key, tmp_path / "ledger.db")
        async with trio.open_nursery() as nursery:
            for number in range(1, 4):
                streams = load.start(nursery, 20)
                await settled(lambda: all(client.words for client in streams), WITHIN_S)  # noqa: B023
                clock.now_ms = began_ms + (HOUR_MS if number % 2 else -HOUR_MS)
        assert all(client.done for client in load.clients)
        await check_books(setup.gateway, load, setup.sim, setup.account_id)
        for client in load.clients:
            timings = (await served.receipt(client.request_id))["timings"]
            assert 0 <= timings["first_byte_ms"] <= timings["ended_ms"] < HOUR_MS
