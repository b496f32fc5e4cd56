"""Reading DATA ourselves changes nothing: plain h2 sees the same, and keeps the same windows.

A peer says anything at all, cut into reads anywhere; plain h2 gets the same frames whole.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import h2.events
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import ProtocolError, StreamClosedError
from hpack import Encoder
from hyperframe.frame import (
    DataFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.wire.http import Delivery, Headers
from engine.wire.http2 import Http2Connection, Http2Error, Http2Limits

from .pair import REQUEST, RESPONSE

STREAM_WINDOW = 20_000
CONNECTION_WINDOW = 65_535
STREAMS = (1, 3, 5)
ENDS_REQUEST = {1: True, 3: True, 5: False}
BOUNDLESS = Http2Limits(
    empty_data_max=10**9, pings_max=10**9, settings_max=10**9, oddities_max=10**9, resets_max=10**9
)

stream_ids = st.sampled_from(STREAMS)
ends = st.sampled_from([False, False, False, True])
data_frames = st.tuples(
    st.just("data"),
    stream_ids,
    st.sampled_from([0, 1, 2, 9, 100, 5_000, 16_384]),
    st.sampled_from([None, None, None, 0, 1, 255]),  # padding
    ends,
)
other_frames = st.one_of(
    st.tuples(st.just("trailers"), stream_ids),
    st.tuples(st.just("reset"), stream_ids, st.sampled_from([0, 2, 7])),
    st.tuples(st.just("window"), st.sampled_from([0, *STREAMS]), st.sampled_from([1, 2**31 - 1])),
    st.tuples(st.just("ping")),
    st.tuples(st.just("settings"), st.sampled_from([0, 100, 70_000])),
    st.tuples(st.just("unknown"), stream_ids),
    st.tuples(st.just("data"), st.sampled_from([0, 2, 7]), st.just(3), st.none(), st.just(False)),
    st.tuples(st.just("too large"), stream_ids),
)
heads = st.permutations(STREAMS).flatmap(
    lambda order: st.tuples(*(st.tuples(st.just("head"), st.just(n), ends) for n in order))
)
scripts = st.tuples(
    heads, st.lists(st.one_of(data_frames, data_frames, data_frames, other_frames), max_size=25)
).map(lambda parts: [*parts[0], *parts[1]])


def frame(action: tuple[object, ...], encoder: Encoder) -> bytes:
    match action:
        case ("data", int(stream_id), int(size), pad, bool(ended)):
            body = bytes([size % 251]) * size
            flags = (1 if ended else 0) | (0 if pad is None else 8)
            if isinstance(pad, int):
                body = bytes([pad]) + body + bytes(pad)
            return raw(0, flags, stream_id, body[: 16_384 + 300])
        case ("head", int(stream_id), bool(ended)):
            block = encoder.encode(RESPONSE)
            flags_ = ["END_HEADERS", "END_STREAM"] if ended else ["END_HEADERS"]
            return HeadersFrame(stream_id, data=block, flags=flags_).serialize()
        case ("trailers", int(stream_id)):
            block = encoder.encode([(b"x-sum", b"1")])
            ending = ["END_HEADERS", "END_STREAM"]
            return HeadersFrame(stream_id, data=block, flags=ending).serialize()
        case ("reset", int(stream_id), int(code)):
            return RstStreamFrame(stream_id, error_code=code).serialize()
        case ("window", int(stream_id), int(increment)):
            return WindowUpdateFrame(stream_id, window_increment=increment).serialize()
        case ("ping",):
            return PingFrame(0, opaque_data=b"12345678").serialize()
        case ("settings", int(window)):
            return SettingsFrame(0, settings={4: window}).serialize()
        case ("unknown", int(stream_id)):
            return raw(0x42, 0xFF, stream_id, b"extension")
        case ("too large", int(stream_id)):
            return raw(0, 0, stream_id, bytes(16_385))
    raise AssertionError(action)


def raw(kind: int, flags: int, stream_id: int, body: bytes) -> bytes:
    head = len(body).to_bytes(3, "big") + bytes([kind, flags])
    return head + stream_id.to_bytes(4, "big") + body


@dataclass
class Seen:
    """What reached one stream."""

    head: Headers | None = None
    data: bytes = b""
    flow_bytes: int = 0
    trailers: Headers | None = None
    ended: bool = False
    reset_code: int | None = None


@dataclass
class Outcome:
    streams: dict[int, Seen] = field(default_factory=dict)
    error: int | None = None
    windows: list[object] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=list)

    def of(self, stream_id: int) -> Seen:
        return self.streams.setdefault(stream_id, Seen())


def run_ours(wire: bytes, cuts: list[int]) -> Outcome:
    connection = Http2Connection(
        client_side=True,
        limits=BOUNDLESS,
        stream_window_bytes=STREAM_WINDOW,
        connection_window_bytes=CONNECTION_WINDOW,
    )
    connection.start()
    for stream_id in STREAMS:
        connection.next_stream(REQUEST, ended=ENDS_REQUEST[stream_id])
    connection.outgoing()
    outcome = Outcome()
    edges = [0, *sorted(cut % (len(wire) + 1) for cut in cuts), len(wire)]
    for start, end in itertools.pairwise(edges):
        try:
            deliveries = connection.receive(wire[start:end])
        except Http2Error as error:
            outcome.error = error.code
            deliveries = error.deliveries
        assert len({d.stream_id for d in deliveries}) == len(deliveries)
        for delivery in deliveries:
            note(outcome.of(delivery.stream_id), delivery)
        if outcome.error is not None:
            break
    machine = connection._machine
    for share in (2, 1):
        record(outcome, machine, connection.outgoing())
        if outcome.error is None:
            for stream_id in STREAMS:
                part = outcome.of(stream_id).flow_bytes // share
                connection.acknowledge(stream_id, part)
                outcome.of(stream_id).flow_bytes -= part
    record(outcome, machine, connection.outgoing())
    return outcome


def note(seen: Seen, delivery: Delivery) -> None:
    assert not seen.ended, "nothing comes after the end"
    assert seen.reset_code is None, "nothing comes after a reset"
    seen.head = delivery.head or seen.head
    seen.data += delivery.data
    seen.flow_bytes += delivery.flow_bytes
    seen.trailers = delivery.trailers
    seen.ended = delivery.ended
    seen.reset_code = delivery.reset_code
    if seen.ended or seen.reset_code is not None:
        seen.flow_bytes = 0  # the connection has credited it


def run_plain(frames: list[bytes]) -> Outcome:
    plain = H2Connection(H2Configuration(client_side=True, validate_inbound_headers=False))
    plain.local_settings.update({4: STREAM_WINDOW, 2: 0})
    plain.local_settings.acknowledge()
    plain.initiate_connection()
    for stream_id in STREAMS:
        plain.send_headers(stream_id, REQUEST, end_stream=ENDS_REQUEST[stream_id])
    plain.data_to_send()
    outcome = Outcome()
    for data in frames:
        try:
            events = plain.receive_data(data)
        except ProtocolError as error:
            outcome.error = int(error.error_code)
            break
        for event in events:
            note_event(plain, outcome, event)
        _ = plain.open_outbound_streams  # h2 forgets closed streams when it counts them
    for share in (2, 1):
        record(outcome, plain, plain.data_to_send())
        if outcome.error is None:
            for stream_id in STREAMS:
                part = outcome.of(stream_id).flow_bytes // share
                plain.acknowledge_received_data(part, stream_id)
                outcome.of(stream_id).flow_bytes -= part
    record(outcome, plain, plain.data_to_send())
    return outcome


def note_event(plain: H2Connection, outcome: Outcome, event: h2.events.Event) -> None:
    match event:
        case h2.events.ResponseReceived(stream_id=int(stream_id), headers=headers):
            outcome.of(stream_id).head = list(headers)
        case h2.events.TrailersReceived(stream_id=int(stream_id), headers=headers):
            outcome.of(stream_id).trailers = list(headers)
        case h2.events.DataReceived(stream_id=int(stream_id)):
            outcome.of(stream_id).data += event.data
            outcome.of(stream_id).flow_bytes += event.flow_controlled_length
        case h2.events.StreamEnded(stream_id=int(stream_id)):
            outcome.of(stream_id).ended = True
            credit(plain, outcome, stream_id)
        case h2.events.StreamReset(stream_id=int(stream_id)):
            if not outcome.of(stream_id).ended:
                outcome.of(stream_id).reset_code = int(event.error_code)
            credit(plain, outcome, stream_id)


def credit(plain: H2Connection, outcome: Outcome, stream_id: int) -> None:
    """Our rule that an ended stream holds nothing of the connection's window."""
    manager = plain._inbound_flow_control_window_manager
    if increment := manager.process_bytes(outcome.of(stream_id).flow_bytes):
        plain._data_to_send += WindowUpdateFrame(0, window_increment=increment).serialize()
    outcome.of(stream_id).flow_bytes = 0


