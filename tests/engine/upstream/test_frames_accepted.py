"""Frames that look odd and are right, or are to be ignored; and what a client owes its server."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from hyperframe.frame import (
    DataFrame,
    HeadersFrame,
    PingFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from engine.upstream.connection import ConnectionSettings, open_connection

from .peer import OK
from .scripted_peer import (
    ScriptedPeer,
    data,
    kinds,
    open_conversation,
    open_listening,
    raw,
    rst,
    settings,
    window_update,
)

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, _, PING, GOAWAY, WINDOW_UPDATE = range(9)
CONTINUATION, ALTSVC, ORIGIN, PRIORITY_UPDATE, EXTENSION = 9, 10, 12, 16, 0x42
ACK, END_STREAM, END_HEADERS, PADDED, PRIORITISED = 0x1, 0x1, 0x4, 0x8, 0x20
ENDED = 1
"""A stream whose answer has ended before the frame in question comes."""

Script = Callable[[ScriptedPeer, int], bytes]

IGNORED: dict[str, Script] = {
    "priority": lambda p, n: raw(PRIORITY, 0, n, bytes([0, 0, 0, ENDED, 16])),
    "priority of an idle stream": lambda p, n: raw(PRIORITY, 0, 99, bytes(5)),
    "priority on itself": lambda p, n: raw(PRIORITY, 0, n, bytes([0, 0, 0, n, 16])),
    "priority of a closed stream": lambda p, n: raw(PRIORITY, 0, ENDED, bytes(5)),
    "unknown frame": lambda p, n: raw(EXTENSION, 0xFF, 0, b"anything"),
    "unknown frame on a stream": lambda p, n: raw(EXTENSION, 0, n, b"anything"),
    "unknown frame on an idle stream": lambda p, n: raw(EXTENSION, 0, 99),
    "altsvc": lambda p, n: raw(ALTSVC, 0, 0, b"\0\x01hh3=1"),
    "origin": lambda p, n: raw(ORIGIN, 0, 0, b"\0\x08https://"),
    "priority update": lambda p, n: raw(PRIORITY_UPDATE, 0, 0, n.to_bytes(4, "big") + b"u=1"),
    "an unsolicited pong": lambda p, n: raw(PING, ACK, 0, b"whatever"),
    "an unsolicited settings ack": lambda p, n: raw(SETTINGS, ACK, 0),
    "a window update on a closed stream": lambda p, n: window_update(ENDED, 1),
    "a reset of a closed stream": lambda p, n: rst(ENDED, 8),
    "a stream id with the reserved bit": lambda p, n: window_update(n | 1 << 31, 1),
    "a window update with unknown flags": lambda p, n: raw(WINDOW_UPDATE, 0xFF, n, b"\0\0\0\1"),
    "a window update as large as fits": lambda p, n: window_update(n, 2**31 - 1 - 65_535),
    "103": lambda p, n: p.head(n, [(b":status", b"103"), (b"link", b"</a>")]),
    "100, 102, 103": lambda p, n: b"".join(
        p.head(n, [(b":status", status)]) for status in (b"100", b"102", b"103")
    ),
}


@pytest.mark.parametrize("name", IGNORED)
async def test_nothing_comes_of(name: str) -> None:
    async with open_conversation() as talk:
        await talk.assert_works()
        opened = await talk.request()
        await talk.peer.send(IGNORED[name](talk.peer, opened.id))
        assert kinds(await talk.peer.quiet()) == []
        await talk.peer.send(talk.peer.head(opened.id), data(opened.id, b"as ever", ended=True))
        answer = await opened.over()
        assert (answer.data, answer.ended, answer.head) == (b"as ever", True, OK)
        await talk.assert_works()


SETTINGS_IGNORED = {
    "unknown": {0x99: 7, 0xFFFF: 2**32 - 1},
    "ENABLE_PUSH = 0": {2: 0},
    "MAX_HEADER_LIST_SIZE": {6: 1},
    "ENABLE_CONNECT_PROTOCOL": {8: 1},
    "NO_RFC7540_PRIORITIES": {9: 1},
    "none at all": {},
}


@pytest.mark.parametrize("name", SETTINGS_IGNORED)
async def test_settings_without_effect_are_acknowledged(name: str) -> None:
    async with open_conversation() as talk:
        await talk.peer.send(settings(SETTINGS_IGNORED[name]))
        assert kinds(await talk.peer.quiet()) == ["SettingsFrame"]
        assert "ACK" in talk.peer.seen[-2].flags
        await talk.assert_works()


def split_block(peer: ScriptedPeer, stream_id: int, pieces: int) -> bytes:
    """A response's head, in one HEADERS frame and several CONTINUATION frames."""
    block = peer.encoder.encode([*OK, (b"x-long", b"y" * 100)])
    size = len(block) // pieces + 1
    parts = [block[at : at + size] for at in range(0, len(block), size)]
    frames = [raw(HEADERS, 0, stream_id, parts[0])]
    frames += [raw(CONTINUATION, 0, stream_id, part) for part in parts[1:]]
    return b"".join(frames) + raw(CONTINUATION, END_HEADERS, stream_id)


