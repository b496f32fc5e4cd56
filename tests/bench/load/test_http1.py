"""The reader of HTTP/1.1: the same whatever the cuts."""

from __future__ import annotations

import pytest

from bench.load.http1 import BadAnswerError, Http1Reader, request_bytes
from bench.load.protocols import message_of
from tests.bench.load.plans import REQUEST, target

Seen = tuple[list[int], bytes, bool]

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
ANSWERS = {
    "chunks": (
        CHUNKED + b"5\r\nhello\r\n1;a=b\r\n \r\n00B\r\nwide\r\nworld\r\n0\r\n\r\n",
        ([200], b"hello wide\r\nworld", True),
    ),
    "trailers": (CHUNKED + b"1\r\nx\r\n0\r\na: b\r\nc: d\r\n\r\n", ([200], b"x", True)),
    "a length": (b"HTTP/1.1 529 \r\ncontent-length: 4\r\n\r\nbusy", ([529], b"busy", True)),
    "no body": (b"HTTP/1.1 200 OK\r\nContent-Length:0\r\n\r\n", ([200], b"", True)),
    "before it, others": (
        b"HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        ([200], b"ok", True),
    ),
    "until the end": (b"HTTP/1.0 200 OK\r\n\r\nall there is", ([200], b"all there is", True)),
    "cut": (CHUNKED + b"5\r\nhel", ([200], b"hel", False)),
}


def read(pieces: list[bytes]) -> Seen:
    """(statuses, body, whether the answer came to its end)."""
    statuses: list[int] = []
    bodies: list[bytes] = []
    reader = Http1Reader()
    reader.begin(statuses.append, lambda data, now_s: bodies.append(data))
    over = False
    for piece in pieces:
        assert not over
        over = reader.feed(piece, 0.0)
    return statuses, b"".join(bodies), over or reader.eof()


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_the_same_cut_at_every_byte(name: str) -> None:
    data, expected = ANSWERS[name]
    assert read([data]) == expected
    assert read([data[at : at + 1] for at in range(len(data))]) == expected
    for at in range(1, len(data)):
        assert read([data[:at], data[at:]]) == expected, at


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"SSH-2.0-OpenSSH\r\n\r\n", "not an HTTP/1.1 answer"),
        (b"HTTP/1.1 OK\r\n\r\n", "not an HTTP/1.1 answer"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", "a length that is no number"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nxy", "more than was asked for"),
        (CHUNKED + b"zz\r\n", "a chunk without a size"),
        (CHUNKED + b"0" * 300, "a chunk without a size"),
        (CHUNKED + b"0\r\n\r\nHTTP/1.1", "more than was asked for"),
        (b"HTTP/1.1 200 OK\r\n" + b"x" * 70_000, "a head without an end"),
    ],
)
def test_what_is_no_answer_is_told_from_one(data: bytes, why: str) -> None:
    with pytest.raises(BadAnswerError, match=why):
        read([data])


def test_whether_a_connection_is_kept() -> None:
    for head, kept in (
        (b"HTTP/1.1 200 OK", True),
        (b"HTTP/1.0 200 OK", False),
        (b"HTTP/1.1 200 OK\r\nConnection: Close", False),
    ):
        reader = Http1Reader()
        reader.begin(lambda status: None, lambda data, now_s: None)
        assert reader.feed(head + b"\r\ncontent-length: 0\r\n\r\n", 0.0)
        assert reader.keeps is kept


def test_a_request_is_one_with_its_length() -> None:
    message = message_of(REQUEST, target(8787))
    head, _, body = request_bytes(message).partition(b"\r\n\r\n")
    assert head.split(b"\r\n")[:3] == [
        b"POST /v1/chat/completions HTTP/1.1",
        b"host: 127.0.0.1:8787",
        b"authorization: Bearer sk-sim",
    ]
    assert head.endswith(b"content-length: %d" % len(body))
    assert "sk-sim" not in repr(message)
