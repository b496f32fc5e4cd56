"""Clients of HTTP/2: many calls on one connection, each left, stalled and billed by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from engine.wire.http2 import Http2Connection
from frontends.server import ServerSettings
from tests.gateways import charge, chat_body, settled
from tests.served import Served, open_served

TOKENS = 40


class Http2Client:
    """Streamed calls on one connection. A stream takes what comes unless it is held."""

    def __init__(self, served: Served, stream: trio.SocketStream) -> None:
        self.bodies: dict[int, bytes] = {}
        self.ids: dict[int, str] = {}
        self.ended: set[int] = set()
        self.reset: dict[int, int] = {}
        self.held: set[int] = set()
        self._served = served
        self._stream = stream
        self._h2 = Http2Connection(client_side=True)
        self._h2.start()

    async def call(self, directives: str) -> int:
        """Send a call; returns the stream it is on."""
        body = chat_body(directives)
        stream_id = self._h2.next_stream(
            [
                (b":method", b"POST"),
                (b":scheme", b"http"),
                (b":authority", b"localhost"),
                (b":path", b"/v1/chat/completions"),
                (b"authorization", f"Bearer {self._served.setup.key}".encode()),
                (b"content-type", b"application/json"),
            ],
            ended=False,
        )
        assert self._h2.send_data(stream_id, body, ended=True) == len(body)
        self.bodies[stream_id] = b""
        await self._flush()
        return stream_id

    async def leave(self, stream_id: int) -> None:
        """Reset a stream."""
        self._h2.reset(stream_id)
        await self._flush()

    async def read(self) -> None:
        """What one read brings."""
        data = await self._stream.receive_some(65_536)
        if not data:
            raise EOFError("the gateway closed the connection")
        for delivery in self._h2.receive(data):
            stream_id = delivery.stream_id
            if delivery.head is not None:
                fields = dict(delivery.head)
                assert fields[b":status"] == b"200"
                self.ids[stream_id] = fields[b"x-request-id"].decode()
            self.bodies[stream_id] += delivery.data
            if stream_id not in self.held:
                self._h2.acknowledge(stream_id, delivery.flow_bytes)
            if delivery.ended:
                self.ended.add(stream_id)
            if delivery.reset_code is not None:
                self.reset[stream_id] = delivery.reset_code
        await self._flush()

    async def read_until_ended(self, *stream_ids: int) -> None:
        """Read until these are complete."""
        while not self.ended.issuperset(stream_ids):
            await self.read()

    async def _flush(self) -> None:
        if self._h2.has_outgoing:
            await self._stream.send_all(self._h2.outgoing())


@asynccontextmanager
async def open_client(served: Served) -> AsyncIterator[Http2Client]:
    async with await trio.open_tcp_stream("127.0.0.1", served.port) as stream:
        client = Http2Client(served, stream)
        await client._flush()
        while not client._h2.settings_seen:
            await client.read()
        yield client


async def test_many_calls_on_one_connection(tmp_path: Path) -> None:
    async with open_served(tmp_path) as served, open_client(served) as client:
        calls = [await client.call(f"tokens={TOKENS} tokens_per_second=800") for _ in range(20)]
        await client.read_until_ended(*calls)
        for stream_id in calls:
            assert client.bodies[stream_id].endswith(b"data: [DONE]\n\n")
            receipt = await served.receipt(client.ids[stream_id])
            assert receipt["outcome"] == "completed"
            assert receipt["usage"]["output_tokens"] == TOKENS
            assert receipt["delivered_output_tokens"] == TOKENS


async def test_calls_that_are_left_are_billed_and_the_others_complete(tmp_path: Path) -> None:
    async with open_served(tmp_path) as served, open_client(served) as client:
        paces = ("tokens=100000 tokens_per_second=100", f"tokens={TOKENS} tokens_per_second=200")
        calls = [await client.call(pace) for _ in range(5) for pace in paces]
        left = calls[::2]
        while any(client.bodies[one].count(b"\n\n") < 5 for one in calls):
            await client.read()
        for stream_id in left:
            await client.leave(stream_id)
        await client.read_until_ended(*calls[1::2])
        setup = served.setup
        await settled(lambda: setup.gateway.open_exchanges == 0)
        await settled(lambda: all(truth.ended for truth in setup.sim.truth.records()))
        truths = {truth.request_id: truth for truth in setup.sim.truth.records()}
        for stream_id in left:
            truth = truths[client.ids[stream_id]]
            receipt = await served.receipt(truth.request_id)
            billed = receipt["usage"]["output_tokens"]
            assert (receipt["outcome"], truth.ended) == ("client_left", "reset")
            assert receipt["delivered_output_tokens"] <= billed <= truth.tokens_generated
            assert billed < 100_000
            assert receipt["price"]["nanodollars"] == charge(truth.input_tokens, billed)
        for stream_id in calls[1::2]:
            assert (await served.receipt(client.ids[stream_id]))["outcome"] == "completed"


async def test_leaving_while_the_provider_is_quiet(tmp_path: Path) -> None:
    async with open_served(tmp_path) as served, open_client(served) as client:
        quiet = await client.call("tokens=5 first_token_ms=60000")
        await settled(lambda: bool(served.setup.sim.truth.records()))
        await client.leave(quiet)
        await settled(lambda: served.setup.gateway.open_exchanges == 0)
        [truth] = served.setup.sim.truth.records()
        await settled(lambda: truth.ended == "reset")
        other = await client.call("tokens=2")
        await client.read_until_ended(other)


async def test_a_connection_that_breaks_leaves_all_its_calls(tmp_path: Path) -> None:
    async with open_served(tmp_path) as served:
        async with open_client(served) as client:
            calls = [await client.call("tokens=100000 tokens_per_second=50") for _ in range(10)]
            while any(client.bodies[one].count(b"\n\n") < 3 for one in calls):
                await client.read()
        await settled(lambda: served.setup.gateway.open_exchanges == 0)
        for stream_id in calls:
            receipt = await served.receipt(client.ids[stream_id])
            assert receipt["outcome"] == "client_left"


async def test_a_call_whose_window_stays_shut_is_cut_and_billed(tmp_path: Path) -> None:
    settings = ServerSettings(write_stall_s=1)
    async with open_served(tmp_path, settings=settings) as served, open_client(served) as client:
        stalled = await client.call("tokens=100000 tokens_per_second=20000")
        client.held.add(stalled)
        while stalled not in client.reset:
            await client.read()
        other = await client.call("tokens=2")
        await client.read_until_ended(other)
        receipt = await served.receipt(client.ids[stalled])
        assert receipt["outcome"] == "client_left"
        assert 0 < receipt["delivered_output_tokens"] < receipt["received_output_tokens"] < 100_000
