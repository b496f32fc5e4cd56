"""What a peer may not do to us, whatever bytes it sends."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hpack import Encoder
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.wire.http2 import ErrorCodes, Http2Connection, Http2Error, Http2Limits
from engine.wire.http2_limits import (
    CONTINUATION,
    DATA,
    HEADERS,
    PING,
    PRIORITY,
    RST_STREAM,
    WINDOW_UPDATE,
)
from engine.wire.http2_limits import SETTINGS as SETTINGS_TYPE

from .pair import REQUEST, connected_pair

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
END_STREAM, END_HEADERS = 0x1, 0x4


def frame(kind: int, flags: int, stream_id: int, body: bytes) -> bytes:
    head = len(body).to_bytes(3, "big") + bytes([kind, flags])
    return head + stream_id.to_bytes(4, "big") + body


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def serving(limits: Http2Limits, clock: Clock | None = None) -> Http2Connection:
    server = Http2Connection(client_side=False, limits=limits, clock=clock or Clock())
    server.start()
    server.receive(PREFACE + frame(SETTINGS_TYPE, 0, 0, b""))
    server.outgoing()
    return server


def request(server: Http2Connection, stream_id: int, *, ended: bool = False) -> None:
    flags = END_HEADERS | (END_STREAM if ended else 0)
    server.receive(frame(HEADERS, flags, stream_id, Encoder().encode(REQUEST)))


def request_and(server: Http2Connection, spoil: Callable[[int], bytes]) -> None:
    """500 requests, each followed by what `spoil` makes for its stream."""
    for stream_id in range(1, 1_000, 2):
        request(server, stream_id)
        server.receive(spoil(stream_id))


@pytest.mark.parametrize(
    ("cheap", "limits"),
    [
        (frame(PING, 0, 0, bytes(8)), Http2Limits(pings_max=10)),
        (frame(PING, 1, 0, bytes(8)), Http2Limits(pings_max=10)),
        (frame(SETTINGS_TYPE, 0, 0, b""), Http2Limits(settings_max=11)),
        (frame(PRIORITY, 0, 1, bytes([0, 0, 0, 3, 16])), Http2Limits(oddities_max=10)),
        (frame(0x42, 0, 0, b"extension"), Http2Limits(oddities_max=10)),
        (frame(DATA, 0, 1, b""), Http2Limits(empty_data_max=10)),
        (frame(DATA, 8, 1, b"\0"), Http2Limits(empty_data_max=10)),
        (frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1"), Http2Limits(window_updates_max=10)),
        (frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1"), Http2Limits(window_updates_max=10)),
    ],
    ids=[
        "ping", "pong", "settings", "priority", "extension", "empty data", "padding only",
        "window updates", "window updates of a stream",
    ],
)  # fmt: skip
def test_cheap_frames_are_counted_in_windows(cheap: bytes, limits: Http2Limits) -> None:
    clock = Clock()
    server = serving(limits, clock)
    request(server, 1)
    server.receive(cheap * 10)
    clock.now_s += limits.window_s
    server.receive(cheap * 10)
    with pytest.raises(Http2Error) as caught:
        server.receive(cheap * 2)
    assert caught.value.code == ErrorCodes.ENHANCE_YOUR_CALM
    assert b"\x07" in server.outgoing()  # GOAWAY


def test_an_answer_earns_its_client_window_updates() -> None:
    server = serving(Http2Limits(window_updates_max=10))
    request(server, 1, ended=True)
    server.send_headers(1, [(b":status", b"200")])
    for _ in range(9):
        server.send_data(1, b"token")
    update = frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1")
    server.receive(update * 50)
    with pytest.raises(Http2Error) as caught:
        server.receive(update)
    assert caught.value.code == ErrorCodes.ENHANCE_YOUR_CALM


def test_data_dribble() -> None:
    """CVE-2019-9511: windows that are opened byte by byte."""
    server = serving(Http2Limits(window_updates_max=10))
    server.receive(frame(SETTINGS_TYPE, 0, 0, b"\0\4\0\0\0\0"))
    request(server, 1, ended=True)
    server.send_headers(1, [(b":status", b"200")])
    update = frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1")
    for _ in range(14):  # the head has earned four
        server.receive(update)
        assert server.send_data(1, b"token" * 100) == 1
    with pytest.raises(Http2Error) as caught:
        server.receive(update)
    assert caught.value.code == ErrorCodes.ENHANCE_YOUR_CALM


def test_updates_may_be_late_by_a_window() -> None:
    clock = Clock()
    server = serving(Http2Limits(window_updates_max=10), clock)
    request(server, 1, ended=True)
    server.send_headers(1, [(b":status", b"200")])
    server.send_data(1, b"token")
    clock.now_s += Http2Limits().window_s
    server.receive(frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1") * 18)


def test_a_client_takes_as_many_window_updates_as_a_server_sends() -> None:
    client = Http2Connection(client_side=True, limits=Http2Limits(window_updates_max=10))
    client.start()
    client.receive(frame(SETTINGS_TYPE, 0, 0, b"") + frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1") * 500)
    assert client.windows().send_bytes == 65_535 + 500


def test_an_open_header_block_shows() -> None:
    server = serving(Http2Limits())
    block = Encoder().encode(REQUEST)
    server.receive(frame(HEADERS, END_STREAM, 1, block[:5]))
    assert server.in_header_block
    server.receive(frame(CONTINUATION, END_HEADERS, 1, block[5:]))
    assert not server.in_header_block


def test_rapid_reset() -> None:
    """CVE-2023-44487: open and reset, open and reset …"""
    server = serving(Http2Limits(resets_max=50))
    with pytest.raises(Http2Error) as caught:
        request_and(server, lambda n: frame(RST_STREAM, 0, n, bytes(4)))
    assert caught.value.code == ErrorCodes.ENHANCE_YOUR_CALM
    assert server.open_streams == 1  # the one that was too much


@pytest.mark.parametrize("ended", [False, True])
def test_a_client_that_has_its_answer_may_reset_the_stream(ended: bool) -> None:
    server = serving(Http2Limits(resets_max=10, oddities_max=100))
    for stream_id in range(1, 201, 2):
        request(server, stream_id, ended=ended)
        server.send_headers(stream_id, [(b":status", b"200")], ended=True)
        server.receive(frame(RST_STREAM, 0, stream_id, bytes(4)))
    request(server, 201)
    with pytest.raises(Http2Error):
        server.receive(frame(RST_STREAM, 0, 199, bytes(4)))


@pytest.mark.parametrize(
    "provoke",
    [
        lambda n: frame(0x8, 0, n, (2**31 - 1).to_bytes(4, "big")),  # overflows the window
        lambda n: frame(DATA, END_STREAM, n, b"") + frame(DATA, 0, n, b"after the end"),
        lambda n: frame(HEADERS, END_HEADERS, n, Encoder().encode([(b"Bad", b"trailers")])),
        lambda n: frame(0x8, 0, n, bytes(4)),
        lambda n: frame(PRIORITY, 0, n, bytes(4)),
    ],
    ids=[
        "window overflow", "data after the end", "malformed trailers", "window update of 0",
        "malformed priority",
    ],
)  # fmt: skip
def test_made_you_reset(provoke: Callable[[int], bytes]) -> None:
    """CVE-2025-8671: the peer makes us reset the streams."""
    server = serving(Http2Limits(resets_max=50))
    with pytest.raises(Http2Error) as caught:
        request_and(server, provoke)
    assert caught.value.code == ErrorCodes.ENHANCE_YOUR_CALM
    assert server.open_streams == 1


def test_bodies_unlike_their_content_length_are_counted_too() -> None:
    server = serving(Http2Limits(resets_max=50))
    block = Encoder().encode([*REQUEST, (b"content-length", b"1")])
    wires = [
        frame(HEADERS, END_HEADERS, n, block) + frame(DATA, 0, n, b"xx") for n in range(1, 1_000, 2)
    ]
    with pytest.raises(Http2Error) as caught:
        server.receive(b"".join(wires))
    assert caught.value.code == ErrorCodes.ENHANCE_YOUR_CALM


def test_requests_past_the_stream_limit_are_counted_too() -> None:
    server = serving(Http2Limits(streams_max=5, resets_max=50))
    with pytest.raises(Http2Error):
        request_and(server, lambda n: b"")
    assert server.open_streams == 5


def test_a_client_does_not_count_the_resets_of_its_own_streams() -> None:
    """A provider that sheds load resets what we opened: never more than that."""
    pair = connected_pair()
    for _ in range(2_000):
        pair.server.reset(pair.open_stream())
        pair.to_client()
    assert pair.client.free_streams == 100


def test_continuation_flood() -> None:
    server = serving(Http2Limits(continuations_max=20))
    server.receive(frame(HEADERS, 0, 1, b""))
    for _ in range(20):
        server.receive(frame(CONTINUATION, 0, 1, b""))
    with pytest.raises(Http2Error) as caught:
        server.receive(frame(CONTINUATION, 0, 1, b""))
    assert caught.value.code == ErrorCodes.ENHANCE_YOUR_CALM


def test_a_block_in_several_frames_within_bounds() -> None:
    server = serving(Http2Limits())
    block = Encoder().encode([*REQUEST, (b"x-large", b"x" * 30_000)])
    server.receive(frame(HEADERS, END_STREAM, 1, block[:16_384]))
    [delivery] = server.receive(frame(CONTINUATION, END_HEADERS, 1, block[16_384:]))
    assert delivery.head is not None
    assert len(delivery.head) == len(REQUEST) + 1


def test_header_block_bytes() -> None:
    limits = Http2Limits(header_list_max_bytes=20_000)
    server = serving(limits)
    server.receive(frame(HEADERS, 0, 1, bytes(16_384)))
    with pytest.raises(Http2Error) as caught:
        server.receive(frame(CONTINUATION, 0, 1, bytes(16_384)))
    assert caught.value.code == ErrorCodes.ENHANCE_YOUR_CALM


def test_header_list_bytes_after_decompression() -> None:
    """A table entry of 4 kB, referred to by one byte each time."""
    server = serving(Http2Limits(header_list_max_bytes=65_536))
    encoder = Encoder()
    bomb = encoder.encode([*REQUEST, *[(b"x", b"y" * 4_000)] * 100])
    assert len(bomb) < 5_000
    with pytest.raises(Http2Error) as caught:
        server.receive(frame(HEADERS, END_HEADERS, 1, bomb))
    assert caught.value.code == ErrorCodes.ENHANCE_YOUR_CALM


def test_header_fields() -> None:
    server = serving(Http2Limits(header_fields_max=10))
    encoder = Encoder()
    many = encoder.encode([*REQUEST, *[(b"x", b"y")] * 20])
    assert server.receive(frame(HEADERS, END_HEADERS, 1, many)) == []
    assert server.open_streams == 0
    [delivery] = server.receive(frame(HEADERS, END_HEADERS, 3, encoder.encode(REQUEST)))
    assert delivery.head == REQUEST


def test_a_frame_over_the_limit_is_refused_before_it_arrives() -> None:
    server = serving(Http2Limits())
    with pytest.raises(Http2Error) as caught:
        server.receive(b"\xff\xff\xff\x00\x00\x00\x00\x00\x01")
    assert caught.value.code == ErrorCodes.FRAME_SIZE_ERROR


def test_what_is_held_of_a_frame_is_bounded_by_it() -> None:
    server = serving(Http2Limits())
    request(server, 1)
    wire = frame(DATA, 0, 1, bytes(16_384))
    for at in range(len(wire) - 1):
        assert server.receive(wire[at : at + 1]) == []
    assert server._held_bytes == len(wire) - 1
    [delivery] = server.receive(wire[-1:])
    assert len(delivery.data) == 16_384


arbitrary_frames = st.lists(
    st.builds(
        frame,
        kind=st.one_of(st.integers(0, 9), st.integers(0, 255)),
        flags=st.one_of(st.sampled_from([0, 1, 4, 5, 8, 0x20, 0x2D]), st.integers(0, 255)),
        stream_id=st.one_of(st.integers(0, 8), st.integers(0, 2**32 - 1)),
        body=st.one_of(
            st.binary(max_size=40),
            st.just(Encoder().encode(REQUEST)),
            st.just(Encoder().encode([(b":status", b"200")])),
        ),
    ),
    max_size=20,
).map(b"".join)


@settings(max_examples=500, deadline=None)
@given(wire=st.one_of(arbitrary_frames, st.binary(max_size=200)))
@example(wire=frame(0x2, 0, 1, bytes(5)))  # a stream that depends on stream 0
@example(wire=frame(0x5, 4, 1, (2).to_bytes(4, "big")))  # a push
@example(wire=frame(HEADERS, END_HEADERS, 2, Encoder().encode([(b":status", b"200")])))
@example(wire=frame(0xA, 0, 0, b"\0\xff"))  # ALTSVC
def test_whatever_arrives_only_http2_error_comes_out(wire: bytes) -> None:
    client = Http2Connection(client_side=True)
    client.start()
    client.receive(frame(SETTINGS_TYPE, 0, 0, b""))
    opened = [client.next_stream(REQUEST, ended=ended) for ended in (True, False, True)]
    server = serving(Http2Limits())
    for connection in (client, server):
        try:
            connection.receive(wire)
        except Http2Error:
            continue
        for stream_id in opened:  # the streams it left can be used and ended
            connection.acknowledge(stream_id, 10)
            connection.send_window(stream_id)
            connection.reset(stream_id)
        connection.ping(bytes(8))
        connection.goaway()
        connection.outgoing()
