"""The HTTP/2 connection as a conversation between its own two roles."""

from __future__ import annotations

from typing import Any

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import StreamEnded

from engine.wire.http import Delivery
from engine.wire.http2 import (
    ErrorCodes,
    Http2Connection,
    Http2Error,
    Http2Limits,
    Http2StreamClosed,
    Http2StreamLimit,
    MalformedFieldsError,
)

from .pair import REQUEST, RESPONSE, connected_pair


def test_request_and_response() -> None:
    pair = connected_pair()
    stream_id = pair.client.next_stream(REQUEST, ended=False)
    assert pair.client.send_data(stream_id, b'{"a":1}', ended=True) == 7
    assert pair.to_server() == [
        Delivery(stream_id, head=REQUEST, data=b'{"a":1}', flow_bytes=7, ended=True)
    ]
    pair.server.send_headers(stream_id, RESPONSE)
    pair.server.send_data(stream_id, b"data: 1\n\n")
    assert pair.to_client() == [
        Delivery(stream_id, head=RESPONSE, data=b"data: 1\n\n", flow_bytes=9)
    ]
    pair.server.send_data(stream_id, b"data: 2\n\n")
    pair.server.send_data(stream_id, b"data: 3\n\n")
    pair.server.send_headers(stream_id, [(b"x-sum", b"6")], ended=True)
    assert pair.to_client() == [
        Delivery(
            stream_id,
            data=b"data: 2\n\ndata: 3\n\n",
            flow_bytes=18,
            trailers=[(b"x-sum", b"6")],
            ended=True,
        )
    ]
    assert pair.client.open_streams == pair.server.open_streams == 0


def test_one_delivery_a_stream_in_order_of_appearance() -> None:
    pair = connected_pair()
    first, second = pair.open_stream(), pair.open_stream()
    for stream_id, data in [(second, b"s"), (first, b"f"), (second, b"S")]:
        pair.server.send_data(stream_id, data)
    assert [(d.stream_id, d.data) for d in pair.to_client()] == [(second, b"sS"), (first, b"f")]


def test_a_frame_is_acted_on_when_complete() -> None:
    pair = connected_pair()
    stream_id = pair.open_stream()
    pair.server.send_data(stream_id, b"x" * 100)
    wire = pair.server.outgoing()
    for at in range(len(wire) - 1):
        assert pair.client.receive(wire[at : at + 1]) == []
    assert pair.client.receive(wire[-1:]) == [Delivery(stream_id, data=b"x" * 100, flow_bytes=100)]


def test_a_head_of_several_frames() -> None:
    """By plain h2, which would see any frame that does not belong."""
    server = Http2Connection(client_side=False)
    server.start()
    client = H2Connection(H2Configuration(client_side=True, header_encoding=None))
    client.initiate_connection()
    client.send_headers(1, REQUEST, end_stream=True)
    client.send_headers(3, REQUEST, end_stream=True)
    server.receive(client.data_to_send())
    fields = [*RESPONSE, *((b"x-%d" % number, b"y" * 1_000) for number in range(60))]
    server.send_headers(1, [(b":status", b"100")])
    server.send_headers(1, fields, ended=True)
    server.send_headers(3, RESPONSE)
    events: list[Any] = client.receive_data(server.outgoing())
    heads = [
        (event.stream_id, list(event.headers)) for event in events if hasattr(event, "headers")
    ]
    assert heads == [(1, [(b":status", b"100")]), (1, fields), (3, RESPONSE)]
    assert [event.stream_id for event in events if isinstance(event, StreamEnded)] == [1]
    assert (server.is_open(1), server.is_open(3)) == (False, True)


def test_informational_heads_are_not_delivered() -> None:
    pair = connected_pair()
    stream_id = pair.client.next_stream(REQUEST, ended=True)
    pair.to_server()
    pair.server.send_headers(stream_id, [(b":status", b"103"), (b"link", b"</a>")])
    assert pair.to_client() == []
    pair.server.send_headers(stream_id, RESPONSE, ended=True)
    assert pair.to_client() == [Delivery(stream_id, head=RESPONSE, ended=True)]


