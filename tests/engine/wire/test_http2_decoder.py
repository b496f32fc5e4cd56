"""The decoder against hpack's own: the same fields, the same table, the same refusals."""

from __future__ import annotations

import pytest
from hpack import Decoder, Encoder, HPACKError, NeverIndexedHeaderTuple
from hpack.table import HeaderTable
from hypothesis import example, given
from hypothesis import strategies as st

from engine.wire.http import Headers
from engine.wire.http2_decoder import FieldDecoder

FIELDS = st.one_of(
    st.tuples(st.binary(min_size=1, max_size=200), st.binary(max_size=300)),
    st.sampled_from(HeaderTable.STATIC_TABLE),
    st.tuples(st.just(b"x"), st.sampled_from([b"%d" % n * 40 for n in range(40)])),
    st.just(NeverIndexedHeaderTuple(b"x", b"secret")),
)


def outcome(decoder: Decoder, block: bytes) -> object:
    """The fields and the table after them, or the kind of error."""
    try:
        fields = [(bytes(n), bytes(v)) for n, v in decoder.decode(block, raw=True)]
    except (HPACKError, IndexError) as error:
        return "refused", type(error)
    return fields, list(decoder.header_table.dynamic_entries), decoder.header_table_size


def both() -> tuple[Decoder, FieldDecoder]:
    """hpack's and ours, small bounds, so that they are met."""
    pair = Decoder(max_header_list_size=2_000), FieldDecoder(max_header_list_size=2_000)
    for decoder in pair:
        decoder.max_allowed_table_size = 4_096
    return pair


@given(
    st.lists(
        st.tuples(st.none() | st.integers(0, 4_096), st.booleans(), st.lists(FIELDS, max_size=10)),
        max_size=30,
    )
)
def test_what_an_encoder_sends(blocks: list[tuple[int | None, bool, Headers]]) -> None:
    encoder, (theirs, ours) = Encoder(), both()
    for size, huffman, fields in blocks:
        if size is not None:
            encoder.header_table_size = size
        block = encoder.encode(fields, huffman=huffman)
        expected = outcome(theirs, block)
        assert outcome(ours, block) == expected
        if isinstance(expected, tuple) and expected[0] == "refused":
            return  # the connection is over


@given(st.lists(st.binary(max_size=60), max_size=10))
@example([b"\x80"])  # index 0
@example([b"\xff\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"])  # an endless integer
@example([b"\x40\x01a\x01b", b"\xbe"])  # added, then by its index
@example([b"\x3f\xe1\x1f", b"\x20", b"\x82\x20"])  # table sizes; one of them too late
@example([b"\x00\x81\xff\x00"])  # Huffman padding too long
@example([b"\x40"])  # cut short
@example([b"\x0f"])
def test_anything_at_all(blocks: list[bytes]) -> None:
    theirs, ours = both()
    for block in blocks:
        expected = outcome(theirs, block)
        assert outcome(ours, block) == expected
        if isinstance(expected, tuple) and expected[0] == "refused":
            return


@pytest.mark.parametrize("cut", range(1, 20))
def test_a_block_that_is_cut_short(cut: int) -> None:
    block = Encoder().encode([(b"x-name", b"some value"), (b":status", b"200")])
    theirs, ours = both()
    assert outcome(ours, block[:cut]) == outcome(theirs, block[:cut])


def test_a_field_that_must_never_be_indexed_says_so() -> None:
    block = Encoder().encode([NeverIndexedHeaderTuple(b"x-secret", b"1")])
    [field] = FieldDecoder().decode(block)
    assert isinstance(field, NeverIndexedHeaderTuple)