ANSWERS: dict[str, tuple[bytes, Script]] = {
    "padded data": (b"abc", lambda p, n: p.head(n) + raw(DATA, 0x9, n, b"\x04abc\0\0\0\0")),
    "data with padding of none": (b"abc", lambda p, n: p.head(n) + raw(DATA, 0x9, n, b"\0abc")),
    "all padding, then data": (
        b"abc",
        lambda p, n: p.head(n) + raw(DATA, PADDED, n, b"\x02\0\0") + data(n, b"abc", ended=True),
    ),
    "padding that is not zero": (b"abc", lambda p, n: p.head(n) + raw(DATA, 9, n, b"\x01abc\xff")),
    "padded headers": (
        b"x",
        lambda p, n: (
            raw(HEADERS, PADDED | END_HEADERS, n, b"\x02" + p.encoder.encode(OK) + b"\0\0")
            + data(n, b"x", ended=True)
        ),
    ),
    "headers with a priority": (
        b"x",
        lambda p, n: (
            raw(
                HEADERS, PRIORITISED | END_HEADERS, n, bytes([0, 0, 0, n, 9]) + p.encoder.encode(OK)
            )
            + data(n, b"x", ended=True)
        ),
    ),
    "headers in 20 frames": (b"x", lambda p, n: split_block(p, n, 19) + data(n, b"x", ended=True)),
    "empty data in between": (
        b"ab",
        lambda p, n: p.head(n) + data(n, b"a") + data(n) + data(n, b"b") + data(n, ended=True),
    ),
    "no body": (b"", lambda p, n: p.head(n, ended=True)),
    "trailers": (
        b"x",
        lambda p, n: p.head(n) + data(n, b"x") + p.head(n, [(b"grpc-status", b"0")], ended=True),
    ),
    "trailers without fields": (
        b"x",
        lambda p, n: p.head(n) + data(n, b"x") + p.head(n, [], ended=True),
    ),
    "data with unknown flags": (b"x", lambda p, n: p.head(n) + raw(DATA, 0xF7, n, b"x")),
    "103 and the head at once": (
        b"x",
        lambda p, n: p.head(n, [(b":status", b"103")]) + p.head(n) + data(n, b"x", ended=True),
    ),
    "a frame as large as may be": (
        bytes(16_384),
        lambda p, n: p.head(n) + data(n, bytes(16_384), ended=True),
    ),
    "reset after the end": (
        b"x",
        lambda p, n: p.head(n) + data(n, b"x", ended=True) + rst(n, 0) + window_update(n, 1),
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_an_answer_with(name: str) -> None:
    body, script = ANSWERS[name]
    async with open_conversation() as talk:
        opened = await talk.request()
        await talk.peer.send(script(talk.peer, opened.id))
        answer = await opened.over()
        assert (answer.data, answer.ended, answer.reset_code) == (body, True, None)
        assert (answer.head or [])[0] == (b":status", b"200")
        assert kinds(await talk.peer.quiet()) == []
        await talk.assert_works()


@pytest.mark.parametrize("name", ANSWERS)
async def test_one_byte_at_a_time(name: str) -> None:
    """Every frame above, split everywhere: each byte of it is a read of its own."""
    body, script = ANSWERS[name]
    one_byte = ConnectionSettings(read_max_bytes=1)
    async with open_conversation(connection_settings=one_byte) as talk:
        opened = await talk.request()
        await talk.peer.send(script(talk.peer, opened.id))
        answer = await opened.over()
        assert (answer.data, answer.ended) == (body, True)


async def test_the_preface_comes_first_and_says_what_we_take() -> None:
    window = ConnectionSettings(stream_window_bytes=70_000, connection_window_bytes=1_000_000)
    async with open_listening() as (origin, accept), trio.open_nursery() as nursery:

        async def hold() -> None:
            async with open_connection(origin, window):
                await trio.sleep_forever()

        nursery.start_soon(hold)
        peer: ScriptedPeer = await accept()
        first, second = await peer.next_frame(), await peer.next_frame()
        assert isinstance(first, SettingsFrame)
        assert first.settings[2] == 0, "no push"
        assert first.settings[4] == 70_000
        assert first.settings[5] == 16_384
        assert isinstance(second, WindowUpdateFrame)
        assert (second.stream_id, second.window_increment) == (0, 1_000_000 - 65_535)
        nursery.cancel_scope.cancel()


async def test_a_ping_is_answered_before_a_waiting_body() -> None:
    async with open_conversation() as talk:
        await talk.request(bytes(200_000))
        await talk.peer.send(raw(PING, 0, 0, b"\0\1\2\3\4\5\6\7"))
        pong = await talk.peer.expect(PingFrame)
        assert ("ACK" in pong.flags, pong.opaque_data) == (True, b"\0\1\2\3\4\5\6\7")


async def test_settings_are_acknowledged_in_turn() -> None:
    async with open_conversation() as talk:
        await talk.peer.send(settings({3: 5}), settings({3: 6}), settings({4: 10}))
        frames = await talk.peer.quiet()
        assert kinds(frames) == ["SettingsFrame"] * 3
        assert all("ACK" in frame.flags for frame in frames)
        assert talk.connection.free_streams == 6


async def test_a_request_on_the_wire() -> None:
    """Ids odd and rising; pseudo-fields first; END_STREAM with the last byte (section 8.1)."""
    async with open_conversation() as talk:
        talk.start(fields=[(b"x-a", b"1")])
        talk.start(b"body")
        stream_id, fields, frame = await talk.peer.expect_head()
        assert stream_id == 1
        assert [name for name, _ in fields] == [
            b":method", b":scheme", b":authority", b":path", b"x-a",
        ]  # fmt: skip
        assert "END_STREAM" in frame.flags
        stream_id, _, frame = await talk.peer.expect_head()
        assert stream_id == 3
        assert "END_STREAM" not in frame.flags
        last = await talk.peer.expect(DataFrame)
        assert (last.data, "END_STREAM" in last.flags) == (b"body", True)


async def test_a_head_larger_than_a_frame_is_continued() -> None:
    async with open_conversation() as talk:
        opened = talk.start(fields=[(b"x-long", bytes(range(65, 90)) * 2_000)])
        stream_id, fields, first = await talk.peer.expect_head()
        assert isinstance(first, HeadersFrame)
        assert "END_HEADERS" not in first.flags
        assert dict(fields)[b"x-long"] == bytes(range(65, 90)) * 2_000
        await talk.peer.send(talk.peer.head(stream_id, ended=True))
        assert (await opened.over()).ended


@pytest.mark.parametrize("size", [0, 100, 4_096, 65_536])
async def test_the_peers_header_table_size_is_kept(size: int) -> None:
    """RFC 7541 section 4.2: a smaller table is said at the next block; a larger one may be used."""
    async with open_conversation() as talk:
        await talk.assert_works()
        talk.peer.decoder.max_allowed_table_size = size
        await talk.peer.send(settings({1: 0}), settings({1: size}))
        await talk.peer.quiet()
        for _ in range(3):
            await talk.assert_works()
        assert talk.peer.decoder.header_table_size <= size


async def test_padding_is_credited_with_the_data() -> None:
    window = ConnectionSettings(stream_window_bytes=1_000)
    async with open_conversation(connection_settings=window) as talk:
        opened = await talk.request()
        padded = raw(DATA, PADDED, opened.id, b"\xc7" + b"x" * 100 + bytes(199))  # 300 bytes
        await talk.peer.send(talk.peer.head(opened.id), padded * 3)
        await opened.answer.wait_bytes(300)
        assert opened.answer.flow_bytes == 900
        opened.stream.acknowledge(900)
        credit = await talk.peer.expect(WindowUpdateFrame, lambda f: f.stream_id == opened.id)
        assert credit.window_increment == 900