def record(outcome: Outcome, connection: H2Connection, wire: bytes) -> None:
    open_windows = {}
    for stream_id in STREAMS:
        try:
            stream = connection._get_stream_by_id(stream_id)
        except StreamClosedError:
            continue
        if stream.open and not outcome.of(stream_id).ended:
            windows = (stream.inbound_flow_control_window, stream.outbound_flow_control_window)
            open_windows[stream_id] = windows
    if outcome.error is None:
        outcome.windows.append(
            (
                connection.inbound_flow_control_window,
                connection.outbound_flow_control_window,
                open_windows,
            )
        )
    while wire:
        parsed, size = Frame.parse_frame_header(memoryview(wire[:9]))
        # h2 answers what is late on a closed stream, and RFC 9113 section 5.1 lets us not.
        if not isinstance(parsed, RstStreamFrame):
            outcome.sent.append(wire[: 9 + size])
        wire = wire[9 + size :]


@settings(max_examples=400, deadline=None)
@example(  # the new initial window counts for streams that are open, not for closed ones
    script=[
        *(("head", n, False) for n in STREAMS),
        ("settings", 0),
        ("window", 3, 2**31 - 1),
        ("trailers", 3),
        ("settings", 100),
    ],
    cuts=[],
)
@given(script=scripts, cuts=st.lists(st.integers(0, 2**20), max_size=30))
def test_any_bytes_in_any_split(script: list[tuple[object, ...]], cuts: list[int]) -> None:
    encoder = Encoder()
    frames = [SettingsFrame(0).serialize(), *(frame(action, encoder) for action in script)]
    expected = run_plain(frames)
    assert run_ours(b"".join(frames), cuts) == expected
    assert run_ours(b"".join(frames), []) == expected


