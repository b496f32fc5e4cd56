"""The simulated provider over HTTP/2: prior knowledge and TLS, real sockets."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator

import orjson
import pytest
import trio
import trustme

from bench.simulate import Simulator, SimulatorSettings, TruthRecord, open_simulator
from engine.wire.http2 import ErrorCodes
from tests.bench.peer import (
    PATIENCE_S,
    Answer,
    Http2Client,
    chat_request,
    events_of,
    open_http2,
    text_of,
)
from tests.bench.raw import post


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    settings = SimulatorSettings(body_max_bytes=100_000)
    async with open_simulator(settings) as simulator:
        yield simulator
        assert simulator.statistics().crashes == 0


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[Http2Client]:
    async with open_http2(simulator.port) as client:
        yield client


async def wait_ended(simulator: Simulator, request_id: str = "one") -> TruthRecord:
    with trio.fail_after(PATIENCE_S):
        return await simulator.truth.wait_ended(request_id)


def tls_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's, and a client's that trusts it and asks for HTTP/2."""
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    trusting.set_alpn_protocols(["h2"])
    return server, trusting


async def test_stream_matches_the_truth_log(simulator: Simulator, client: Http2Client) -> None:
    request = chat_request("tokens=40 tokens_per_event=3", stream_options={"include_usage": True})
    answer = await client.wait(await client.chat(request, "one"))
    record = simulator.truth.record("one")
    assert record is not None
    assert (answer.status, answer.ended) == (200, True)
    assert answer.head[b"content-type"] == b"text/event-stream; charset=utf-8"
    assert answer.head[b"x-request-id"].decode() == record.provider_request_id
    assert answer.body.endswith(b"data: [DONE]\n\n")
    assert text_of(answer.body) == record.text
    assert record.tokens_generated == record.tokens_written == 40
    assert events_of(answer.body)[-1]["usage"] == record.usage_reported
    assert (record.ended, record.protocol) == ("done", "h2")


async def test_whole_completion(simulator: Simulator, client: Http2Client) -> None:
    answer = await client.wait(await client.chat(chat_request("tokens=40", stream=False), "one"))
    record = simulator.truth.record("one")
    assert record is not None
    document = orjson.loads(answer.body)
    assert document["choices"][0]["message"]["content"] == record.text
    assert int(answer.head[b"content-length"]) == len(answer.body)
    assert record.tokens_written == 40


async def test_streams_share_a_connection(simulator: Simulator, client: Http2Client) -> None:
    ids = [
        await client.chat(chat_request(f"tokens=20 tokens_per_second={100 + n}"), str(n))
        for n in range(100)
    ]
    for n, stream_id in enumerate(ids):
        answer = await client.wait(stream_id)
        record = simulator.truth.record(str(n))
        assert record is not None
        assert text_of(answer.body) == record.text
    assert simulator.statistics().connections == 1


async def test_a_paced_tick_is_one_read_for_many_streams(client: Http2Client) -> None:
    request = chat_request("tokens=2 first_token_ms=100")
    ids = [await client.chat(request) for _ in range(20)]
    for stream_id in ids:
        assert len((await client.wait(stream_id)).reads) <= 2


async def test_reset_stops_generation(simulator: Simulator, client: Http2Client) -> None:
    request = chat_request("tokens=100000 tokens_per_second=500")
    stream_id = await client.chat(request, "one")
    answer = await client.wait(stream_id, tokens=5)
    client.h2.reset(stream_id, ErrorCodes.CANCEL)
    await client.flush()
    record = await wait_ended(simulator)
    assert record.ended == "reset"
    received = len(text_of(answer.body[: answer.body.rindex(b"\n\n") + 2]).split())
    assert 5 <= received <= record.tokens_written <= record.tokens_generated < 100_000
    assert simulator.statistics().scheduled_replies == 0
    other = await client.wait(await client.chat(chat_request("tokens=3"), "two"))
    assert other.ended


async def test_reset_of_a_whole_completion_counts_what_was_generated(
    simulator: Simulator, client: Http2Client
) -> None:
    """Nothing is sent before the end, but by the clock some of it was generated."""
    request = chat_request("tokens=100000 tokens_per_second=100", stream=False)
    stream_id = await client.chat(request, "one")
    await client.wait(await client.chat(chat_request("tokens=20 tokens_per_second=100")))
    client.h2.reset(stream_id, ErrorCodes.CANCEL)
    await client.flush()
    record = await wait_ended(simulator)
    assert (record.ended, record.tokens_written) == ("reset", 0)
    assert 15 <= record.tokens_generated < 100_000


async def test_leaving_resets_every_stream(simulator: Simulator) -> None:
    request = chat_request("tokens=100000 tokens_per_second=500")
    async with open_http2(simulator.port) as client:
        ids = [await client.chat(request, str(n)) for n in range(5)]
        for stream_id in ids:
            await client.wait(stream_id, tokens=2)
    for n in range(5):
        record = await wait_ended(simulator, str(n))
        assert record.ended == "reset"
        assert 2 <= record.tokens_written <= record.tokens_generated


