"""Compressed answers: any split inflates the same, and no bomb inflates."""

from __future__ import annotations

import gzip
import random
import zlib
from collections.abc import Callable, Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.wire.inflate import Coding, InflateError, InflateLimits, Inflater, choose_coding


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


def flushed_gzip(data: bytes) -> bytes:
    """As a server that streams: every event is flushed."""
    compressor = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    parts = [
        compressor.compress(line) + compressor.flush(zlib.Z_SYNC_FLUSH) for line in lines(data)
    ]
    return b"".join([*parts, compressor.flush()])


def lines(data: bytes) -> list[bytes]:
    return data.splitlines(keepends=True)


def members(data: bytes) -> bytes:
    return b"".join(gzip.compress(part, mtime=0) for part in (data[:10], b"", data[10:]))


COMPRESS: dict[str, tuple[Coding, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "gzip, flushed": ("gzip", flushed_gzip),
    "gzip, stored": ("gzip", lambda data: gzip.compress(data, 0)),
    "gzip, members": ("gzip", members),
    "deflate": ("deflate", zlib.compress),
    "deflate, raw": ("deflate", raw_deflate),
}


def split(data: bytes, cuts: Iterable[int]) -> Iterator[bytes]:
    begin = 0
    for end in [*sorted(cut for cut in cuts if cut <= len(data)), len(data)]:
        yield data[begin:end]
        begin = end


def inflate(coding: Coding, parts: Iterable[bytes], limits: InflateLimits | None = None) -> bytes:
    inflater = Inflater(coding, limits or InflateLimits())
    out = b"".join([inflater.feed(part) for part in parts])
    inflater.finish()
    return out


@given(
    st.sampled_from(sorted(COMPRESS)),
    st.binary() | st.text().map(str.encode) | st.integers(0, 40_000).map(lambda n: b"again " * n),
    st.lists(st.integers(0, 300), max_size=10),
)
def test_any_split_inflates_the_same(kind: str, data: bytes, cuts: list[int]) -> None:
    coding, compress = COMPRESS[kind]
    assert inflate(coding, split(compress(data), cuts)) == data


@pytest.mark.parametrize("kind", COMPRESS)
def test_byte_by_byte(kind: str) -> None:
    coding, compress = COMPRESS[kind]
    data = random.Random(7).randbytes(5_000) + b"the same again\n" * 2_000
    compressed = compress(data)
    assert inflate(coding, split(compressed, range(len(compressed)))) == data


@given(
    st.sampled_from(sorted(COMPRESS)),
    st.integers(0, 60_000),
    st.integers(0, 20_000),
    st.lists(st.integers(0, 20_000), max_size=12),
)
def test_any_split_passes_a_bound_or_not(
    kind: str, repeated: int, incompressible: int, cuts: list[int]
) -> None:
    """Also when only the beginning is out of proportion."""
    coding, compress = COMPRESS[kind]
    data = bytes(repeated) + random.Random(1).randbytes(incompressible)
    compressed = compress(data)
    limits = InflateLimits(output_max_bytes=70_000, ratio_max=3, ratio_free_bytes=10_000)

    def outcome(parts: Iterable[bytes]) -> bytes | str:
        try:
            return inflate(coding, parts, limits)
        except InflateError as error:
            return str(error)

    assert outcome(split(compressed, cuts)) == outcome([compressed])


def test_an_event_comes_out_when_it_is_flushed() -> None:
    compressor, inflater = zlib.compressobj(wbits=31), Inflater("gzip")
    for n in range(5):
        event = b'data: {"n": %d}\n\n' % n
        data = compressor.compress(event) + compressor.flush(zlib.Z_SYNC_FLUSH)
        assert inflater.feed(data) == event
    assert inflater.feed(compressor.flush()) == b""
    inflater.finish()


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_nothing_at_all_is_nothing(coding: Coding) -> None:
    assert inflate(coding, []) == b""


@pytest.mark.parametrize("kind", COMPRESS)
def test_what_breaks_off_is_said_so(kind: str) -> None:
    coding, compress = COMPRESS[kind]
    whole = compress(b"some text that is long enough to be cut")
    for size in {1, 2, 11, len(whole) // 2, len(whole) - 1}:
        if kind != "gzip, members" or size < 12:  # else it may be cut between two
            with pytest.raises(InflateError, match="broke off"):
                inflate(coding, [whole[:size]])


@pytest.mark.parametrize(
    ("coding", "data", "problem"),
    [
        ("gzip", b"data: plain text\n\n", "not gzip"),
        ("deflate", b"\xff\xff\xff\xff", "not deflate"),
        ("gzip", gzip.compress(b"x", mtime=0)[:-8] + bytes(8), "not gzip"),
        ("deflate", zlib.compress(b"x")[:-4] + bytes(4), "not deflate"),
        ("gzip", gzip.compress(b"x", mtime=0) + b"rubbish", "not gzip"),
        ("deflate", zlib.compress(b"x") + b"rubbish", "goes on"),
        ("gzip", zlib.compress(b"x"), "not gzip"),
    ],
)
def test_what_is_broken_is_said_so(coding: Coding, data: bytes, problem: str) -> None:
    for parts in ([data], [data[n : n + 1] for n in range(len(data))]):
        with pytest.raises(InflateError, match=problem):
            inflate(coding, parts)


@pytest.mark.parametrize("kind", ["gzip", "deflate", "deflate, raw"])
def test_a_bomb_is_refused_before_it_has_grown(kind: str) -> None:
    """50 MB of zeros, read as a connection reads."""
    coding, compress = COMPRESS[kind]
    bomb, limits, out_bytes = compress(bytes(50_000_000)), InflateLimits(), 0
    inflater = Inflater(coding)

    def inflate_all() -> None:
        nonlocal out_bytes
        for begin in range(0, len(bomb), 16_384):
            out_bytes += len(inflater.feed(bomb[begin : begin + 16_384]))

    with pytest.raises(InflateError, match="more than the gateway accepts"):
        inflate_all()
    assert out_bytes <= limits.ratio_free_bytes + limits.ratio_max * 16_384


def test_a_bomb_of_many_members() -> None:
    member = gzip.compress(bytes(100_000))
    with pytest.raises(InflateError, match="more than"):
        inflate("gzip", [member] * 1_000)


def test_the_size_as_a_whole_is_bounded() -> None:
    data = random.Random(3).randbytes(100_000)
    limits = InflateLimits(output_max_bytes=99_999)
    with pytest.raises(InflateError, match="more than"):
        inflate("gzip", [gzip.compress(data, mtime=0)], limits)
    assert inflate("gzip", [gzip.compress(data[1:], mtime=0)], limits) == data[1:]


@pytest.mark.parametrize(
    ("content_encoding", "coding"),
    [
        (None, None), ("", None), ("identity", None), ("Identity, identity", None),
        ("gzip", "gzip"), ("GZIP", "gzip"), (" x-gzip ", "gzip"), ("identity, gzip", "gzip"),
        ("deflate", "deflate"),
    ],
)  # fmt: skip
def test_the_codings(content_encoding: str | None, coding: Coding | None) -> None:
    assert choose_coding(content_encoding) == coding


@pytest.mark.parametrize("content_encoding", ["br", "zstd", "compress", "gzip, gzip", "gzip, br"])
def test_other_codings_are_named(content_encoding: str) -> None:
    with pytest.raises(InflateError, match=f"not supported: {content_encoding}"):
        choose_coding(content_encoding)
