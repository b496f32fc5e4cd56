"""Framing of a JSON array: whole elements, every byte kept, any split the same."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.wire.json_array import ArraySplitter, element
from engine.wire.sse import EventTooLargeError


def split_all(*pieces: bytes) -> tuple[list[bytes], bytes]:
    splitter = ArraySplitter()
    frames = [frame for piece in pieces for frame in splitter.feed(piece)]
    return frames, splitter.finish()


@pytest.mark.parametrize(
    ("stream", "frames", "rest"),
    [
        (b'[{"a":1}\n,\r\n{"b":2}\n]', [b'[{"a":1}', b'\n,\r\n{"b":2}', b"\n]"], b""),
        (b'[{"a":1}]\n', [b'[{"a":1}', b"]"], b"\n"),
        (b"[]", [b"[]"], b""),
        (b'[{"a":"}]{[,"}', [b'[{"a":"}]{[,"}'], b""),
        (rb'[{"a":"\\"},{"b":"\"}"}', [rb'[{"a":"\\"}', rb',{"b":"\"}"}'], b""),
        (b'[{"a":[{}]},[1]]', [b'[{"a":[{}]}', b",[1]", b"]"], b""),
        (b'{"a":1}\n{"b":2}\n', [b'{"a":1}', b'\n{"b":2}'], b"\n"),
        (b'[{"a":', [], b'[{"a":'),
        (b"", [], b""),
    ],
)
def test_an_element_ends_where_its_brackets_do(
    stream: bytes, frames: list[bytes], rest: bytes
) -> None:
    assert split_all(stream) == (frames, rest)


def test_half_an_escape_waits_for_its_other_half() -> None:
    assert split_all(b'[{"a":"\\', b'"}', b'"}]') == ([b'[{"a":"\\"}"}', b"]"], b"")


def test_the_element_of_a_frame() -> None:
    assert element(b'[{"a":1}') == b'{"a":1}'
    assert element(b',\r\n{"a":1}') == b'{"a":1}'
    assert element(b'\xef\xbb\xbf[ {"a":1}') == b'{"a":1}'
    assert element(b"\n]") is None
    assert element(b"x]") == b"x]"


def test_an_endless_element_is_refused() -> None:
    splitter = ArraySplitter(element_max_bytes=10)
    assert splitter.feed(b'[{"a":1}') == [b'[{"a":1}']
    assert splitter.feed(b",{" + b" " * 8) == []
    assert splitter.pending_bytes == 10
    with pytest.raises(EventTooLargeError, match="10 bytes"):
        splitter.feed(b" ")


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='ab"\\{}[],é𝄞\n', max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(
    elements=st.lists(st.dictionaries(st.text(max_size=3), _VALUES, max_size=3), max_size=4),
    indent=st.sampled_from([None, 2]),
    cuts=st.lists(st.integers(0, 400), max_size=12),
)
def test_elements_come_out_as_they_went_in_however_split(
    elements: list[dict[str, object]], indent: int | None, cuts: list[int]
) -> None:
    texts = [json.dumps(one, indent=indent, ensure_ascii=False).encode() for one in elements]
    stream = b"[" + b"\n,\r\n".join(texts) + b"\n]\n"
    ends = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]

    frames, rest = split_all(*(stream[a:b] for a, b in itertools.pairwise(ends)))

    assert b"".join(frames) + rest == stream
    assert (frames, rest) == split_all(stream)
    found = [text for frame in frames if (text := element(frame)) is not None]
    assert [json.loads(text) for text in found] == elements


@given(data=st.binary(max_size=200), at=st.integers(0, 200))
def test_no_byte_of_anything_is_lost(data: bytes, at: int) -> None:
    frames, rest = split_all(data[:at], data[at:])
    assert b"".join(frames) + rest == data
    assert (frames, rest) == split_all(data)