async def test_a_closed_window_holds_generation_at_its_bound(simulator: Simulator) -> None:
    """64 KiB of events go out, about 270; then 1,024 tokens wait and generation pauses."""
    request = chat_request("tokens=5000")
    async with open_http2(simulator.port, acknowledge=False) as client:
        stream_id = await client.chat(request, "one")
        await client.wait(stream_id, tokens=1)
        (record,) = simulator.truth.records()
        with trio.fail_after(PATIENCE_S):
            while record.tokens_generated < 1_024:
                await client.wait(await client.chat(chat_request("tokens=10")))
        sizes = [record.tokens_generated]
        for _ in range(5):  # other requests are served, and this one stays where it is
            await client.wait(await client.chat(chat_request("tokens=10")))
            sizes.append(record.tokens_generated)
        assert record.tokens_generated - record.tokens_written <= 1_024
        assert record.tokens_written < 400
        assert max(sizes) <= 1_024 + record.tokens_written
        assert record.ended is None
        await client.acknowledge_all()
        answer = await client.wait(stream_id)
        assert text_of(answer.body) == record.text
        assert (record.tokens_generated, record.tokens_written) == (5_000, 5_000)
    assert record.ended == "done"


async def test_one_closed_window_does_not_hold_up_others(simulator: Simulator) -> None:
    async with open_http2(simulator.port, acknowledge=False) as client:
        stalled = await client.chat(chat_request("tokens=5000"), "stalled")
        for n in range(3):
            answer = await client.wait(await client.chat(chat_request("tokens=100"), str(n)))
            assert answer.ended
        assert not client.answers[stalled].over


async def test_a_client_that_stops_reading_is_dropped() -> None:
    settings = SimulatorSettings(write_stall_s=0.3)
    async with open_simulator(settings) as simulator:
        async with await trio.open_tcp_stream("127.0.0.1", simulator.port) as stream:
            more = "x-request-id: one\r\n"
            await stream.send_all(post(chat_request("tokens=1000000"), more=more))
            record = await wait_ended(simulator)
        assert record.ended == "reset"
        # 1,024 wait for the connection, which buffers at most twice 64 KiB.
        assert record.tokens_generated - record.tokens_written <= 1_024 + 131_072 // 180
        assert record.tokens_generated < 1_000_000


async def test_body_over_the_limit(simulator: Simulator, client: Http2Client) -> None:
    stream_id = client.h2.next_stream(
        [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":authority", b"x"),
            (b":path", b"/v1/chat/completions"),
        ],
        ended=False,
    )
    client.answers[stream_id] = Answer()
    for _ in range(2):
        client.h2.send_data(stream_id, b"x" * 30_000)
    await client.flush()
    with trio.fail_after(PATIENCE_S):
        while not client.answers[stream_id].over:
            if client.h2.send_window(stream_id) > 10_000:
                client.h2.send_data(stream_id, b"x" * 10_000)
            await client.flush()
            await client.wait(await client.send("/healthz"))
    assert client.answers[stream_id].status == 413
    assert (await client.wait(await client.chat(chat_request("tokens=1")))).ended


@pytest.mark.parametrize(
    "data",
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x01\x00\x00\x00\x01",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678" * 500,
    ],
)
async def test_bad_frames_end_one_connection_only(
    simulator: Simulator, client: Http2Client, data: bytes
) -> None:
    with trio.fail_after(PATIENCE_S):
        async with await trio.open_tcp_stream("127.0.0.1", simulator.port) as stream:
            await stream.send_all(data)
            try:
                while await stream.receive_some():
                    pass
            except trio.BrokenResourceError:
                pass
    assert (await client.wait(await client.send("/healthz"))).status == 200


async def test_tls_with_alpn_h2() -> None:
    server, trusting = tls_contexts()
    async with open_simulator(SimulatorSettings(tls=server)) as simulator:
        async with open_http2(simulator.port, tls=trusting) as client:
            ids = [await client.chat(chat_request("tokens=2000"), str(n)) for n in range(5)]
            for n, stream_id in enumerate(ids):
                answer = await client.wait(stream_id)
                record = simulator.truth.record(str(n))
                assert record is not None
                assert text_of(answer.body) == record.text
                assert record.ended == "done"
        assert simulator.statistics().crashes == 0


@pytest.mark.parametrize("fault", ["cut", "rst", "goaway"])
async def test_faults_over_tls(fault: str) -> None:
    server, trusting = tls_contexts()
    async with open_simulator(SimulatorSettings(tls=server)) as simulator:
        async with open_http2(simulator.port, tls=trusting) as client:
            request = chat_request(f"tokens=500 cut_after=300 fault={fault}")
            answer = await client.wait(await client.chat(request, "one"))
            record = await wait_ended(simulator)
        assert record.ended == "cut"
        assert record.tokens_written == 300
        assert text_of(answer.body) == record.text
        assert simulator.statistics().crashes == 0


async def test_leaving_the_block_ends_everything() -> None:
    async with open_simulator() as simulator:
        stream = await trio.open_tcp_stream("127.0.0.1", simulator.port)
        await stream.send_all(post(chat_request("tokens=1000 tokens_per_second=10")))
        with trio.fail_after(PATIENCE_S):
            received = b""
            while b'"delta":{"content"' not in received:
                received += await stream.receive_some()
    async with stream:
        with trio.fail_after(PATIENCE_S):
            while await stream.receive_some():
                pass
    (record,) = simulator.truth.records()
    assert record.ended == "reset"
    assert simulator.statistics().connections == 0
    with pytest.raises(OSError, match="connect"):
        await trio.open_tcp_stream("127.0.0.1", simulator.port)


async def test_errors_of_the_block_come_out_plain() -> None:
    with pytest.raises(KeyError, match="mine"):
        async with open_simulator():
            raise KeyError("mine")
