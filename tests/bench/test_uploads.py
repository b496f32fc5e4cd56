"""Long forms in the simulated provider: whole whatever carried them, and of no cost in memory."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import orjson
import trio

from bench.simulate import Simulator, TruthRecord, open_simulator
from bench.simulate.uploads import SPOOLED_BYTES
from tests.bench.peer import PATIENCE_S, open_http2
from tests.bench.raw import converse
from tests.bench.uploads import BOUNDARY, form, sound, upload

PATH = "/v1/audio/transcriptions"
WAV = sound(130, 32_000)
"""8 MB."""
BODY = form([("file", WAV), ("model", "whisper-1"), ("prompt", "#sim tokens=3\nRivers.")])
CLIENTS = 8


def check(record: TruthRecord) -> None:
    assert record.parts == (
        {
            "name": "file",
            "filename": "a.bin",
            "content_type": "",
            "bytes": len(WAV),
            "crc32": zlib.crc32(WAV),
        },
        {"name": "model", "value": "whisper-1"},
        {"name": "prompt", "value": "#sim tokens=3\nRivers."},
    )
    assert record.consumed == {"milliseconds": 130_000, "output_tokens": 3}
    assert record.body == b""


async def test_arrives_whole_over_http1_and_http2() -> None:
    assert len(BODY) > SPOOLED_BYTES
    async with open_simulator() as simulator:
        received = await converse(simulator.port, upload(PATH, BODY))
        assert orjson.loads(received.body)["usage"] == {"type": "duration", "seconds": 130}
        async with open_http2(simulator.port) as client:
            kind = f"multipart/form-data; boundary={BOUNDARY}".encode()
            headers = [(b"content-type", kind)]
            answer = await client.wait(await client.send(PATH, BODY, headers))
        assert answer.body == received.body
        for record in simulator.truth.records():
            check(record)
        assert orjson.loads(orjson.dumps(record.to_json()))["parts"][0]["bytes"] == len(WAV)
        assert simulator.statistics().crashes == 0


def own_bytes() -> int:
    """Memory of this process that is no file's."""
    status = Path("/proc/self/status").read_text()
    [found] = re.findall(r"RssAnon:\s+(\d+) kB", status)
    return int(found) * 1_024


async def send_most(simulator: Simulator) -> list[trio.SocketStream]:
    """As many clients as there are have sent all but the end."""
    streams = [await trio.open_tcp_stream("127.0.0.1", simulator.port) for _ in range(CLIENTS)]
    data = memoryview(upload(PATH, BODY))
    async with trio.open_nursery() as sending:
        for stream in streams:
            sending.start_soon(stream.send_all, data[:-1])
    return streams


async def test_many_at_once_take_no_memory() -> None:
    async with open_simulator() as simulator:
        await converse(simulator.port, upload(PATH, BODY))
        before = own_bytes()
        streams = await send_most(simulator)
        assert own_bytes() - before < CLIENTS * 2 * SPOOLED_BYTES
        with trio.fail_after(PATIENCE_S):
            for stream in streams:
                await stream.send_all(b"\n")
                assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 OK\r\n")
                await stream.aclose()
        for record in simulator.truth.records():
            check(record)


async def test_what_was_left_of_an_upload_is_let_go() -> None:
    async with open_simulator() as simulator:
        async with await trio.open_tcp_stream("127.0.0.1", simulator.port) as stream:
            await stream.send_all(upload(PATH, BODY)[: 3 * SPOOLED_BYTES])
        with trio.fail_after(PATIENCE_S):
            await simulator.wait_idle()
        assert simulator.truth.records() == []
        assert simulator.statistics().crashes == 0
