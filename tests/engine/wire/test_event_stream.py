"""AWS's event stream: whole messages, any split the same, nothing read that was not sent."""

from __future__ import annotations

import itertools
import struct
from zlib import crc32

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from engine.wire.event_stream import EventStreamError, Message, MessageSplitter, read_message

EMPTY = bytes.fromhex("00000010 00000000 05c248eb 7d98c8ff")
ONE_HEADER = (
    bytes.fromhex("0000003d 00000020 07fd8396")
    + b"\x0ccontent-type\x07\x00\x10application/json"
    + b"{'foo':'bar'}"
    + bytes.fromhex("8d9c08b1")
)
"""The examples that botocore is tested with."""


def sealed(headers: bytes, payload: bytes, *, size: int | None = None) -> bytes:
    size = 16 + len(headers) + len(payload) if size is None else size
    prelude = struct.pack(">II", size, len(headers))
    message = prelude + struct.pack(">I", crc32(prelude)) + headers + payload
    return message + struct.pack(">I", crc32(message))


def split_all(*pieces: bytes) -> tuple[list[bytes], bytes]:
    splitter = MessageSplitter(1_000)
    messages = [message for piece in pieces for message in splitter.feed(piece)]
    return messages, splitter.finish()


def test_messages_of_the_specification() -> None:
    assert read_message(EMPTY) == Message({}, b"")
    assert read_message(ONE_HEADER) == Message(
        {"content-type": "application/json"}, b"{'foo':'bar'}"
    )
    assert split_all(EMPTY + ONE_HEADER + EMPTY[:5]) == ([EMPTY, ONE_HEADER], EMPTY[:5])


def test_headers_of_every_type_are_passed_over_and_text_is_kept() -> None:
    values = [
        b"\x00",
        b"\x01",
        b"\x02" + bytes(1),
        b"\x03" + bytes(2),
        b"\x04" + bytes(4),
        b"\x05" + bytes(8),
        b"\x06\x00\x03abc",
        b"\x08" + bytes(8),
        b"\x09" + bytes(16),
        b"\x07\x00\x04text",
    ]
    headers = b"".join(b"\x02h%d%b" % (i, value) for i, value in enumerate(values))
    message = sealed(headers, b"payload")
    assert read_message(message) == Message({"h9": "text"}, b"payload")
    theirs = EventStreamBuffer()
    theirs.add_data(message)
    [found] = list(theirs)
    assert (len(found.headers), found.headers["h9"], found.payload) == (10, "text", b"payload")


messages = st.lists(
    st.tuples(st.sampled_from([b"", b"\x01a\x07\x00\x01b"]), st.binary(max_size=60)), max_size=4
).map(lambda said: b"".join(sealed(*each) for each in said))


@given(messages, st.binary(max_size=40), st.lists(st.integers(0, 400)))
def test_any_split_gives_the_same_messages(whole: bytes, more: bytes, cuts: list[int]) -> None:
    stream = whole + more
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    pieces = [stream[a:b] for a, b in itertools.pairwise(edges)]
    assert split_all(*pieces)[0] == split_all(stream)[0]


@pytest.mark.parametrize("at", range(len(ONE_HEADER)))
def test_a_flipped_bit_is_found_wherever_it_is(at: int) -> None:
    broken = bytearray(ONE_HEADER)
    broken[at] ^= 0x10
    found, rest = split_all(EMPTY, bytes(broken), ONE_HEADER)
    assert found[0] == EMPTY
    with pytest.raises(EventStreamError):
        read_message(found[1])
    if at < 12:  # behind a wrong length no boundary is known
        assert (len(found), rest) == (2, b"")


@pytest.mark.parametrize("end", range(len(ONE_HEADER)))
def test_a_message_that_is_cut_off_is_none(end: int) -> None:
    assert split_all(ONE_HEADER[:end]) == ([], ONE_HEADER[:end])
    with pytest.raises(EventStreamError):
        read_message(ONE_HEADER[:end])


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (sealed(b"", b"x" * 1_000), "longer than the bound of 1000"),
        (sealed(b"", b"", size=2**32 - 1), "longer than the bound of 1000"),
        (sealed(b"x" * 20, b"", size=30), "are too long"),
        (sealed(b"\x01a\x07\x00\x09b", b"payload"), "cannot be read"),
        (sealed(b"\x09a", b""), "cannot be read"),
        (sealed(b"\x01a\x0a", b""), "cannot be read"),
        (sealed(b"\x01\xff\x00", b""), "cannot be read"),
    ],
)
def test_what_a_message_cannot_say_of_itself(message: bytes, problem: str) -> None:
    splitter = MessageSplitter(1_000)
    [found] = splitter.feed(message)
    with pytest.raises(EventStreamError, match=problem):
        read_message(found, 1_000)
    if problem != "cannot be read":  # that the headers are wrong says nothing of what follows
        assert (splitter.feed(EMPTY), splitter.pending_bytes) == ([], 0)


def test_no_more_is_held_than_one_message() -> None:
    splitter = MessageSplitter(1_000)
    assert splitter.feed(sealed(b"", b"x" * 900)[:-1]) == []
    assert splitter.pending_bytes == 915
    splitter.feed(sealed(b"", b"x" * 900)[-1:])
    assert splitter.pending_bytes == 0
