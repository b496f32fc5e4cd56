"""One exchange, with the k-th call to what is not ours failing: the provider's socket, the client's
socket, an ASGI server, an embedder and its sink, the database. For each k, until there is none."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from engine import Gateway, Outcome
from engine.errors import GatewayError, UnavailableError
from engine.nurseries import open_tasks
from frontends.app import create_app
from tests.gateways import Setup, assert_invariants, charge, chat_body, open_setup, settled
from tests.served import Served, open_raw, open_served
from tests.sinks import SocketSink

from .failing_calls import FailAt, When, fail_everywhere, failing_sockets
from .quiet import Baseline, count

TOKENS = 12
DIRECTIVES = f"tokens={TOKENS} first_token_ms=2 tokens_per_second=1000"
FUNDS = 10**15
STREAM_OR_NOT = pytest.mark.parametrize("stream", [True, False], ids=["a stream", "one piece"])
EACH_WHEN = pytest.mark.parametrize("when", ["before", "after"])
Say = Callable[[str], None]


@dataclass
class Trial:
    """A gateway, exchanges of which fail one after another, and what they have cost so far."""

    setup: Setup
    stream: bool = True
    spent_nanodollars: int = 0
    outcomes: set[str] = field(default_factory=set)
    records_seen: int = 0
    baseline: Baseline | None = None

    async def pull(self, failing: FailAt | None = None) -> None:
        """One exchange, as an embedder runs it, who may fail with each chunk."""
        call = self.setup.call(DIRECTIVES, stream=self.stream)
        with suppress(GatewayError, OSError):
            async with self.setup.gateway.open_exchange(call) as exchange:
                async for _ in exchange:
                    if failing is not None:
                        failing.check("chunk")

    async def check(self, failing: FailAt) -> None:
        """Everything has ended and is billed fairly; the next call works; all is quiet again."""
        setup = self.setup
        truth = setup.sim.truth
        await self.pull()
        await settled(lambda: setup.gateway.open_exchanges == 0)
        await settled(lambda: all(record.ended for record in truth.records()))
        await assert_invariants(setup.gateway)
        new = truth.records()[self.records_seen :]
        self.records_seen += len(new)
        for request_id in dict.fromkeys(record.request_id for record in new):
            outcome = await self._check_billed(request_id, failing)
        assert outcome == Outcome.COMPLETED, f"the call after {failing}"
        assert await setup.balance() == FUNDS - self.spent_nanodollars, failing
        if self.baseline is None:
            await trio.testing.wait_all_tasks_blocked(0.02)
            self.baseline = count()
        await self.baseline.wait_restored(failing)

    async def _check_billed(self, request_id: str, failing: FailAt) -> str:
        setup = self.setup
        receipt = await setup.gateway.receipt(setup.gateway.authenticate(setup.key), request_id)
        records = setup.sim.truth.records(request_id)
        usage, price = receipt["usage"], receipt["price"]["nanodollars"]
        billed, outcome = usage["output_tokens"], str(receipt["outcome"])
        assert receipt["state"] == "settled", failing
        assert receipt["delivered_output_tokens"] <= receipt["received_output_tokens"], failing
        assert billed <= max(record.tokens_generated for record in records), failing
        if outcome == Outcome.COMPLETED:
            assert billed == TOKENS, failing
            assert price > 0, failing
        elif not self.stream or outcome == Outcome.GATEWAY_FAILED:
            assert price == 0, failing
        assert price in (0, charge(records[-1].input_tokens, billed)), failing
        self.spent_nanodollars += price
        self.outcomes.add(outcome)
        return outcome

    async def fail_everywhere(
        self, scenario: Callable[[FailAt], Awaitable[None]], *, when: When = "before"
    ) -> int:
        """Every call of `scenario` in turn; the checks after each, and once before."""
        await self.pull()
        await self.check(FailAt(0))
        points = await fail_everywhere(scenario, self.check, when=when)
        assert await self.setup.balance() == FUNDS - self.spent_nanodollars
        return points


@EACH_WHEN
@pytest.mark.parametrize(
    ("stream", "age"),
    [(True, ""), (False, ""), (True, "connection_max_age_s = 0.001")],
    ids=["a stream", "one piece", "a stream, dialled"],
)
async def test_the_providers_socket(
    tmp_path: Path, stream: bool, age: str, when: When, say: Say
) -> None:
    """Of a connection that is there, and of one that is made for the exchange."""
    async with open_setup(tmp_path, funds_nanodollars=FUNDS, provider=age) as setup:
        trial = Trial(setup, stream)

        async def scenario(failing: FailAt) -> None:
            with failing_sockets(failing, remote_port=setup.sim.port):
                await trial.pull()

        points = await trial.fail_everywhere(scenario, when=when)
        say(f"calls to the provider's socket failed {when}: {points}; {sorted(trial.outcomes)}")
        assert points >= (3 if stream else 1)
        assert Outcome.UPSTREAM_FAILED in trial.outcomes or not stream


async def read_all(served: Served, stream: bool) -> None:
    """An answer as a client on a socket gets it, or as much as there is."""
    with suppress(EOFError, trio.BrokenResourceError):
        async with open_raw(served, DIRECTIVES, stream=stream) as client:
            await client.read_head()
            if stream:
                await client.read_events(10**9)


@EACH_WHEN
@STREAM_OR_NOT
async def test_the_clients_socket(tmp_path: Path, stream: bool, when: When, say: Say) -> None:
    async with open_served(tmp_path, funds_nanodollars=FUNDS) as served:
        trial = Trial(served.setup, stream)

        async def scenario(failing: FailAt) -> None:
            with failing_sockets(failing, local_port=served.port):
                with trio.fail_after(30):
                    await read_all(served, stream)
                await settled(lambda: served.setup.gateway.open_exchanges == 0)

        points = await trial.fail_everywhere(scenario, when=when)
        say(f"calls to the client's socket failed {when}: {points}; {sorted(trial.outcomes)}")
        assert points >= (3 if stream else 1)


@STREAM_OR_NOT
async def test_an_asgi_server(tmp_path: Path, stream: bool, say: Say) -> None:
    """Its `receive` and its `send`."""
    async with open_setup(tmp_path, funds_nanodollars=FUNDS) as setup:
        trial, app = Trial(setup, stream), create_app(setup.gateway)
        body = chat_body(DIRECTIVES, stream=stream)
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": "/v1/chat/completions",
            "raw_path": b"/v1/chat/completions",
            "query_string": b"",
            "root_path": "",
            "headers": [
                (b"host", b"localhost"),
                (b"authorization", b"Bearer " + setup.key.encode()),
                (b"content-type", b"application/json"),
                (b"content-length", b"%d" % len(body)),
            ],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
        }

        async def scenario(failing: FailAt) -> None:
            requests = iter([{"type": "http.request", "body": body, "more_body": False}])

            async def receive() -> Any:
                await trio.lowlevel.checkpoint()
                failing.check("receive")
                if (message := next(requests, None)) is None:
                    await trio.sleep_forever()
                return message

            async def send(message: Any) -> None:
                await trio.lowlevel.checkpoint()
                failing.check("send")

            try:
                with trio.fail_after(30):
                    await app(dict(scope), receive, send)  # type: ignore[arg-type]
            except* OSError:
                assert failing.fired

        points = await trial.fail_everywhere(scenario)
        say(f"calls to an ASGI server that failed: {points}; {sorted(trial.outcomes)}")
        assert points >= 3, "how many chunks of a stream come together is the machine's affair"


async def test_an_embedder(tmp_path: Path, say: Say) -> None:
    """Who fails with what it was given, chunk by chunk."""
    async with open_setup(tmp_path, funds_nanodollars=FUNDS) as setup:
        trial = Trial(setup)
        points = await trial.fail_everywhere(trial.pull)
        say(f"chunks that an embedder failed at: {points}; {sorted(trial.outcomes)}")
        assert points >= 1, "chunks may come together"
        assert trial.outcomes == {"completed", "client_left"}


class FailingSink(SocketSink):
    """Breaks its promise never to raise, in one of its methods."""

    failing = FailAt(0)
    method = ""

    def send_nowait(self, data: bytes) -> bool:
        self._check("send_nowait")
        return super().send_nowait(data)

    async def wait_drained(self) -> None:
        self._check("wait_drained")
        await super().wait_drained()

    def _check(self, method: str) -> None:
        if method == self.method:
            self.failing.check(method)


@pytest.mark.parametrize("method", ["send_nowait", "wait_drained"])
async def test_an_embedders_sink(tmp_path: Path, method: str, say: Say) -> None:
    async with open_setup(tmp_path, funds_nanodollars=FUNDS) as setup:
        trial = Trial(setup)

        async def scenario(failing: FailAt) -> None:
            with suppress(OSError, GatewayError):
                await push(setup.gateway, setup, failing, method)

        points = await trial.fail_everywhere(scenario)
        say(f"{method} of an embedder's sink failed: {points}; {sorted(trial.outcomes)}")
        assert points >= 1, "more where the chunks come one by one"
        assert trial.outcomes > {Outcome.COMPLETED}


async def push(gateway: Gateway, setup: Setup, failing: FailAt, method: str) -> None:
    """Into a sink over one end of a pair of sockets."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        client = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
        async with client, await listener.accept() as server:
            sink = FailingSink(server)
            sink.failing, sink.method = failing, method
            async with open_tasks() as nursery:
                nursery.start_soon(sink.flush)
                async with gateway.open_exchange(setup.call(DIRECTIVES)) as exchange:
                    await exchange.head()
                    sink.uncork(b"")
                    await exchange.relay_to(sink)
                nursery.cancel_scope.cancel()


