"""Lines of files: any split the same, none longer than its bound held."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.wire.lines import Line, LineSplitter


def split_all(*pieces: bytes, line_max_bytes: int = 100) -> list[Line]:
    splitter = LineSplitter(line_max_bytes)
    lines = [line for piece in pieces for line in splitter.feed(piece)]
    return lines + splitter.finish()


@pytest.mark.parametrize(
    ("file", "lines"),
    [
        (b"a\nb\n", [b"a", b"b"]),
        (b"a\nb", [b"a", b"b"]),
        (b"a\r\n\n\nb", [b"a\r", b"", b"", b"b"]),
        (b"\n", [b""]),
        (b"", []),
    ],
)
def test_a_newline_ends_a_line_and_the_last_one_needs_none(file: bytes, lines: list[bytes]) -> None:
    assert split_all(file) == [Line(line) for line in lines]


def test_what_is_too_long_comes_in_pieces_and_the_next_line_is_whole_again() -> None:
    lines = split_all(b"short\n123", b"4567", b"89", b"0\nnext", line_max_bytes=5)

    assert lines == [
        Line(b"short"),
        Line(b"1234567", whole=False, ends=False),
        Line(b"89", whole=False, ends=False),
        Line(b"0", whole=False),
        Line(b"next"),
    ]


def test_the_end_of_what_is_too_long_is_told_though_nothing_ends_it() -> None:
    assert split_all(b"123456", line_max_bytes=5) == [
        Line(b"123456", whole=False, ends=False),
        Line(b"", whole=False),
    ]


@given(st.binary(max_size=60).map(lambda data: data.replace(b"\x00", b"\n")), st.data())
def test_any_split_gives_the_same_whole_lines_and_the_same_bytes(
    file: bytes, data: st.DataObject
) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(file)), max_size=5)))
    edges = [0, *cuts, len(file)]
    pieces = [file[start:end] for start, end in itertools.pairwise(edges)]
    bound = data.draw(st.integers(1, 10))
    at_once = split_all(file, line_max_bytes=bound)
    in_pieces = split_all(*pieces, line_max_bytes=bound)

    assert [x for x in in_pieces if x.whole] == [x for x in at_once if x.whole]
    assert [len(x.data) <= bound for x in in_pieces if x.whole] == [True] * sum(
        x.whole for x in at_once
    )
    joined = b"".join(x.data + b"\n" * x.ends for x in in_pieces)
    assert joined.removesuffix(b"\n") == file.removesuffix(b"\n")
