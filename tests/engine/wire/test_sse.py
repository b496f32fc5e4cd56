"""Framing of server-sent events: whole events, every byte kept, any split the same."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.wire.sse import EventSplitter, EventTooLargeError, event_data


def split_all(*pieces: bytes) -> tuple[list[bytes], bytes]:
    splitter = EventSplitter()
    events = [event for piece in pieces for event in splitter.feed(piece)]
    return events, splitter.finish()


@pytest.mark.parametrize(
    ("stream", "events", "rest"),
    [
        (b"data: a\n\ndata: b\n\n", [b"data: a\n\n", b"data: b\n\n"], b""),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"data: a\r\n\r\n", b"data: b\r\n\r\n"], b""),
        (b"data: a\r\rdata: b", [b"data: a\r\r"], b"data: b"),
        (b"data: a\n\r\ndata: b\r\n\n", [b"data: a\n\r\n", b"data: b\r\n\n"], b""),
        (b": comment\n\ndata: a\n", [b": comment\n\n"], b"data: a\n"),
        (b"data: a\n\n\ndata: b\n\n", [b"data: a\n\n", b"\ndata: b\n\n"], b""),
        (b"", [], b""),
    ],
)
def test_a_blank_line_of_any_kind_ends_an_event(
    stream: bytes, events: list[bytes], rest: bytes
) -> None:
    assert split_all(stream) == (events, rest)


def test_a_cr_at_the_end_waits_for_its_lf() -> None:
    splitter = EventSplitter()
    assert splitter.feed(b"data: a\r\n\r") == []
    assert splitter.feed(b"\ndata: b") == [b"data: a\r\n\r\n"]


line_soup = st.lists(
    st.sampled_from([b"\n", b"\r", b"\r\n", b"data: x", b"data: \xc3\xa9", b":", b"event: e"]),
    max_size=30,
).map(b"".join)


@given(line_soup, st.lists(st.integers(0, 200)))
def test_any_split_gives_the_same_events(stream: bytes, cuts: list[int]) -> None:
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    pieces = [stream[a:b] for a, b in itertools.pairwise(edges)]
    whole_events, whole_rest = split_all(stream)
    events, rest = split_all(*pieces)
    assert (events, rest) == (whole_events, whole_rest)
    assert b"".join(events) + rest == stream


LONG = b"data: " + b"x" * 100_000


@given(line_soup, line_soup, st.lists(st.integers(0, 600), max_size=12), st.integers(3_000, 40_000))
def test_any_split_of_a_long_event_gives_the_same_events(
    before: bytes, after: bytes, cuts: list[int], read: int
) -> None:
    stream = before + LONG + after
    near = {cut if cut < len(before) else cut + len(LONG) - 200 for cut in cuts}
    edges = sorted(
        {*range(0, len(stream), read), len(stream), *(c for c in near if c < len(stream))}
    )
    pieces = [stream[a:b] for a, b in itertools.pairwise(edges)]

    assert split_all(*pieces) == split_all(stream)


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
def test_a_long_event_takes_time_as_its_length(end: bytes) -> None:
    """Four times the bytes in reads of one size, not sixteen times as long."""

    def cpu_s(size: int) -> float:
        splitter, piece = EventSplitter(), b"x" * 4_096
        start = time.process_time()
        for _ in range(size // len(piece)):
            splitter.feed(piece)
        assert [len(event) for event in splitter.feed(end)] == [size + len(end)]
        return time.process_time() - start

    short, long = (min(cpu_s(size) for _ in range(3)) for size in (4_000 * 1024, 16_000 * 1024))
    assert long < 9 * short


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
def test_a_long_event_is_bounded(end: bytes) -> None:
    splitter = EventSplitter(event_max_bytes=200_000)
    splitter.feed(LONG)
    assert splitter.pending_bytes == len(LONG)
    splitter.feed(b"x" * (200_000 - len(LONG)))
    assert splitter.feed(end + b"data: y")[0][-5:] == (b"x" * 5 + end)[-5:]
    assert splitter.finish() == b"data: y"
    splitter.feed(LONG)
    with pytest.raises(EventTooLargeError, match="200000 bytes"):
        splitter.feed(b"\r" + LONG)


def test_an_endless_event_is_refused() -> None:
    splitter = EventSplitter(event_max_bytes=100)
    splitter.feed(b"data: " + b"x" * 94)
    with pytest.raises(EventTooLargeError, match="100 bytes"):
        splitter.feed(b"x")


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (b"data: {}\n\n", b"{}"),
        (b"data:{}\n\n", b"{}"),
        (b"data: {}\r\n\r\n", b"{}"),
        (b"data: {}\r\r", b"{}"),
        (b"event: ping\ndata: 1\nid: 7\ndata:  2\n\n", b"1\n 2"),
        (b"data\n\n", b""),
        (b": keep-alive\n\n", None),
        (b"\xef\xbb\xbfdata: x\n\n", b"x"),
        (b"database: x\n\n", None),
    ],
)
def test_data_of_an_event(event: bytes, data: bytes | None) -> None:
    assert event_data(event) == data