def test_a_stream_stops_at_its_window_and_goes_on_when_acknowledged() -> None:
    pair = connected_pair(stream_window_bytes=1_000)
    slow, other = pair.open_stream(), pair.open_stream()
    assert pair.server.send_data(slow, b"x" * 1_500, ended=True) == 1_000
    assert pair.server.send_window(slow) == 0
    assert pair.server.send_data(other, b"y") == 1  # nobody else waits
    pair.to_client()
    pair.client.acknowledge(slow, 200)
    pair.to_server()
    assert pair.server.take_writable() == []  # windows come back in larger pieces
    pair.client.acknowledge(slow, 800)
    pair.to_server()
    assert pair.server.take_writable() == [slow]
    assert pair.server.take_writable() == []
    assert pair.server.send_data(slow, b"x" * 500, ended=True) == 500
    [delivery] = pair.to_client()
    assert delivery.ended


def test_the_connection_window_holds_all_streams_back() -> None:
    pair = connected_pair(connection_window_bytes=65_535)
    first, second = pair.open_stream(), pair.open_stream()
    assert pair.server.send_data(first, bytes(65_535)) == 65_535
    assert pair.server.send_data(second, b"x") == 0
    pair.to_client()
    pair.client.acknowledge(first, 65_535)
    pair.to_server()
    assert pair.server.take_writable() == [second]


def test_what_a_gone_stream_held_of_the_connection_window_is_credited() -> None:
    pair = connected_pair(connection_window_bytes=65_535)
    for end in ("reset by us", "reset by the peer", "ended"):
        stream_id = pair.open_stream()
        assert pair.server.send_data(stream_id, bytes(60_000)) == 60_000, end
        pair.to_client()
        match end:
            case "reset by us":
                pair.client.reset(stream_id)
                pair.client.reset(stream_id)
            case "reset by the peer":
                pair.server.reset(stream_id)
            case _:
                pair.server.send_data(stream_id, b"", ended=True)
        pair.settle()
        pair.client.acknowledge(stream_id, 60_000)
        assert not pair.client.has_outgoing
    assert pair.client.open_streams == pair.server.open_streams == 0


def test_data_in_flight_on_a_reset_stream_is_credited_and_not_answered() -> None:
    pair = connected_pair(connection_window_bytes=65_535)
    for _ in range(10):
        stream_id = pair.open_stream()
        assert pair.server.send_data(stream_id, bytes(40_000)) == 40_000
        pair.server.send_data(stream_id, b"", ended=True)
        late = pair.server.outgoing()
        pair.client.reset(stream_id)
        to_server = pair.client.outgoing()
        assert pair.client.receive(late) == []
        to_server += pair.client.outgoing()
        resets = frames_of_type(to_server, 0x3)
        assert len(resets) == 1
        pair.server.receive(to_server)
    assert pair.server.open_streams == 0


def frames_of_type(wire: bytes, kind: int) -> list[bytes]:
    frames = []
    while wire:
        size = int.from_bytes(wire[:3], "big")
        if wire[3] == kind:
            frames.append(wire[9 : 9 + size])
        wire = wire[9 + size :]
    return frames


def test_late_trailers_on_a_reset_stream_keep_header_compression_in_step() -> None:
    pair = connected_pair()
    stream_id = pair.open_stream()
    pair.server.send_headers(stream_id, [(b"x-new-name", b"new value")], ended=True)
    late = pair.server.outgoing()
    pair.client.reset(stream_id)
    assert pair.client.receive(late) == []
    pair.settle()
    other = pair.client.next_stream(REQUEST, ended=True)
    pair.to_server()
    pair.server.send_headers(other, [*RESPONSE, (b"x-new-name", b"new value")])
    [delivery] = pair.to_client()
    assert delivery.head == [*RESPONSE, (b"x-new-name", b"new value")]


