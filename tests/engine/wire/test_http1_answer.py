"""Answers into bytes: framed as the request allows, and never broken apart by what is in them."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.wire.http import Headers
from engine.wire.http1_answer import AnswerWriter, BodyEnd

TYPE = (b"content-type", b"a/b")


def head(
    *headers: tuple[bytes, bytes],
    status: int = 200,
    method: str = "GET",
    version: str = "1.1",
    persistent: bool = True,
) -> tuple[list[bytes], AnswerWriter]:
    """The lines of a head, and its writer."""
    writer = AnswerWriter(method, version, persistent=persistent)
    return writer.head(status, list(headers)).split(b"\r\n")[:-2], writer


def length(size: int) -> tuple[bytes, bytes]:
    return b"content-length", b"%d" % size


CHUNKS, CLOSE = b"transfer-encoding: chunked", b"connection: close"


def test_how_a_body_ends() -> None:
    for (lines, writer), end, more, persistent in [
        (head(), BodyEnd.CHUNKS, [CHUNKS], True),
        (head(length(3)), BodyEnd.LENGTH, [b"content-length: 3"], True),
        (head(persistent=False), BodyEnd.CHUNKS, [CHUNKS, CLOSE], False),
        (head((b"Connection", b"Close")), BodyEnd.CHUNKS, [CHUNKS, CLOSE], False),
        (head(version="1.0"), BodyEnd.CLOSE, [CLOSE], False),
        (
            head(length(3), version="1.0"),
            BodyEnd.LENGTH,
            [b"content-length: 3", b"connection: keep-alive"],
            True,
        ),
        (head(method="HEAD"), BodyEnd.NONE, [], True),
        (head(length(3), method="HEAD"), BodyEnd.NONE, [b"content-length: 3"], True),
        (head(length(3), status=304), BodyEnd.NONE, [b"content-length: 3"], True),
        (head(length(0), status=204), BodyEnd.NONE, [], True),
        (head((b"transfer-encoding", b"gzip"), (b"upgrade", b"x")), BodyEnd.CHUNKS, [CHUNKS], True),
    ]:
        assert (lines[1:], writer.body_end, writer.persistent) == (more, end, persistent)


def test_the_first_line_has_the_reason_if_there_is_a_known_one() -> None:
    assert head(TYPE, status=404)[0][:2] == [b"HTTP/1.1 404 Not Found", b"content-type: a/b"]
    assert head(TYPE, status=599)[0][:2] == [b"HTTP/1.1 599 ", b"content-type: a/b"]


def test_a_body_of_a_known_length_is_neither_longer_nor_whole_before_its_end() -> None:
    _, writer = head(length(3))
    steps = [(writer.frame(data), writer.end(), writer.whole) for data in (b"ab", b"cd", b"e")]
    assert steps == [(b"ab", b"", False), (b"c", b"", True), (b"", b"", True)]


def test_an_answer_without_a_body_has_none_whatever_the_app_sends() -> None:
    _, writer = head(method="HEAD")
    assert writer.frame(b"abc") + writer.end() == b""
    assert writer.whole


@pytest.mark.parametrize(
    "field",
    [
        (b"x", b"a\r\nset-cookie: b"),
        (b"x", b"a\nb"),
        (b"x", b"a\rb"),
        (b"x", b"a\0b"),
        (b"x", b"a\x7f"),
        (b"x: y\r\nz", b"a"),
        (b"x y", b"a"),
        (b"", b"a"),
        (b"x\xff", b"a"),
        (b"content-length", b"1, 1"),
        (b"content-length", b"-1"),
        (b"Content-Length", b"\r\n"),
    ],
)
def test_what_would_break_an_answer_apart_is_not_said(field: tuple[bytes, bytes]) -> None:
    with pytest.raises(ValueError, match=r"header field|content-length"):
        head(TYPE, field)


@pytest.mark.parametrize("status", [0, 100, 101, 199, 1000])
def test_an_answer_has_the_status_of_an_answer(status: int) -> None:
    with pytest.raises(ValueError, match="status"):
        head(status=status)


def test_two_lengths_are_none() -> None:
    with pytest.raises(ValueError, match="content-length"):
        head(length(1), length(1))


@given(
    st.lists(
        st.tuples(
            st.from_regex(rb"x-[!#$%&'*+.^_`|~0-9a-z-]{1,12}", fullmatch=True),
            st.from_regex(rb"(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]{0,9}[!-~])?)?", fullmatch=True),
        )
    ),
    st.lists(st.binary(min_size=1, max_size=100)),
    st.sampled_from(["chunks", "length", "close"]),
    st.sampled_from([200, 201, 404, 500]),
)
def test_what_is_said_is_what_h11_hears(
    headers: Headers, parts: list[bytes], ending: str, status: int
) -> None:
    writer = AnswerWriter("GET", "1.0" if ending == "close" else "1.1", persistent=True)
    sent = [length(sum(map(len, parts)))] if ending == "length" else []
    raw = writer.head(status, [*headers, *sent])
    raw += b"".join(map(writer.frame, parts)) + writer.end()
    assert writer.whole

    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("host", "h")]))
    client.send(h11.EndOfMessage())
    client.receive_data(raw)
    if ending == "close":
        client.receive_data(b"")
    answer = client.next_event()
    assert isinstance(answer, h11.Response)
    assert answer.status_code == status
    assert list(answer.headers)[: len(headers)] == headers
    body = b""
    while isinstance(event := client.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert body == b"".join(parts)
    assert client.trailing_data[0] == b""
