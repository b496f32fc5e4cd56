"""HTTP/1.1 answers that are none: refused, whatever the reads; what came before them counts."""

from __future__ import annotations

import pytest

from engine.wire.http1 import Http1Busy, Http1ClosedError, Http1Connection, Http1Error

from .http1_answers import CHUNKED, EOF, OK, POST, answer, asked

# ---- faults ------------------------------------------------------------------------------------

MANY_FIELDS = b"".join(b"X-%d: 1\r\n" % n for n in range(200))

FAULTS = {
    "not HTTP": b"SSH-2.0-OpenSSH\r\n",
    "HTTP/2": b"\0\0\x12\x04\0\0\0\0\0",
    "another protocol": b"RTSP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/2 in letters": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/0.9": b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n",
    "unknown version": b"HTTP/1.2 200 OK\r\n\r\n",
    "empty line first": b"\r\n" + OK + b"Content-Length: 0\r\n\r\n",
    "small letters": b"http/1.1 200 OK\r\n\r\n",
    "two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "status below 100": b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
    "two spaces": b"HTTP/1.1  200 OK\r\n\r\n",
    "bare LF after the status": b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
    "bare LF after a field": OK + b"A: b\nContent-Length: 0\r\n\r\n",
    "bare CR in a field": OK + b"A: b\rc\r\n\r\n",
    "NUL in a field": OK + b"A: b\0c\r\n\r\n",
    "folded field": OK + b"A: b\r\n c\r\n\r\n",
    "space before the colon": OK + b"A : b\r\n\r\n",
    "no name": OK + b": b\r\n\r\n",
    "no colon": OK + b"nonsense\r\n\r\n",
    "space before the first field": OK + b" A: b\r\n\r\n",
    "length and coding": OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding and length": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "two lengths": OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    "the same length twice": OK + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
    "list of lengths": OK + b"Content-Length: 1, 1\r\n\r\nx",
    "signed length": OK + b"Content-Length: +1\r\n\r\nx",
    "hexadecimal length": OK + b"Content-Length: 0x1\r\n\r\nx",
    "negative length": OK + b"Content-Length: -1\r\n\r\n",
    "empty length": OK + b"Content-Length:\r\n\r\n",
    "endless length": OK + b"Content-Length: 99999999999999999999\r\n\r\n",
    "gzip coding": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked is not last": OK + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunked twice": OK
    + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "unknown coding": OK + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "coding in 1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "prefixed chunk size": CHUNKED + b"0x1\r\nx\r\n0\r\n\r\n",
    "signed chunk size": CHUNKED + b"+1\r\nx\r\n0\r\n\r\n",
    "space after the chunk size": CHUNKED + b"1 \r\nx\r\n0\r\n\r\n",
    "no chunk size": CHUNKED + b"\r\nx\r\n0\r\n\r\n",
    "endless chunk size": CHUNKED + b"f" * 17 + b"\r\n",
    "bare LF after the chunk size": CHUNKED + b"1\nx\r\n0\r\n\r\n",
    "chunk longer than it says": CHUNKED + b"1\r\nxy\r\n0\r\n\r\n",
    "bare LF in an extension": CHUNKED + b"1;a\nx\r\n0\r\n\r\n",
    "length in the trailers": CHUNKED + b"0\r\nContent-Length: 1\r\n\r\n",
    "folded trailer": CHUNKED + b"0\r\nA: b\r\n c\r\n\r\n",
    "other protocol unasked": b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: ws\r\n\r\n",
    "interim answer that closes": b"HTTP/1.1 103 X\r\nConnection: close\r\n\r\n" + OK + b"\r\n",
    "too many interim answers": b"HTTP/1.1 102 Processing\r\n\r\n" * 17,
    "too many fields": OK + MANY_FIELDS + b"\r\n",
    "too many trailers": CHUNKED + b"0\r\n" + MANY_FIELDS + b"\r\n",
    "long fields": OK + (b"A: " + b"x" * 1_000 + b"\r\n") * 100 + b"\r\n",
    "endless field": OK + b"A: " + b"x" * 70_000,
    "endless reason": b"HTTP/1.1 200 " + b"x" * 70_000,
    "endless trailer": CHUNKED + b"0\r\nA: " + b"x" * 70_000,
    "endless chunk extension": CHUNKED + b"1;" + b"x" * 70_000,
    "long chunk extensions": CHUNKED + (b"1;" + b"x" * 500 + b"\r\nx\r\n") * 200,
}


@pytest.mark.parametrize("wire", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("read_bytes", [1, 7, 4_096])
def test_what_is_no_answer_is_refused(wire: bytes, read_bytes: int) -> None:
    connection = asked()
    reads = [wire[n : n + read_bytes] for n in range(0, len(wire), read_bytes)]
    seen = answer(connection, *reads)
    assert seen.fault is Http1Error
    assert not seen.ended
    assert connection.closed
    with pytest.raises(Http1Busy):
        connection.next_stream(POST, body_bytes=0)


def test_what_came_before_a_fault_counts() -> None:
    seen = answer(asked(), CHUNKED + b"6\r\ntokens\r\n1\r\nx\r\nbroken")
    assert seen.fault is Http1Error
    assert (seen.status, seen.data) == (b"200", b"tokensx")


def test_small_chunks_are_no_abuse() -> None:
    wire = CHUNKED + b"1;sig=0123456789abcdef\r\nx\r\n" * 50_000 + b"0\r\n\r\n"
    reads = [wire[n : n + 1_000] for n in range(0, len(wire), 1_000)]
    seen = answer(asked(), *reads)
    assert (seen.ended, len(seen.data)) == (True, 50_000)


# ---- the end of the connection -----------------------------------------------------------------

CUT = {
    "before an answer": [],
    "in the status line": [b"HTTP/1."],
    "in a head": [OK + b"Content-Le"],
    "after an interim answer": [b"HTTP/1.1 100 Continue\r\n\r\n"],
    "before a body": [OK + b"Content-Length: 5\r\n\r\n"],
    "in a body": [OK + b"Content-Length: 5\r\n\r\nhell"],
    "before the chunks": [CHUNKED],
    "in a chunk size": [CHUNKED + b"5"],
    "in a chunk": [CHUNKED + b"5\r\nhe"],
    "between chunks": [CHUNKED + b"5\r\nhello\r\n"],
    "in the last chunk": [CHUNKED + b"0\r\n"],
    "in the trailers": [CHUNKED + b"0\r\nA: b\r\n"],
}


@pytest.mark.parametrize("reads", CUT.values(), ids=CUT)
def test_an_end_in_the_middle_is_a_fault(reads: list[bytes]) -> None:
    connection = asked()
    seen = answer(connection, *reads, EOF)
    assert seen.fault is Http1ClosedError
    assert not seen.ended
    assert connection.closed
    assert connection.answer_begun is bool(reads)


def test_an_end_between_answers_is_none() -> None:
    fresh = Http1Connection()
    assert fresh.receive_eof() is None
    assert fresh.closed
    used = asked()
    answer(used, OK + b"Content-Length: 0\r\n\r\n")
    assert used.idle
    assert used.receive_eof() is None
    assert used.closed
    assert used.receive_eof() is None
