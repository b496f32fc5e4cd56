"""Requests out of bytes: whole or in any pieces the same, and never a request that is none."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.wire.http1_head import BadHead, RequestHead
from engine.wire.http1_server import BadFraming, Body, RequestLimits, RequestReader
from tests.engine.wire.http1_requests import CANARY, CASES, CHUNKED, GET, POST, Case, read


def test_there_are_enough_cases_each_with_a_name_of_its_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 80


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_request_is_taken_or_refused_however_it_is_split(case: Case) -> None:
    raw = case.raw + CANARY
    assert read(raw) == case.expected
    assert read(*(raw[at : at + 1] for at in range(len(raw)))) == case.expected
    for at in range(1, len(raw)):
        assert read(raw[:at], raw[at:]) == case.expected, f"split at {at}"


def test_the_next_request_waits_for_the_answer() -> None:
    reader = RequestReader()
    reader.feed(POST + b"Content-Length: 1\r\n\r\nx" + CANARY)
    reader.next_event()
    reader.next_event()
    assert reader.done
    assert reader.next_event() is None
    assert reader.waiting_bytes == len(CANARY)
    reader.next_request()
    assert reader.next_event() is not None


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (GET + b"x: " + b"a" * 32_768 + b"\r\n\r\n", 431),
        (GET + b"a: b\r\n" * 128 + b"\r\n", 431),
        (b"GET /" + b"a" * 32_768 + b" HTTP/1.1\r\n\r\n", 414),
        (CHUNKED + b"1;a=" + b"b" * 1_024 + b"\r\nx\r\n0\r\n\r\n", 400),
        (CHUNKED + b"1;a=%b\r\nx\r\n" % (b"b" * 1_000) * 17 + b"0\r\n\r\n", 400),
        (CHUNKED + b"1\r\nx\r\n" * 270 + b"0\r\n\r\n", 400),
        (CHUNKED + b"0\r\n" + b"a: %b\r\n" % (b"b" * 1_000) * 17 + b"\r\n", 400),
    ],
)
def test_what_is_no_content_is_bounded(raw: bytes, status: int) -> None:
    assert read(raw) == [status]
    assert read(*(raw[at : at + 999] for at in range(0, len(raw), 999))) == [status]


@pytest.mark.parametrize(("size", "count"), [(1, 250), (64, 5_000), (500, 300)])
def test_bodies_may_come_in_many_chunks_that_hold_something(size: int, count: int) -> None:
    chunk = b"%x\r\n%b\r\n" % (size, b"x" * size)
    body = b"x" * size * count
    assert read(CHUNKED + chunk * count + b"0\r\n\r\n") == [("POST", "/a", body)]


def test_an_unfinished_head_is_kept_within_its_bound() -> None:
    reader = RequestReader(RequestLimits(head_max_bytes=100))
    for _ in range(99):
        reader.feed(b"A")
        assert reader.next_event() is None
    assert reader.waiting_bytes == 99
    reader.feed(b"AA")
    with pytest.raises(BadHead):
        reader.next_event()
    assert reader.waiting_bytes == 0
    reader.feed(CANARY)
    assert reader.next_event() is None, "nothing follows what was refused"


# -- against h11 ------------------------------------------------------------------------------

_tokens = st.from_regex(rb"[!#$%&'*+.^`|~0-9A-Za-z-]{1,12}", fullmatch=True)
_values = st.from_regex(rb"(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]{0,20}[!-~])?)?", fullmatch=True)
_telling = {
    b"host", b"content-length", b"transfer-encoding", b"connection", b"expect", b"upgrade",
}  # fmt: skip


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """A request as h11 writes it, in pieces, and its body's."""
    method = draw(st.sampled_from([b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH"]))
    target = draw(
        st.from_regex(rb"/[0-9A-Za-z_~!$&'()*+,;=:@-]{0,20}(?:\?[!-\"$-~]{0,9})?", fullmatch=True)
    )
    headers = draw(st.lists(st.tuples(_tokens, _values), max_size=6))
    headers = [(name, value) for name, value in headers if name.lower() not in _telling]
    body = draw(st.lists(st.binary(max_size=300), max_size=4))
    framing = draw(st.sampled_from([[], [(b"transfer-encoding", b"chunked")]]))
    if not framing:
        framing = [(b"content-length", b"%d" % sum(map(len, body)))]
    client = h11.Connection(h11.CLIENT)
    request = h11.Request(
        method=method, target=target, headers=[(b"host", b"h"), *headers, *framing]
    )
    raw = client.send(request) or b""
    for part in body:
        raw += client.send(h11.Data(data=part)) or b""
    return raw + (client.send(h11.EndOfMessage()) or b""), body


def as_h11_reads(raw: bytes) -> tuple[bytes, bytes, list[tuple[bytes, bytes]], bytes, bytes]:
    """Method, target, headers, body and what follows, by another reader."""
    server = h11.Connection(h11.SERVER)
    server.receive_data(raw)
    request = server.next_event()
    assert isinstance(request, h11.Request)
    body = b""
    while isinstance(event := server.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    trailing = server.trailing_data[0]
    return request.method, request.target, list(request.headers), body, trailing


@given(requests(), st.binary(max_size=40), st.data())
def test_valid_requests_are_read_as_h11_reads_them(
    request: tuple[bytes, list[bytes]], following: bytes, data: Any
) -> None:
    raw, body = request
    at = data.draw(st.integers(0, len(raw)), label="split at")
    reader = RequestReader()
    reader.feed(raw[:at])
    events = [reader.next_event()]
    reader.feed(raw[at:] + following)
    while (event := reader.next_event()) is not None:
        events.append(event)
    head, *parts = [event for event in events if event is not None]
    ours = (
        head.method.encode(),  # type: ignore[union-attr]
        head.target,  # type: ignore[union-attr]
        head.headers,  # type: ignore[union-attr]
        b"".join(part.data for part in parts),  # type: ignore[union-attr]
        following,
    )
    assert reader.done
    assert reader.waiting_bytes == len(following)
    assert ours == as_h11_reads(raw + following)
    assert ours[3] == b"".join(body)


_PIECES = [
    b"\r\n", b"\n", b"\r", b"\0", b" ", b":", b";", b",", b"0", b"1", b"\xff", b"%2e", b"/", b"#",
    b"0\r\n\r\n", b"Host: h\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n", b"Upgrade: x\r\n", b"http://h", b"GET / HTTP/1.1\r\n",
]  # fmt: skip


@st.composite
def mutants(draw: st.DrawFn) -> bytes:
    """One of the cases with a canary behind it, changed in a few places."""
    raw = draw(st.sampled_from(CASES)).raw + CANARY
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(raw)))
        cut = draw(st.integers(0, 4))
        raw = raw[:at] + draw(st.sampled_from([b"", *_PIECES])) + raw[at + cut :]
    return raw


@given(mutants(), st.data())
def test_what_is_nearly_a_request_is_refused_or_read_as_h11_reads_it(raw: bytes, data: Any) -> None:
    at = data.draw(st.integers(0, len(raw)), label="split at")
    assert read(raw[:at], raw[at:]) == read(raw)
    reader = RequestReader()
    reader.feed(raw)
    try:
        head, body = reader.next_event(), b""
        while isinstance(event := reader.next_event(), Body):
            body += event.data
    except (BadHead, BadFraming):
        return
    if not (isinstance(head, RequestHead) and reader.done):
        return
    with suppress(h11.RemoteProtocolError):  # it has some qualms that we do not share
        method, target, _, by_h11, _ = as_h11_reads(raw)
        assert (head.method.encode(), head.target, body) == (method, target, by_h11)
