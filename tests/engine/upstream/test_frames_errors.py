"""Frames that break the rules: what costs the connection, and what costs only its stream."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from engine.errors import UpstreamUnreachableError
from engine.upstream.connection import ConnectionSettings
from engine.upstream.errors import StreamLostError

from .peer import OK
from .scripted_peer import (
    ScriptedPeer,
    data,
    goaway,
    open_conversation,
    raw,
    resets,
    rst,
    settings,
    window_update,
)

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY = range(8)
WINDOW_UPDATE, CONTINUATION, EXTENSION = 8, 9, 0x42
ACK, END_STREAM, END_HEADERS, PADDED = 0x1, 0x1, 0x4, 0x8
IDLE = 99
PROTOCOL, FLOW, SIZE, COMPRESSION, CALM = 1, 3, 6, 9, 11

Script = Callable[[ScriptedPeer, int], bytes]

FATAL: dict[str, tuple[int, Script]] = {
    # RFC 9113 section 4.2 and 6: sizes
    "data over MAX_FRAME_SIZE": (SIZE, lambda p, n: raw(DATA, 0, n, bytes(16_385))),
    "headers over MAX_FRAME_SIZE": (SIZE, lambda p, n: raw(HEADERS, 4, n, bytes(16_385))),
    "extension over MAX_FRAME_SIZE": (SIZE, lambda p, n: raw(EXTENSION, 0, 0, bytes(16_385))),
    "rst of 3 bytes": (SIZE, lambda p, n: raw(RST_STREAM, 0, n, bytes(3))),
    "settings of 5 bytes": (SIZE, lambda p, n: raw(SETTINGS, 0, 0, bytes(5))),
    "settings ack with a payload": (SIZE, lambda p, n: raw(SETTINGS, ACK, 0, bytes(6))),
    "goaway of 7 bytes": (SIZE, lambda p, n: raw(GOAWAY, 0, 0, bytes(7))),
    "window update of 3 bytes": (SIZE, lambda p, n: raw(WINDOW_UPDATE, 0, n, bytes(3))),
    # frames on stream 0 that belong to a stream, and the other way round
    "data on stream 0": (PROTOCOL, lambda p, n: data(0, b"x")),
    "headers on stream 0": (PROTOCOL, lambda p, n: p.head(0)),
    "priority on stream 0": (PROTOCOL, lambda p, n: raw(PRIORITY, 0, 0, bytes(5))),
    "rst on stream 0": (PROTOCOL, lambda p, n: rst(0, 0)),
    "continuation on stream 0": (PROTOCOL, lambda p, n: raw(CONTINUATION, 4, 0, b"")),
    "settings on a stream": (PROTOCOL, lambda p, n: raw(SETTINGS, 0, n)),
    "goaway on a stream": (PROTOCOL, lambda p, n: raw(GOAWAY, 0, n, bytes(8))),
    # section 5.1: idle streams
    "data on an idle stream": (PROTOCOL, lambda p, n: data(IDLE, b"x")),
    "headers on an idle stream": (PROTOCOL, lambda p, n: p.head(IDLE)),
    "headers on a server's stream": (PROTOCOL, lambda p, n: p.head(2)),
    "data on a server's stream": (PROTOCOL, lambda p, n: data(2, b"x")),
    "rst on an idle stream": (PROTOCOL, lambda p, n: rst(IDLE, 8)),
    "window update on an idle stream": (PROTOCOL, lambda p, n: window_update(IDLE, 1)),
    # section 8.4: we said ENABLE_PUSH = 0
    "push promise": (
        PROTOCOL,
        lambda p, n: raw(PUSH_PROMISE, END_HEADERS, n, b"\0\0\0\2" + p.encoder.encode(OK)),
    ),
    # section 6.5.2: values
    "ENABLE_PUSH from a server": (PROTOCOL, lambda p, n: settings({2: 1})),
    "INITIAL_WINDOW_SIZE over 2^31-1": (FLOW, lambda p, n: settings({4: 2**31})),
    "MAX_FRAME_SIZE too small": (PROTOCOL, lambda p, n: settings({5: 16_383})),
    "MAX_FRAME_SIZE too large": (PROTOCOL, lambda p, n: settings({5: 2**24})),
    # section 6.9: windows
    "connection window overflow": (FLOW, lambda p, n: window_update(0, 2**31 - 1)),
    "INITIAL_WINDOW_SIZE overflows a stream": (
        FLOW,
        lambda p, n: window_update(n, 100_000) + settings({4: 2**31 - 1}),
    ),
    "connection window update of 0": (PROTOCOL, lambda p, n: window_update(0, 0)),
    # section 6.1, 6.2: padding
    "data with more padding than frame": (
        PROTOCOL,
        lambda p, n: p.head(n) + raw(DATA, PADDED, n, b"\x05abcd"),
    ),
    "headers with more padding than frame": (
        PROTOCOL,
        lambda p, n: raw(HEADERS, PADDED | END_HEADERS, n, b"\xff\x88"),
    ),
    # section 6.10: header blocks are contiguous
    "continuation of nothing": (PROTOCOL, lambda p, n: raw(CONTINUATION, 4, n, b"\x88")),
    "continuation after the end": (
        PROTOCOL,
        lambda p, n: p.head(n) + raw(CONTINUATION, 4, n, b"\x88"),
    ),
    "ping inside a header block": (
        PROTOCOL,
        lambda p, n: raw(HEADERS, 0, n, b"\x88") + raw(PING, 0, 0, bytes(8)),
    ),
    "headers inside a header block": (
        PROTOCOL,
        lambda p, n: raw(HEADERS, 0, n, b"\x88") + raw(HEADERS, END_HEADERS, n, b"\x88"),
    ),
    "extension inside a header block": (
        PROTOCOL,
        lambda p, n: raw(HEADERS, 0, n, b"\x88") + raw(EXTENSION, 0, n),
    ),
    "continuation on another stream": (
        PROTOCOL,
        lambda p, n: raw(HEADERS, 0, n, b"\x88") + raw(CONTINUATION, END_HEADERS, n + 2),
    ),
    # section 4.3: compression
    "an index past the table": (COMPRESSION, lambda p, n: raw(HEADERS, 4, n, b"\xff\x80\x01")),
    "a literal cut short": (COMPRESSION, lambda p, n: raw(HEADERS, 4, n, b"\x40\x0aab")),
    "a table over our limit": (COMPRESSION, lambda p, n: raw(HEADERS, 4, n, b"\x3f\xe2\x1f\x88")),
    # section 10.5: what costs the sender little
    "endless continuation": (
        CALM,
        lambda p, n: raw(HEADERS, 0, n) + raw(CONTINUATION, 0, n) * 1_000,
    ),
    "a header block without end": (
        CALM,
        lambda p, n: raw(HEADERS, 0, n, bytes(16_384)) + raw(CONTINUATION, 0, n, bytes(16_384)) * 4,
    ),
    "a list over MAX_HEADER_LIST_SIZE": (
        CALM,
        lambda p, n: p.head(n, [*OK, *[(b"x", b"y" * 4_000)] * 20]),
    ),
    "ping flood": (CALM, lambda p, n: raw(PING, 0, 0, bytes(8)) * 200),
    "settings flood": (CALM, lambda p, n: settings() * 200),
    "empty data flood": (CALM, lambda p, n: p.head(n) + data(n) * 200),
    "extension flood": (CALM, lambda p, n: raw(EXTENSION, 0, 0) * 2_000),
    "resets of closed streams": (CALM, lambda p, n: p.head(n, ended=True) + rst(n, 8) * 2_000),
}


@pytest.mark.parametrize("name", FATAL)
async def test_a_fault_of_the_connection(name: str) -> None:
    code, script = FATAL[name]
    async with open_conversation() as talk:
        first, second = await talk.request(), await talk.request()
        await talk.peer.send(talk.peer.head(second.id), data(second.id, b"tokens"))
        await second.answer.wait_bytes(6)
        await talk.peer.send(script(talk.peer, first.id))
        await talk.assert_fails(code)
        lost = await second.over()
        assert (await first.over()) is not None
        assert lost.data == b"tokens"
        assert isinstance(lost.error, StreamLostError)
        assert not lost.error.unprocessed


async def test_more_data_than_the_connections_window() -> None:
    """65,535 bytes at least, whatever the streams were allowed (RFC 9113 section 6.9.1)."""
    window = ConnectionSettings(connection_window_bytes=65_535, stream_window_bytes=100_000)
    async with open_conversation(connection_settings=window) as talk:
        opened = [await talk.request() for _ in range(2)]
        for one in opened:
            await talk.peer.send(talk.peer.head(one.id), data(one.id, bytes(16_384)) * 2)
        await talk.peer.send(data(opened[0].id, b"x"))
        await talk.assert_fails(FLOW)


BROKEN: dict[str, tuple[int, Script]] = {
    # RFC 9113 section 8.2.2, 8.3: fields
    "keep-alive": (PROTOCOL, lambda p, n: p.head(n, [*OK, (b"keep-alive", b"5")])),
    "proxy-connection": (PROTOCOL, lambda p, n: p.head(n, [*OK, (b"proxy-connection", b"x")])),
    "transfer-encoding": (PROTOCOL, lambda p, n: p.head(n, [*OK, (b"transfer-encoding", b"x")])),
    "upgrade": (PROTOCOL, lambda p, n: p.head(n, [*OK, (b"upgrade", b"websocket")])),
    "te other than trailers": (PROTOCOL, lambda p, n: p.head(n, [*OK, (b"te", b"gzip")])),
    "a name with a space": (PROTOCOL, lambda p, n: p.head(n, [*OK, (b"a b", b"c")])),
    "an empty name": (PROTOCOL, lambda p, n: p.head(n, [*OK, (b"", b"c")])),
    "a value with NUL": (PROTOCOL, lambda p, n: p.head(n, [*OK, (b"x", b"a\0b")])),
    "a value that begins with a space": (PROTOCOL, lambda p, n: p.head(n, [*OK, (b"x", b" a")])),
    ":status twice": (PROTOCOL, lambda p, n: p.head(n, [(b":status", b"200"), *OK])),
    ":status empty": (PROTOCOL, lambda p, n: p.head(n, [(b":status", b"")])),
    ":status of four digits": (PROTOCOL, lambda p, n: p.head(n, [(b":status", b"2000")])),
    ":path in a response": (PROTOCOL, lambda p, n: p.head(n, [*OK[:1], (b":path", b"/")])),
    ":unknown": (PROTOCOL, lambda p, n: p.head(n, [*OK[:1], (b":unknown", b"x")])),
    "no fields at all": (PROTOCOL, lambda p, n: p.head(n, [])),
    "too many fields": (CALM, lambda p, n: p.head(n, [*OK, *[(b"x", b"y")] * 200])),
    # section 8.1: the order of a message
    "data before the head": (PROTOCOL, lambda p, n: data(n, b"x")),
    "an end before the head": (PROTOCOL, lambda p, n: data(n, b"", ended=True)),
    "data after a 1xx only": (
        PROTOCOL,
        lambda p, n: p.head(n, [(b":status", b"103")]) + data(n, b"x"),
    ),
    "1xx that ends the stream": (
        PROTOCOL,
        lambda p, n: p.head(n, [(b":status", b"103")], ended=True),
    ),
    "1xx after the head": (PROTOCOL, lambda p, n: p.head(n) + p.head(n, [(b":status", b"103")])),
    "a second head": (PROTOCOL, lambda p, n: p.head(n) + p.head(n)),
    "trailers that do not end": (PROTOCOL, lambda p, n: p.head(n) + p.head(n, [(b"x", b"y")])),
    "trailers with a pseudo-field": (PROTOCOL, lambda p, n: p.head(n) + p.head(n, ended=True)),
    # section 6.9: the stream's window
    "stream window update of 0": (PROTOCOL, lambda p, n: window_update(n, 0)),
    "stream window overflow": (FLOW, lambda p, n: window_update(n, 2**31 - 1)),
    # section 6.3
    "priority of 4 bytes": (SIZE, lambda p, n: raw(PRIORITY, 0, n, bytes(4))),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_fault_of_one_stream(name: str) -> None:
    code, script = BROKEN[name]
    async with open_conversation() as talk:
        good, bad = await talk.answered(), await talk.request(b"body")
        await talk.peer.send(script(talk.peer, bad.id))
        answer = await bad.over()
        assert answer.reset_code == code
        assert not answer.ended
        assert not answer.unprocessed
        assert resets(await talk.peer.quiet()) == [(bad.id, code)]
        await talk.peer.send(data(good.id, b"nd more", ended=True))
        assert (await good.over()).data == b"and more"
        await talk.assert_works()


LENGTHS: dict[str, Script] = {
    "trailers before all of it": lambda p, n: (
        p.head(n, [*OK, (b"content-length", b"5")])
        + data(n, b"1234")
        + p.head(n, [(b"x", b"y")], ended=True)
    ),
    "padding does not count": lambda p, n: (
        p.head(n, [*OK, (b"content-length", b"5")])
        + raw(DATA, PADDED | END_STREAM, n, b"\x011234\0")
    ),
    "one byte more, in a second frame": lambda p, n: (
        p.head(n, [*OK, (b"content-length", b"5")]) + data(n, b"12345") + data(n, b"6")
    ),
    "the head ends it": lambda p, n: p.head(n, [*OK, (b"content-length", b"5")], ended=True),
}


@pytest.mark.parametrize("name", LENGTHS)
async def test_a_body_unlike_its_content_length(name: str) -> None:
    async with open_conversation() as talk:
        bad = await talk.request()
        await talk.peer.send(LENGTHS[name](talk.peer, bad.id))
        answer = await bad.over()
        assert (answer.ended, answer.reset_code) == (False, PROTOCOL)
        await talk.assert_works()


async def test_more_data_than_the_streams_window() -> None:
    window = ConnectionSettings(stream_window_bytes=1_000)
    async with open_conversation(connection_settings=window) as talk:
        bad = await talk.request()
        await talk.peer.send(talk.peer.head(bad.id), data(bad.id, bytes(1_001)))
        answer = await bad.over()
        assert answer.data == b""
        assert answer.reset_code == FLOW or answer.error is not None


@pytest.mark.parametrize(
    "first",
    [raw(PING, 0, 0, bytes(8)), window_update(0, 1), goaway(0), raw(SETTINGS, ACK, 0)],
    ids=["ping", "window update", "goaway", "settings ack"],
)
async def test_a_preface_is_settings(first: bytes) -> None:
    """RFC 9113 section 3.4."""
    with pytest.raises(UpstreamUnreachableError, match="HTTP/2"):
        async with open_conversation(first):
            pass
