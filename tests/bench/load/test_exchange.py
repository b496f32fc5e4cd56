"""What one exchange counts: tokens however they are cut, and how late each is of its own moment."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from bench.load.exchange import LINE_MAX_BYTES, UNANSWERED_S, Book, Exchange
from bench.load.protocols import message_of
from bench.simulate import open_simulator
from bench.suite.scenario import Protocol
from tests.bench.load.plans import REQUEST, target
from tests.bench.talks import ask

APIS: dict[Protocol, str] = {
    "openai_chat": "openai",
    "openai_responses": "openai-responses",
    "anthropic": "anthropic",
    "gemini": "gemini",
}
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":" word"}}]}\n\n'
ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
END = b"data: [DONE]\n\n"
DUE_S = 1_000.0
MESSAGE = message_of(REQUEST, target(1))


def exchange(book: Book, **changes: object) -> Exchange:
    """One that was due at `DUE_S`, and whose answer has begun."""
    planned = replace(REQUEST, **changes)  # type: ignore[arg-type]
    made = Exchange(book, planned, MESSAGE, DUE_S)
    made.head(200)
    return made


# -- which events are tokens --------------------------------------------------------------------


@pytest.mark.parametrize("protocol", APIS)
@pytest.mark.parametrize("written", ["compact", "with spaces"])
async def test_tokens_are_counted_the_same_cut_at_every_byte(
    protocol: Protocol, written: str
) -> None:
    async with open_simulator() as simulator:
        body = (await ask(APIS[protocol], "tokens=2").send(simulator)).body
    if written == "with spaces":  # as other gateways write their JSON
        body = re.sub(rb'":(?=["\[{\d])', rb'": ', body)
    book = Book(DUE_S)
    cuts = [[body], [body[at : at + 1] for at in range(len(body))]]
    cuts += [[body[:at], body[at:]] for at in range(1, len(body))]
    for number, pieces in enumerate(cuts, start=1):
        reading = exchange(book, protocol=protocol, tokens=2)
        for piece in pieces:
            reading.take(piece, DUE_S)
        reading.end(DUE_S)
        assert (book.tally.tokens, book.tally.requests) == (2 * number, number), number
    assert book.tally.errors == {}


@pytest.mark.parametrize("protocol", APIS)
@pytest.mark.parametrize(("fault", "kind"), [("error_event", "error event"), ("eof", "unfinished")])
async def test_a_stream_that_fails_is_an_error_of_one_kind(
    protocol: Protocol, fault: str, kind: str
) -> None:
    async with open_simulator() as simulator:
        talk = ask(APIS[protocol], f"tokens=5 fault={fault} cut_after=2")
        body = (await talk.send(simulator)).body
    book = Book(DUE_S)
    reading = exchange(book, protocol=protocol)
    reading.take(body, DUE_S)
    reading.end(DUE_S)
    assert (book.tally.tokens, book.tally.requests, book.tally.errors) == (2, 0, {kind: 1})


def test_a_status_is_an_error_and_its_body_is_no_token() -> None:
    book = Book(DUE_S)
    reading = exchange(book)
    reading.head(529)
    reading.take(EVENT, DUE_S)
    reading.end(DUE_S)
    reading.fail("cut", DUE_S)
    assert (book.tally.tokens, book.tally.errors) == (0, {"status 529": 1})


# -- how late -----------------------------------------------------------------------------------


def test_a_pause_makes_every_token_late_that_was_due_in_it() -> None:
    book = Book(DUE_S)
    reading = exchange(book, tokens=30, tokens_per_second=10.0, first_token_ms=100.0)
    reading.take(ROLE, DUE_S + 0.01)
    assert book.tally.first_token_ms.count == 0, "the role is no token"
    for number in range(10):
        reading.take(EVENT, DUE_S + 0.1 + number * 0.1 + 0.002)
    reading.take(EVENT * 10, DUE_S + 2.002)
    for number in range(20, 30):
        reading.take(EVENT, DUE_S + 0.1 + number * 0.1 + 0.002)
    tally = book.tally
    assert (tally.tokens, tally.timed_tokens, tally.stalls) == (30, 30, 1)
    assert tally.first_token_ms.greatest_ms == pytest.approx(102)
    late = tally.lateness_ms
    assert late.count == 30
    assert late.quantile(20 / 30) == pytest.approx(2, rel=0.01), "twenty were in time"
    assert late.above(90) == 9, "nine of those that came together were due at least 100 ms before"
    assert late.greatest_ms == pytest.approx(902)
    assert tally.gap_ms.above(250) == 1, "a reader sees one gap"
    assert tally.gap_ms.greatest_ms == pytest.approx(1_000)


def test_what_has_not_come_by_the_end_of_a_window_counts_with_its_age() -> None:
    book = Book(DUE_S)
    reading = exchange(book, tokens=1_000, tokens_per_second=10.0)
    silent = exchange(book, tokens=1_000, tokens_per_second=10.0, number=1)
    exchange(book, tokens=5, first_token_ms=9_000.0, number=2)  # not due yet
    for number in range(11):
        reading.take(EVENT, DUE_S + number * 0.1)
    tally = book.cut(DUE_S + UNANSWERED_S + 1.07)
    assert tally.elapsed_s == pytest.approx(UNANSWERED_S + 1.07)
    assert (tally.tokens, tally.due_tokens, tally.streams) == (11, 62, 3)
    assert tally.pace == pytest.approx(11 / 62)
    assert tally.lateness_ms.count == 62 - 2 * 2, "the last two of each are on their way"
    assert tally.lateness_ms.above(1_000) == 10 + 21
    assert tally.first_token_ms.count == 2
    assert tally.first_token_ms.greatest_ms == pytest.approx(3_070)
    assert tally.stalls == 1, "that of the stream that had begun"
    assert tally.errors == {"unanswered": 1}

    silent.take(EVENT, DUE_S + 4)
    later = book.cut(DUE_S + 4.05)
    assert later.due_tokens == 20
    assert later.errors == {}


def test_only_probes_count_for_first_tokens_where_there_are_some() -> None:
    book = Book(DUE_S)
    book.probes = True
    exchange(book).take(EVENT, DUE_S + 1)
    exchange(book, window="probe", number=1).take(EVENT, DUE_S + 0.001)
    assert book.tally.first_token_ms.greatest_ms == pytest.approx(1)


def test_a_whole_answer_has_a_latency_and_its_tokens() -> None:
    book = Book(DUE_S)
    reading = exchange(book, stream=False, tokens=16)
    reading.take(b'{"usage": {"completion_tokens": 16}}', DUE_S + 0.002)
    reading.end(DUE_S + 0.003)
    tally = book.tally
    assert (tally.tokens, tally.requests, tally.answered) == (16, 1, {"t-0": 16})
    assert tally.latency_ms.greatest_ms == pytest.approx(3)


def test_a_client_leaves_at_the_token_that_was_planned() -> None:
    book, dropped = Book(DUE_S), []
    reading = exchange(book, leave_after_tokens=3)
    reading.on_leave = lambda: dropped.append(reading.received)
    for _ in range(3):
        reading.take(EVENT, DUE_S)
    reading.leave()
    assert dropped == [3]
    assert [(left.tag, left.tokens) for left in book.tally.left] == [("t-0", 3)]
    assert not book.active
    assert book.tally.errors == {}


def test_an_event_without_an_end_is_not_waited_for() -> None:
    reading = exchange(Book(DUE_S))
    reading.take(b"x" * LINE_MAX_BYTES, DUE_S)
    with pytest.raises(ValueError, match="without an end"):
        reading.take(b"x", DUE_S)
