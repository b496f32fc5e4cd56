"""HTTP/1.1 answers, byte by byte: what is delivered, what may follow, in which order."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.wire.http import Headers
from engine.wire.http1 import Http1Busy, Http1Connection, Http1Error

from .http1_answers import CHUNKED, EOF, HEAD, OK, POST, Answer, answer, asked

# ---- whole answers -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """An answer to a POST that is right, and what is to be made of it."""

    name: str
    wire: bytes
    data: bytes = b""
    reusable: bool = True
    status: bytes = b"200"
    trailers: Headers | None = None
    closes: bool = False
    """The connection's end is the answer's."""
    request: str = "POST"


CASES = [
    Case("length", OK + b"Content-Length: 5\r\n\r\nhello", b"hello"),
    Case("no length", OK + b"Content-Length: 0\r\n\r\n"),
    Case("length with zeros", OK + b"Content-Length: 005\r\n\r\nhello", b"hello"),
    Case("body of line ends", OK + b"Content-Length: 4\r\n\r\n\r\n\r\n", b"\r\n\r\n"),
    Case("body like a head", OK + b"Content-Length: 19\r\n\r\n" + OK + b"\r\n", OK + b"\r\n"),
    Case("no reason", b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"),
    Case("empty reason", b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n"),
    Case("no fields", b"HTTP/1.1 204 No Content\r\n\r\n", status=b"204"),
    Case("unknown status", b"HTTP/1.1 529 Busy\r\nContent-Length: 0\r\n\r\n", status=b"529"),
    Case("chunks", CHUNKED + b"5\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\n\r\n", b"hello world"),
    Case("no chunks", CHUNKED + b"0\r\n\r\n"),
    Case("chunk size in both cases", CHUNKED + b"00A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
    Case("chunk extension", CHUNKED + b'5;a="b";c\r\nhello\r\n0;d\r\n\r\n', b"hello"),
    Case("chunk of line ends", CHUNKED + b"4\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n\r\n"),
    Case("coding in capitals", OK + b"TRANSFER-ENCODING: Chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", b"x"),
    Case(
        "trailers",
        CHUNKED + b"1\r\nx\r\n0\r\nX-Usage: 7\r\nX-Empty:\r\n\r\n",
        b"x",
        trailers=[(b"x-usage", b"7"), (b"x-empty", b"")],
    ),
    Case("until the end", OK + b"\r\nhello\r\n", b"hello\r\n", reusable=False, closes=True),
    Case("nothing until the end", OK + b"\r\n", reusable=False, closes=True),
    Case(
        "1.0 until the end", b"HTTP/1.0 200 OK\r\n\r\nhello", b"hello", reusable=False, closes=True
    ),
    Case(
        "keep-alive until the end",
        OK + b"Connection: keep-alive\r\n\r\nx",
        b"x",
        reusable=False,
        closes=True,
    ),
    Case("close", OK + b"Connection: close\r\nContent-Length: 1\r\n\r\nx", b"x", reusable=False),
    Case(
        "close in a list",
        OK + b"Connection: X-Private , CLOSE\r\nContent-Length: 1\r\n\r\nx",
        b"x",
        reusable=False,
    ),
    Case(
        "close in a second field",
        OK + b"Connection: keep-alive\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
        b"x",
        reusable=False,
    ),
    Case(
        "close with chunks",
        OK + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        b"x",
        reusable=False,
    ),
    Case("1.0", b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", b"x", reusable=False),
    Case(
        "1.0 kept alive",
        b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\nx",
        b"x",
    ),
    Case(
        "304 with the length it would have",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
        status=b"304",
    ),
    Case(
        "204 with a coding",
        b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
        status=b"204",
    ),
    Case("HEAD with a length", OK + b"Content-Length: 5\r\n\r\n", request="HEAD"),
    Case("HEAD with a coding", CHUNKED, request="HEAD"),
    Case("HEAD without either", OK + b"\r\n", request="HEAD"),
    Case("HEAD and close", OK + b"Connection: close\r\n\r\n", request="HEAD", reusable=False),
    Case(
        "interim answers",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
        + OK
        + b"Content-Length: 1\r\n\r\nx",
        b"x",
    ),
    Case(
        "an upgrade that is only offered",
        OK + b"Connection: Upgrade\r\nUpgrade: h2\r\nContent-Length: 1\r\n\r\nx",
        b"x",
    ),
    Case(
        "error with a body", b"HTTP/1.1 500 X\r\nContent-Length: 3\r\n\r\nbad", b"bad", True, b"500"
    ),
]


def judge(case: Case, seen: Answer) -> None:
    assert seen.fault is None
    assert seen.ended
    assert (seen.status, seen.data, seen.trailers) == (case.status, case.data, case.trailers)
    assert seen.reusable is case.reusable


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_whole_answers(case: Case) -> None:
    request = HEAD if case.request == "HEAD" else POST
    end = [EOF] if case.closes else []
    judge(case, answer(asked(request), case.wire, *end))
    byte_by_byte = [case.wire[n : n + 1] for n in range(len(case.wire))]
    judge(case, answer(asked(request), *byte_by_byte, *end))


@given(data=st.data(), case=st.sampled_from(CASES))
def test_any_split_gives_the_same(data: st.DataObject, case: Case) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(1, len(case.wire) - 1), max_size=12)))
    reads = [case.wire[a:b] for a, b in zip([0, *cuts], [*cuts, len(case.wire)], strict=True)]
    request = HEAD if case.request == "HEAD" else POST
    judge(case, answer(asked(request), *reads, *([EOF] if case.closes else [])))


@given(
    pieces=st.lists(st.binary(max_size=300), max_size=20),
    extension=st.sampled_from([b"", b";a", b";a=b", b';a="b;\\"c";d=e']),
    trailers=st.lists(st.text("abc", min_size=1, max_size=5), max_size=4),
    cut_every=st.integers(1, 97),
)
def test_any_chunks_in_any_split(
    pieces: list[bytes], extension: bytes, trailers: list[str], cut_every: int
) -> None:
    wire = CHUNKED
    for piece in pieces:
        if piece:
            wire += b"%x%s\r\n%s\r\n" % (len(piece), extension, piece)
    wire += b"0\r\n" + b"".join(b"%s: 1\r\n" % name.encode() for name in trailers) + b"\r\n"
    reads = [wire[n : n + cut_every] for n in range(0, len(wire), cut_every)]
    seen = answer(asked(), *reads)
    assert (seen.fault, seen.ended, seen.reusable) == (None, True, True)
    assert seen.data == b"".join(pieces)
    assert seen.trailers == ([(name.encode(), b"1") for name in trailers] or None)


@pytest.mark.parametrize("case", [c for c in CASES if c.reusable], ids=lambda case: case.name)
@pytest.mark.parametrize("excess", [b"\n", b"\r\n", b"\r\n\r\n", b"x", b"0", OK, b"\0"])
def test_bytes_after_an_answer_end_the_connection(case: Case, excess: bytes) -> None:
    """In the same read; the answer itself is right."""
    request = HEAD if case.request == "HEAD" else POST
    judge_excess(case, answer(asked(request), case.wire + excess))
    judge_excess(case, answer(asked(request), case.wire[:-1], case.wire[-1:] + excess))


def judge_excess(case: Case, seen: Answer) -> None:
    assert (seen.fault, seen.ended, seen.reusable) == (None, True, False)
    assert (seen.status, seen.data) == (case.status, case.data)


def test_fields_are_as_in_http2() -> None:
    connection = asked()
    seen = answer(
        connection,
        OK + b"Content-Type:text/event-stream \t\r\nX-Empty:\r\nConnection: X-Private\r\n"
        b"X-Private: 1\r\nKeep-Alive: timeout=5, max=100\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    )
    assert seen.head == [
        (b":status", b"200"),
        (b"content-type", b"text/event-stream"),
        (b"x-empty", b""),
        (b"set-cookie", b"a"),
        (b"set-cookie", b"b"),
    ]
    assert connection.keep_alive_s == 5


def test_one_read_is_one_delivery() -> None:
    connection = asked()
    delivery = connection.receive(
        b"HTTP/1.1 100 Continue\r\n\r\n" + CHUNKED + b"1\r\na\r\n1\r\nb\r\n0\r\nT: 1\r\n\r\n"
    )
    assert delivery is not None
    assert delivery.head is not None
    assert (delivery.data, delivery.flow_bytes, delivery.ended) == (b"ab", 2, True)
    assert delivery.trailers == [(b"t", b"1")]


# ---- requests and answers in turn --------------------------------------------------------------


def test_answers_follow_one_another() -> None:
    connection = Http1Connection()
    for n in range(1, 4):
        assert connection.next_stream(POST, body_bytes=0) == n
        connection.outgoing()
        delivery = connection.receive(OK + b"Content-Length: 1\r\n\r\n%d" % n)
        assert delivery is not None
        assert (delivery.stream_id, delivery.data, delivery.ended) == (n, b"%d" % n, True)


def test_one_request_at_a_time() -> None:
    connection = asked()
    with pytest.raises(Http1Busy):
        connection.next_stream(POST, body_bytes=0)


def test_an_answer_that_nobody_asked_for() -> None:
    idle = Http1Connection()
    assert answer(idle, OK).fault is Http1Error
    assert idle.closed
    queued = Http1Connection()
    queued.next_stream(POST, body_bytes=0)
    assert answer(queued, b"HTTP/1.1 408 Timeout\r\nContent-Length: 0\r\n\r\n").fault is Http1Error
    assert queued.closed


def test_a_request_that_has_not_left_can_be_withdrawn() -> None:
    connection = Http1Connection()
    connection.next_stream(POST, body_bytes=0)
    assert connection.withdraw()
    assert connection.idle
    assert connection.outgoing() == b""
    connection.next_stream(POST, body_bytes=0)
    assert connection.outgoing()
    assert not connection.withdraw()


def test_a_connection_says_early_that_it_will_not_go_on() -> None:
    connection = asked()
    connection.receive(OK + b"Content-Length: 5\r\nConnection: close\r\n\r\n")
    assert connection.draining
    assert not connection.closed
    kept = asked()
    kept.receive(OK + b"Content-Length: 5\r\n\r\n")
    assert not kept.draining


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"timeout=5", 5.0),
        (b"max=10, timeout = 75", 75.0),
        (b"timeout=99999999", None),
        (b"timeout=-1", None),
        (b"timeout=", None),
        (b"xtimeout=3", None),
    ],
)
def test_how_long_a_server_keeps_connections(value: bytes, seconds: float | None) -> None:
    connection = asked()
    answer(connection, OK + b"Content-Length: 0\r\nKeep-Alive: %s\r\n\r\n" % value)
    assert connection.keep_alive_s == seconds
