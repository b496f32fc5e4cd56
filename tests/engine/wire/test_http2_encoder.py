"""The encoder against hpack's decoder: whatever is sent, in any order, comes out as it went in."""

from __future__ import annotations

from hpack import Decoder, NeverIndexedHeaderTuple
from hpack.table import HeaderTable
from hypothesis import given
from hypothesis import strategies as st

from engine.wire.http import Headers
from engine.wire.http2_encoder import FieldEncoder

REQUEST: Headers = [
    (b":method", b"POST"),
    (b":path", b"/v1/chat/completions"),
    (b"authorization", b"Bearer " + b"x" * 200),
    (b"content-type", b"application/json"),
]

NAMES = st.one_of(
    st.sampled_from([name for name, _ in HeaderTable.STATIC_TABLE]),
    st.binary(min_size=1, max_size=300),
)
FIELDS = st.one_of(
    st.tuples(NAMES, st.binary(max_size=400)),
    st.sampled_from(HeaderTable.STATIC_TABLE),
    st.tuples(st.just(b"x"), st.sampled_from([b"%d" % n * 40 for n in range(40)])),
    st.just(NeverIndexedHeaderTuple(b"x", b"secret")),
)
SIZES = st.one_of(st.none(), st.integers(0, 10_000))


def decode(decoder: Decoder, block: bytes) -> Headers:
    return [(bytes(name), bytes(value)) for name, value in decoder.decode(block, raw=True)]


@given(st.lists(st.tuples(SIZES, st.lists(FIELDS, max_size=12)), max_size=60))
def test_what_goes_in_comes_out(blocks: list[tuple[int | None, Headers]]) -> None:
    encoder, decoder = FieldEncoder(), Decoder(max_header_list_size=1 << 30)
    for size, fields in blocks:
        if size is not None:  # the peer's SETTINGS_HEADER_TABLE_SIZE
            decoder.max_allowed_table_size = size
            encoder.header_table_size = size
        plain = [(bytes(name), bytes(value)) for name, value in fields]
        assert decode(decoder, encoder.encode(fields)) == plain
        assert list(encoder.header_table.dynamic_entries) == list(
            decoder.header_table.dynamic_entries
        )


def test_the_third_time_a_field_is_a_byte() -> None:
    encoder = FieldEncoder()
    sizes = [len(encoder.encode(REQUEST)) for _ in range(3)]
    assert sizes[2] == len(REQUEST) < sizes[1] <= sizes[0]


def test_what_never_comes_again_pushes_nothing_out() -> None:
    encoder, decoder = FieldEncoder(), Decoder()
    for n in range(10_000):
        request = [*REQUEST, (b"x-request-id", b"%032d" % n)]
        block = encoder.encode(request)
        assert decode(decoder, block) == request
    assert len(block) < 60
    assert len(encoder._serials) + len(encoder._seen) < 1_000, "what it remembers is bounded"


def test_a_field_that_must_not_be_indexed_never_is() -> None:
    encoder, decoder = FieldEncoder(), Decoder()
    secret = NeverIndexedHeaderTuple(b"authorization", b"Bearer x")
    for _ in range(3):
        [field] = decoder.decode(encoder.encode([secret]), raw=True)
        assert isinstance(field, NeverIndexedHeaderTuple)
    assert not encoder.header_table.dynamic_entries


def test_a_peer_that_wants_no_table_gets_none() -> None:
    encoder, decoder = FieldEncoder(), Decoder()
    encoder.header_table_size = decoder.max_allowed_table_size = 0
    for _ in range(4):
        assert decode(decoder, encoder.encode(REQUEST)) == REQUEST
    assert not encoder.header_table.dynamic_entries