def test_refused_stream_is_unprocessed_and_other_resets_are_not() -> None:
    pair = connected_pair()
    refused, broken = pair.open_stream(), pair.open_stream()
    pair.server.reset(refused, ErrorCodes.REFUSED_STREAM)
    pair.server.reset(broken, ErrorCodes.INTERNAL_ERROR)
    assert pair.to_client() == [
        Delivery(refused, reset_code=7, unprocessed=True),
        Delivery(broken, reset_code=2),
    ]


def test_an_end_is_not_undone_by_the_reset_behind_it() -> None:
    """RFC 9113 section 8.1: a server may answer early, then RST_STREAM(NO_ERROR) the request."""
    pair = connected_pair()
    stream_id = pair.open_stream(ended=False)
    pair.server.send_data(stream_id, b"done", ended=True)
    pair.server.reset(stream_id, ErrorCodes.NO_ERROR)
    [delivery] = pair.to_client()
    assert (delivery.ended, delivery.reset_code) == (True, None)
    assert pair.client.open_streams == 0
    with pytest.raises(Http2StreamClosed):
        pair.client.send_data(stream_id, b"more")


def test_goaway_lets_streams_finish_and_returns_those_above() -> None:
    pair = connected_pair()
    kept, dropped = pair.open_stream(), pair.open_stream()
    pair.server.goaway(last_stream_id=kept)
    assert pair.to_client() == [Delivery(dropped, unprocessed=True)]
    assert pair.client.draining
    assert pair.client.goaway_last_id == kept
    assert pair.client.free_streams == 0
    with pytest.raises(Http2StreamLimit):
        pair.client.next_stream(REQUEST, ended=True)
    pair.server.send_data(kept, b"the rest", ended=True)
    assert pair.to_client() == [Delivery(kept, data=b"the rest", flow_bytes=8, ended=True)]
    assert pair.client.open_streams == pair.server.open_streams == 0


def test_requests_that_cross_our_goaway_are_ignored() -> None:
    pair = connected_pair()
    stream_id = pair.client.next_stream(REQUEST, ended=False)
    pair.client.send_data(stream_id, b"body", ended=True)
    pair.server.goaway()
    assert pair.to_server() == []
    assert pair.to_client() == [Delivery(stream_id, unprocessed=True)]


def test_the_peers_stream_limit() -> None:
    pair = connected_pair(limits=Http2Limits(streams_max=2))
    assert pair.client.free_streams == 2
    first = pair.open_stream()
    pair.open_stream()
    assert pair.client.free_streams == 0
    with pytest.raises(Http2StreamLimit):
        pair.client.next_stream(REQUEST, ended=True)
    pair.server.send_data(first, b"", ended=True)
    pair.to_client()
    assert pair.client.free_streams == 1


def test_a_request_past_the_limit_is_refused_alone() -> None:
    """A client may open streams before it has seen SETTINGS (RFC 9113 section 5.1.2)."""
    client = Http2Connection(client_side=True)
    server = Http2Connection(client_side=False, limits=Http2Limits(streams_max=1))
    client.start()
    server.start()
    first = client.next_stream(REQUEST, ended=True)
    second = client.next_stream(REQUEST, ended=False)
    client.send_data(second, b"body", ended=True)
    assert [d.stream_id for d in server.receive(client.outgoing())] == [first]
    assert client.receive(server.outgoing()) == [
        Delivery(second, reset_code=ErrorCodes.REFUSED_STREAM, unprocessed=True)
    ]


def test_ping() -> None:
    pair = connected_pair()
    pair.client.ping(b"12345678")
    pair.settle()
    assert (pair.client.pings_answered, pair.client.last_pong) == (1, b"12345678")


