"""What of an answer can be handed on to another deployment: text, and nothing else."""

from __future__ import annotations

import pytest

from engine.conversation import Native, Signature
from engine.events import (
    Begin,
    BlockEnd,
    Citation,
    Event,
    Finish,
    FinishReason,
    LogprobsDelta,
    MediaDelta,
    NativeEvent,
    ReasoningDelta,
    RedactedReasoning,
    RefusalDelta,
    TextDelta,
    ToolCallBegin,
    Usage,
    UsageReport,
)
from engine.transcript import Transcript

TEXT = TextDelta("Hello")


def text_of(*events: Event) -> str | None:
    transcript = Transcript()
    transcript.take(events)
    return transcript.text


def test_text_that_was_read_and_text_that_passed_by() -> None:
    transcript = Transcript()
    transcript.take([Begin("id", "model"), TextDelta("Hel")])
    transcript.add("lo")
    transcript.take([TextDelta(" there ")])
    assert transcript.text == "Hello there "


@pytest.mark.parametrize(
    "events",
    [
        (Begin("id", "model"), TEXT),
        (ReasoningDelta("hm"), RedactedReasoning(Signature("anthropic", "s")), BlockEnd(), TEXT),
        (TEXT, BlockEnd(), UsageReport(Usage(output_tokens=1))),
        (TEXT, NativeEvent(Native("gemini", {"candidate": {"avgLogprobs": -1}}), "avgLogprobs")),
    ],
)
def test_what_says_no_more_than_the_text(events: tuple[Event, ...]) -> None:
    assert text_of(*events) == "Hello"


@pytest.mark.parametrize(
    "event",
    [
        ReasoningDelta("hm"),
        RefusalDelta("I cannot"),
        ToolCallBegin(0, "call_1", "look_up"),
        MediaDelta("image", "image/png", "QUJD"),
        Citation(url="https://example.com"),
        LogprobsDelta(()),
        NativeEvent(Native("anthropic"), "server_tool_use", generated="query"),
        TextDelta("another", choice=1),
        Finish(FinishReason.STOP),
    ],
)
def test_what_cannot_be_handed_on_ends_it_for_good(event: Event) -> None:
    assert text_of(TEXT, event) is None
    assert text_of(TEXT, event, TEXT) is None


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_nothing_is_gone_on_with_where_there_is_nothing_to_read(text: str) -> None:
    assert text_of(TextDelta(text)) is None


def test_a_text_may_only_be_so_long() -> None:
    transcript = Transcript()
    transcript.add("x" * 256 * 1024)
    assert transcript.text is not None
    transcript.add("x")
    assert transcript.text is None