STEPS = 50
"""SQLite asks after so many of its machine's instructions whether to go on."""


@contextmanager
def failing_database(setup: Setup, failing: FailAt) -> Iterator[None]:
    """What the journal asks of SQLite is interrupted, in the midst of whatever it does."""
    connection = setup.gateway.ledger._store.connection
    connection.set_progress_handler(lambda: int(failing.due("instructions")), STEPS)
    try:
        yield
    finally:
        connection.set_progress_handler(None, STEPS)


@STREAM_OR_NOT
async def test_the_database(tmp_path: Path, stream: bool, say: Say) -> None:
    """The journal tries again: nobody notices, and nothing is written twice."""
    async with open_setup(tmp_path, funds_nanodollars=FUNDS) as setup:
        trial = Trial(setup, stream)

        async def scenario(failing: FailAt) -> None:
            errors = setup.gateway.ledger.statistics().commit_errors
            with failing_database(setup, failing):
                await trial.pull()
                await settled(lambda: setup.gateway.ledger.statistics().queued_records == 0)
            assert setup.gateway.ledger.statistics().commit_errors == errors + failing.fired

        points = await trial.fail_everywhere(scenario)
        say(f"interruptions of the database: {points}; {sorted(trial.outcomes)}")
        assert points >= 20
        assert trial.outcomes == {"completed"}


async def test_the_database_in_an_administrators_job(tmp_path: Path, say: Say) -> None:
    """It fails whole, says so, and may be sent again. SQLite may be interrupted behind a commit:
    then it is done, and said to be."""
    async with open_setup(tmp_path, funds_nanodollars=FUNDS) as setup:
        ledger, account_id, funded = setup.gateway.ledger, setup.account_id, FUNDS
        refused = done = 0

        async def scenario(failing: FailAt) -> None:
            nonlocal funded, refused, done
            reference = f"payment {failing.number}"
            try:
                with failing_database(setup, failing):
                    await ledger.fund(account_id, 1_000, reference)
            except UnavailableError:
                assert failing.fired
                refused += 1
                assert await setup.balance() == funded
            else:
                done += failing.fired
                assert await setup.balance() == funded + 1_000
            await ledger.fund(account_id, 1_000, reference)
            funded += 1_000

        async def check(failing: FailAt) -> None:
            assert await setup.balance() == funded, failing
            await assert_invariants(setup.gateway)

        points = await fail_everywhere(scenario, check)
        say(f"interruptions of the database while money is added: {points}, {done} too late")
        assert refused + done == points > 0
        assert refused > 20