@pytest.mark.parametrize(
    "fields",
    [
        [(b":status", b"200"), (b"Upper", b"x")],
        [(b":status", b"200"), (b"x", b"a\r\nb: c")],
        [(b":status", b"200"), (b"connection", b"close")],
        [(b"x", b"y"), (b":status", b"200")],
        [(b":status", b"twohundred")],
        [(b":status", b"200"), (b"content-length", b"-1")],
        [(b":status", b"200"), (b"content-length", b"1"), (b"content-length", b"2")],
        [(b"x", b"y")],
    ],
)
def test_a_malformed_head_is_the_fault_of_its_stream(fields: list[tuple[bytes, bytes]]) -> None:
    pair = connected_pair()
    good = pair.open_stream()
    bad = pair.client.next_stream(REQUEST, ended=True)
    pair.to_server()
    with pytest.raises(MalformedFieldsError):
        pair.server.send_headers(bad, fields)
    pair.server._machine.send_headers(bad, fields)  # as a peer that does not check
    assert pair.to_client() == [Delivery(bad, reset_code=ErrorCodes.PROTOCOL_ERROR)]
    pair.server.send_data(good, b"unharmed")
    assert [d.data for d in pair.to_client()] == [b"unharmed"]


@pytest.mark.parametrize(
    ("body", "ended"), [(b"too long", False), (b"too long", True), (b"no", True), (b"", True)]
)
def test_a_body_that_breaks_its_content_length(body: bytes, ended: bool) -> None:
    pair = connected_pair()
    stream_id = pair.client.next_stream(REQUEST, ended=True)
    pair.to_server()
    pair.server.send_headers(stream_id, [(b":status", b"200"), (b"content-length", b"5")])
    pair.server.send_data(stream_id, body, ended=ended)
    [delivery] = pair.to_client()
    assert (delivery.reset_code, delivery.ended) == (ErrorCodes.PROTOCOL_ERROR, False)
    assert pair.client.open_streams == 0


def test_what_came_before_a_fault_counts() -> None:
    pair = connected_pair()
    stream_id = pair.open_stream()
    pair.server.send_data(stream_id, b"token")
    ping_on_a_stream = b"\0\0\x08\x06\0" + stream_id.to_bytes(4, "big") + bytes(8)
    with pytest.raises(Http2Error) as caught:
        pair.client.receive(pair.server.outgoing() + ping_on_a_stream)
    assert caught.value.code == ErrorCodes.PROTOCOL_ERROR
    assert caught.value.deliveries == [Delivery(stream_id, data=b"token", flow_bytes=5)]
    assert len(frames_of_type(pair.client.outgoing(), 0x7)) == 1
    with pytest.raises(Http2Error):
        pair.client.receive(b"")
    pair.client.reset(stream_id)  # all calls are harmless on a dead connection
    pair.client.acknowledge(stream_id, 5)
    pair.client.goaway()
    assert not pair.client.has_outgoing


def test_not_http2_at_all() -> None:
    server = Http2Connection(client_side=False)
    server.start()
    with pytest.raises(Http2Error):
        server.receive(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    client = Http2Connection(client_side=True)
    client.start()
    with pytest.raises(Http2Error):
        client.receive(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")


def test_a_server_learns_of_a_reset_after_the_requests_end() -> None:
    pair = connected_pair()
    stream_id = pair.open_stream()
    pair.client.reset(stream_id)
    assert pair.to_server() == [Delivery(stream_id, reset_code=ErrorCodes.CANCEL)]
    at_once = pair.client.next_stream(REQUEST, ended=True)
    pair.client.reset(at_once)
    assert pair.to_server() == [
        Delivery(at_once, head=REQUEST, ended=True, reset_code=ErrorCodes.CANCEL)
    ]
    with pytest.raises(Http2StreamClosed):
        pair.server.send_headers(at_once, RESPONSE)


def test_nothing_comes_after_an_answers_end() -> None:
    pair = connected_pair()
    first, second = pair.open_stream(ended=False), pair.open_stream(ended=False)
    for stream_id in (first, second):
        pair.server.send_data(stream_id, b"", ended=True)
    assert all(delivery.ended for delivery in pair.to_client())
    pair.server.reset(first)
    pair.server.goaway(last_stream_id=first)
    assert pair.to_client() == []
    assert pair.client.open_streams == 0
