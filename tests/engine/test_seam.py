"""The events of a leg that goes on, as the client of the leg before is told them."""

from __future__ import annotations

import itertools

import pytest

from engine.conversation import Native, Signature
from engine.events import (
    Begin,
    Citation,
    Event,
    Finish,
    FinishReason,
    NativeEvent,
    ReasoningDelta,
    TextDelta,
    ToolCallBegin,
    Usage,
    UsageReport,
)
from engine.protocols.codec import Identity
from engine.protocols.registry import codec_of
from engine.seam import Seam
from tests.answers.translating import client_request

OWN = Native("openai_chat", {"type": "custom"})
BEFORE = Usage(input_tokens=10, cached_input_tokens=4, output_tokens=3, more={"requests": 1})


def a_seam(text: str) -> Seam:
    codec = codec_of("openai_chat")
    request = client_request("openai_chat", stream=True)
    return Seam(codec.open_encoder(request, Identity("id", "m", 0)), text, BEFORE)


def told(text: str, pieces: list[str]) -> str:
    """The text that the client is told, after it has got some."""
    seam = a_seam(text)
    events = [event for piece in pieces for event in seam.pass_on([TextDelta(piece)])]
    assert all(isinstance(event, TextDelta) and event.text for event in events)
    return "".join(event.text for event in events if isinstance(event, TextDelta))


@pytest.mark.parametrize(
    ("text", "more", "expected"),
    [
        ("one", " two", " two"),
        ("one ", " two", "two"),
        ("one ", "two", "two"),
        ("one ", "  two", " two"),
        ("one ", "\ntwo", "\ntwo"),
        ("one\n\n", "\n\ntwo", "two"),
        ("one\n\n", "\ntwo", "two"),
        ("one\n ", "\n two \n two", "two \n two"),
        ("one ", " ", ""),
        ("one \n", " two\nthree", "two\nthree"),
    ],
)
def test_spaces_are_not_said_twice_however_they_come(text: str, more: str, expected: str) -> None:
    for first, second in itertools.combinations_with_replacement(range(len(more) + 1), 2):
        pieces = [piece for piece in (more[:first], more[first:second], more[second:]) if piece]
        assert told(text, pieces) == expected, (first, second)


def test_it_begins_and_counts_from_where_the_client_is() -> None:
    usage = Usage(input_tokens=20, output_tokens=5, reasoning_tokens=1, more={"requests": 1})
    [report] = a_seam("text").pass_on(
        [Begin("other", "other-model"), UsageReport(usage, OWN, service_tier="standard")]
    )
    assert report == UsageReport(
        Usage(
            input_tokens=30,
            cached_input_tokens=4,
            output_tokens=8,
            reasoning_tokens=1,
            more={"requests": 2},
        ),
        service_tier="standard",
    )


def test_positions_are_of_the_whole_answer() -> None:
    cited = Citation(url="https://example.com", start=0, end=3, native=OWN)
    assert a_seam("12345").pass_on([cited]) == [Citation(url="https://example.com", start=5, end=8)]
    assert a_seam("12345").pass_on([Citation(title="t")]) == [Citation(title="t")]
    seam = a_seam("1234 ")
    seam.pass_on([TextDelta(" abc")])
    cited = Citation(title="t", start=1, end=4)
    assert seam.pass_on([cited]) == [Citation(title="t", start=5, end=8)]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (NativeEvent(OWN, "delta"), []),
        (TextDelta("x", native=OWN), [TextDelta("x")]),
        (
            ReasoningDelta("x", signature=Signature("gemini", "s"), native=OWN),
            [ReasoningDelta("x", signature=Signature("gemini", "s"))],
        ),
        (ToolCallBegin(0, "call_1", "f", native=OWN), [ToolCallBegin(0, "call_1", "f")]),
        (Finish(FinishReason.STOP, native=OWN), [Finish(FinishReason.STOP)]),
        (TextDelta(""), [TextDelta("")]),
    ],
)
def test_what_is_of_an_answer_of_its_own_stays_behind(event: Event, expected: list[Event]) -> None:
    assert a_seam("text").pass_on([event]) == expected