def test_the_frames_in_question_are_read_without_h2() -> None:
    """Else the comparison above would compare h2 with h2."""
    encoder = Encoder()
    connection = Http2Connection(client_side=True)
    connection.start()
    connection.receive(SettingsFrame(0).serialize())
    for stream_id in STREAMS:
        connection.next_stream(REQUEST, ended=True)
        connection.receive(frame(("head", stream_id, False), encoder))
    read_by_h2: list[bytes] = []
    connection._machine.incoming_buffer.add_data = read_by_h2.append  # type: ignore[assignment]
    plain = [frame(("data", n, 100, None, False), encoder) for n in STREAMS]
    plain.append(frame(("data", 3, 100, None, True), encoder))
    special = [frame(("data", 1, 100, 5, False), encoder)]
    connection.receive(b"".join(plain + special))
    assert read_by_h2 == special


def test_a_head_in_one_frame_is_read_without_h2s_buffer_and_no_other() -> None:
    encoder = Encoder()
    connection = Http2Connection(client_side=True)
    connection.start()
    connection.receive(SettingsFrame(0).serialize())
    for _ in STREAMS:
        connection.next_stream(REQUEST, ended=True)
    read_by_h2: list[bytes] = []
    connection._machine.incoming_buffer.add_data = read_by_h2.append  # type: ignore[assignment]
    whole = [frame(("head", 1, False), encoder), frame(("head", 3, True), encoder)]
    padded = HeadersFrame(5, data=encoder.encode(RESPONSE), flags=["END_HEADERS", "PADDED"])
    deliveries = connection.receive(b"".join(whole) + padded.serialize())
    assert [(d.stream_id, d.head, d.ended) for d in deliveries] == [
        (1, RESPONSE, False),
        (3, RESPONSE, True),
    ]
    assert read_by_h2 == [padded.serialize()]


@pytest.mark.parametrize(
    ("after_open_block", "stream_id", "size", "code"),
    [
        (True, 3, 10, 1),  # RFC 9113 section 6.10: only CONTINUATION may follow
        (False, 0, 10, 1),  # section 6.2: never on stream 0
        (False, 3, 20_000, 6),  # section 4.2: past SETTINGS_MAX_FRAME_SIZE
        (False, 3, 10, 9),  # section 4.3: a block that means nothing
    ],
)
def test_a_head_that_may_not_be(
    after_open_block: bool, stream_id: int, size: int, code: int
) -> None:
    connection = Http2Connection(client_side=True)
    connection.start()
    connection.receive(SettingsFrame(0).serialize())
    for _ in range(2):
        connection.next_stream(REQUEST, ended=True)
    wire = b""
    if after_open_block:
        wire = HeadersFrame(1, data=Encoder().encode(RESPONSE)).serialize()
    wire += size.to_bytes(3, "big") + b"\x01\x04" + stream_id.to_bytes(4, "big") + b"\xff" * size
    with pytest.raises(Http2Error) as caught:
        connection.receive(wire)
    assert (caught.value.code, caught.value.deliveries) == (code, [])


def test_a_data_frame_inside_a_header_block_is_an_error() -> None:
    connection = Http2Connection(client_side=True)
    connection.start()
    connection.receive(SettingsFrame(0).serialize())
    connection.next_stream(REQUEST, ended=True)
    connection.next_stream(REQUEST, ended=True)
    encoder = Encoder()
    connection.receive(frame(("head", 1, False), encoder))
    open_block = HeadersFrame(3, data=encoder.encode(RESPONSE)).serialize()
    data = DataFrame(1, data=b"in between").serialize()
    with pytest.raises(Http2Error) as caught:  # RFC 9113 section 6.10
        connection.receive(open_block + data)
    assert (caught.value.code, caught.value.deliveries) == (1, [])
