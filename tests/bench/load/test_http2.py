"""The client's side of HTTP/2: the same whatever the cuts, and bounded by the server's words."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import pytest
from hpack import Decoder, Encoder

from bench.load.http2 import (
    CONTINUATION,
    DATA,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    STREAMS_MAX,
    WINDOW_UPDATE,
    Http2Error,
    Http2Session,
    block_of,
)

STREAMS, WINDOW, FRAME = 0x3, 0x4, 0x5
ENDS, WHOLE, PADDED = 0x1, 0x4, 0x8


@dataclass
class Seen:
    """What has come of one stream."""

    statuses: list[int] = field(default_factory=list)
    body: bytes = b""
    ended: bool = False
    failed: str = ""

    def head(self, status: int) -> None:
        self.statuses.append(status)

    def take(self, data: bytes, now_s: float) -> None:
        self.body += data

    def end(self, now_s: float) -> None:
        self.ended = True

    def fail(self, kind: str, now_s: float) -> None:
        self.failed = kind


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    head = struct.pack(">BHBBL", len(payload) >> 16, len(payload) & 0xFFFF, kind, flags, stream_id)
    return head + payload


def settings(*pairs: tuple[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HL", *pair) for pair in pairs))


def frames(data: bytes) -> list[tuple[int, int, int, bytes]]:
    """(kind, flags, stream, payload) of each frame."""
    out, data = [], data.removeprefix(PREFACE)
    while data:
        length = int.from_bytes(data[:3], "big")
        out.append((data[3], data[4], int.from_bytes(data[5:9], "big"), data[9 : 9 + length]))
        data = data[9 + length :]
    return out


def sent_body(data: bytes, stream_id: int) -> tuple[bytes, bool]:
    """(what was sent of a request's body, whether this is all)."""
    mine = [each for each in frames(data) if each[0] == DATA and each[2] == stream_id]
    assert all(len(payload) <= 16_384 for _, _, _, payload in mine)
    return b"".join(each[3] for each in mine), any(each[1] & ENDS for each in mine)


BLOCK = block_of("/v1/x", (("X-Key", "v"),), "localhost")


def opened(count: int = 1, body: bytes = b"{}") -> tuple[Http2Session[Seen], list[Seen]]:
    """A session with streams 1, 3, …, and where their answers go."""
    session: Http2Session[Seen] = Http2Session()
    seen = [Seen() for _ in range(count)]
    for each in seen:
        session.open(each, BLOCK, body)
    return session, seen


def test_a_request_says_what_it_is_whatever_was_before() -> None:
    session, _ = opened(2)
    sent = frames(session.take_outgoing())
    assert [kind for kind, *_ in sent] == [SETTINGS, WINDOW_UPDATE, *[HEADERS, DATA] * 2]
    decoder = Decoder()
    for at in (4, 2):
        fields = dict(decoder.decode(sent[at][3], raw=True))
        assert fields[b":path"] == b"/v1/x"
        assert fields[b"x-key"] == b"v", "names are in lower case"
    assert session.take_outgoing() == b""


def test_answers_are_the_same_cut_at_every_byte() -> None:
    encoder = Encoder()
    head = encoder.encode([(":status", "200"), ("content-type", "text/event-stream"), ("x", "y")])
    again = encoder.encode([(":status", "200"), ("content-type", "text/event-stream"), ("x", "y")])
    hints = encoder.encode([(":status", "103")])
    trailers = encoder.encode([("x-checksum", "1")])
    assert len(again) < len(head), "the second head needs the table that the first has filled"
    data = b"".join(
        (
            settings((STREAMS, 7)),
            frame(HEADERS, WHOLE, 1, head),
            frame(DATA, 0, 1, b"data: a\n\n"),
            frame(0xFE, 0, 0, b"unknown"),
            frame(HEADERS, 0, 3, again[:1]),
            frame(CONTINUATION, WHOLE, 3, again[1:]),
            frame(HEADERS, WHOLE, 5, hints),
            frame(DATA, PADDED, 1, b"\x03data: b\n\n\0\0\0"),
            frame(DATA, 0, 3, b"data: c\n\n"),
            frame(PING, 0, 0, b"12345678"),
            frame(DATA, ENDS, 3, b""),
            frame(HEADERS, WHOLE | ENDS, 1, trailers),
            frame(RST_STREAM, 0, 5, struct.pack(">L", 2)),
        )
    )
    expected = [
        Seen([200], b"data: a\n\ndata: b\n\n", ended=True),
        Seen([200], b"data: c\n\n", ended=True),
        Seen([], failed="reset"),
    ]
    for size in range(1, len(data)):
        session, seen = opened(3)
        session.take_outgoing()
        for at in range(0, len(data), size):
            session.feed(data[at : at + size], 0.0)
        assert seen == expected, size
        acknowledged = [(kind, flags) for kind, flags, *_ in frames(session.take_outgoing())]
        assert acknowledged == [(SETTINGS, 1), (PING, 1)]
        assert (session.streams, session.room) == (0, 7)


def test_a_body_is_sent_as_far_as_the_windows_reach() -> None:
    body = bytes(range(256)) * 1_000
    session, _ = opened(1, body)
    sent = session.take_outgoing()
    assert sent_body(sent, 1) == (body[:65_535], False)
    session.feed(frame(WINDOW_UPDATE, 0, 0, struct.pack(">L", 500_000)), 0.0)
    assert sent_body(session.take_outgoing(), 1) == (b"", False), "the stream's is not open"
    session.feed(settings((WINDOW, 100_000)), 0.0)
    sent = session.take_outgoing()
    assert sent_body(sent, 1) == (body[65_535:100_000], False)
    session.feed(frame(WINDOW_UPDATE, 0, 1, struct.pack(">L", 500_000)), 0.0)
    assert sent_body(session.take_outgoing(), 1) == (body[100_000:], True)


def test_the_server_says_how_many_streams_it_takes() -> None:
    session, _ = opened(2)
    assert session.room == STREAMS_MAX - 2
    session.feed(settings((STREAMS, 2)), 0.0)
    assert session.room == 0
    session.cancel(1)
    assert session.room == 1


def test_streams_that_the_server_has_not_looked_at_are_given_back() -> None:
    session, seen = opened(3)
    session.feed(frame(RST_STREAM, 0, 3, struct.pack(">L", 7)), 0.0)
    session.feed(frame(GOAWAY, 0, 0, struct.pack(">LL", 1, 0)), 0.0)
    assert session.take_refused() == [seen[1], seen[2]]
    assert session.take_refused() == []
    assert (session.streams, session.room) == (1, 0)
    session.fail("cut", 0.0)
    assert [each.failed for each in seen] == ["cut", "", ""]


def test_a_stream_that_is_left_is_reset_and_what_still_comes_of_it_is_dropped() -> None:
    session, [seen] = opened()
    session.take_outgoing()
    session.cancel(1)
    session.cancel(1)
    reset = (RST_STREAM, 0, 1, struct.pack(">L", 8))
    assert frames(session.take_outgoing()) == [reset]
    head = Encoder().encode([(":status", "200")])
    session.feed(frame(HEADERS, WHOLE, 1, head) + frame(DATA, ENDS, 1, b"x"), 0.0)
    assert seen == Seen()


def test_a_slow_readers_windows_are_small_and_opened_by_hand() -> None:
    session: Http2Session[Seen] = Http2Session(window=4_096)
    stream_id = session.open(Seen(), BLOCK, b"{}")
    assert struct.pack(">HL", WINDOW, 4_096) in session.take_outgoing()
    session.allow(stream_id, 200)
    more = struct.pack(">L", 200)
    assert frames(session.take_outgoing()) == [(WINDOW_UPDATE, 0, at, more) for at in (0, 1)]


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        frame(HEADERS, WHOLE, 1, b"\xff\xff\xff\xff"),
        frame(HEADERS, WHOLE, 1, b""),
        frame(HEADERS, 0, 1, b"\x88") + frame(DATA, 0, 1, b"x"),
        frame(CONTINUATION, WHOLE, 1, b"\x88"),
        frame(DATA, PADDED, 1, b"\x05x"),
        frame(RST_STREAM, 0, 1, b"\0"),
        frame(SETTINGS, 0, 0, b"\0"),
        frame(0x5, WHOLE, 1, b"\0\0\0\2"),
    ],
)
def test_what_is_not_http2_is_told_from_it(data: bytes) -> None:
    session, _ = opened()
    with pytest.raises(Http2Error):
        session.feed(data, 0.0)
