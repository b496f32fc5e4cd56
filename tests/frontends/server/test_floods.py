"""HTTP/2 floods: the connection that sends one is cut, and the streams of others complete.

Each is cheap for its sender and would cost us without bound: an answer, an app's task, memory, or
just the time to read it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import h2.events
import pytest
import trio
from hpack import Encoder

from engine.wire.http2_limits import (
    CONTINUATION,
    DATA,
    HEADERS,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
)
from tests.frontends.server.apps import (
    Addressed,
    dial,
    headers,
    open_http2,
    open_probe,
    read_all,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
END_STREAM, END_HEADERS = 0x1, 0x4
COUNT, STREAMS = 5_000, 500


def frame(kind: int, flags: int, stream_id: int, body: bytes = b"") -> bytes:
    head = len(body).to_bytes(3, "big") + bytes([kind, flags])
    return head + stream_id.to_bytes(4, "big") + body


def request(stream_id: int, path: bytes = b"/stream", *, ended: bool = True) -> bytes:
    flags = END_HEADERS | (END_STREAM if ended else 0)
    return frame(HEADERS, flags, stream_id, Encoder().encode(headers(path)))


def each(spoil: bytes, kind: int, flags: int = 0) -> Iterator[bytes]:
    """Requests, each with a frame that makes the server reset its stream."""
    for stream_id in range(1, 2 * STREAMS, 2):
        yield request(stream_id, ended=False) + frame(kind, flags, stream_id, spoil)


def rapid_reset() -> Iterator[bytes]:
    """CVE-2023-44487."""
    return each(b"\0\0\0\x08", RST_STREAM)


def settings() -> Iterator[bytes]:
    yield frame(SETTINGS, 0, 0) * COUNT


def ping() -> Iterator[bytes]:
    yield frame(PING, 0, 0, bytes(8)) * COUNT


def empty_data() -> Iterator[bytes]:
    yield request(1, ended=False) + frame(DATA, 0, 1) * COUNT


def padding_only() -> Iterator[bytes]:
    yield request(1, ended=False) + frame(DATA, 0x8, 1, b"\0") * COUNT


def continuation() -> Iterator[bytes]:
    """CVE-2024-27316 and its kind."""
    yield frame(HEADERS, 0, 1) + frame(CONTINUATION, 0, 1) * COUNT


def continuation_of_bytes() -> Iterator[bytes]:
    block = Encoder().encode([(b"x", b"y" * 16_000)])
    yield frame(HEADERS, 0, 1, block) + frame(CONTINUATION, 0, 1, block) * 100


def priority() -> Iterator[bytes]:
    yield frame(PRIORITY, 0, 1, bytes([0, 0, 0, 3, 16])) * COUNT


def unknown_frames() -> Iterator[bytes]:
    yield frame(0x42, 0, 0, b"extension") * COUNT


def window_updates() -> Iterator[bytes]:
    yield frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1") * COUNT


def window_updates_of_a_stream() -> Iterator[bytes]:
    yield request(1) + frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1") * COUNT


def made_you_reset_by_overflow() -> Iterator[bytes]:
    """CVE-2025-8671, as the next three."""
    return each(b"\x7f\xff\xff\xff", WINDOW_UPDATE)


def made_you_reset_by_nothing() -> Iterator[bytes]:
    return each(bytes(4), WINDOW_UPDATE)


def made_you_reset_by_trailers() -> Iterator[bytes]:
    return each(Encoder().encode([(b":path", b"/")]), HEADERS, END_HEADERS | END_STREAM)


def made_you_reset_by_length() -> Iterator[bytes]:
    block = Encoder().encode([*headers(b"/stream"), (b"content-length", b"1")])
    for stream_id in range(1, 2 * STREAMS, 2):
        yield frame(HEADERS, END_HEADERS, stream_id, block) + frame(DATA, 0, stream_id, b"xx")


def more_streams_than_allowed() -> Iterator[bytes]:
    for stream_id in range(1, 2 * STREAMS, 2):
        yield request(stream_id)


def header_bomb() -> Iterator[bytes]:
    """An entry of the table, referred to by one byte each time."""
    block = Encoder().encode([*headers(), *[(b"x", b"y" * 4_000)] * 500])
    yield frame(HEADERS, END_HEADERS | END_STREAM, 1, block)


FLOODS = [
    rapid_reset,
    settings,
    ping,
    empty_data,
    padding_only,
    continuation,
    continuation_of_bytes,
    priority,
    unknown_frames,
    window_updates,
    window_updates_of_a_stream,
    made_you_reset_by_overflow,
    made_you_reset_by_nothing,
    made_you_reset_by_trailers,
    made_you_reset_by_length,
    more_streams_than_allowed,
    header_bomb,
]


async def flood(server: Addressed, frames: Iterator[bytes]) -> bytes:
    """What the server said until it ended the connection."""
    stream = await dial(server)
    heard = bytearray()

    async def hear() -> None:
        heard.extend(await read_all(stream))

    async with stream, trio.open_nursery() as nursery:
        nursery.start_soon(hear)
        try:
            await stream.send_all(PREFACE + frame(SETTINGS, 0, 0))
            for part in frames:
                await stream.send_all(part)
        except trio.BrokenResourceError:
            pass  # it is cut while it floods
    return bytes(heard)


@pytest.mark.parametrize("kind", ["parshall", "hypercorn"])
@pytest.mark.parametrize("frames", FLOODS, ids=lambda one: one.__name__)
async def test_a_flood_is_cut_and_the_streams_of_others_complete(kind: str, frames: Any) -> None:
    async with open_probe(server=kind) as (probe, server), open_http2(server) as other:
        await other.request(1, headers(b"/stream"))
        await other.wait_for(h2.events.DataReceived, 1)
        with trio.fail_after(30):
            heard = await flood(server, frames())
        assert b"\x07\0\0\0\0\0" in heard or heard.endswith(b"<reset>")
        probe.release.set()
        assert await other.wait_for(h2.events.StreamEnded, 1)
        await other.request(3, headers())
        assert await other.wait_for(h2.events.StreamEnded, 3)
