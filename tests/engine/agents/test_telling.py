"""What of an agent's rounds its client is told."""

from __future__ import annotations

from collections.abc import Sequence

from engine.agent import Brief, Cited
from engine.agents.citing import Marks
from engine.agents.telling import Telling
from engine.conversation import Reasoning, Signature, Text, ToolCall
from engine.events import (
    Begin,
    Citation,
    Event,
    Finish,
    FinishReason,
    ReasoningDelta,
    TextDelta,
    ToolCallBegin,
    ToolCallDelta,
    Usage,
    UsageReport,
)

BRIEF = Brief("agent_1", "m", "Be brief.", own=frozenset({"look_up"}))
SOURCES = (
    Cited(1, "a" * 26, "a.txt", 3, 100, 120, "Foxes hunt at night."),
    Cited(2, "b" * 26, "b.txt", 1, 0, 5, "Tides"),
)
CALL = (
    ToolCallBegin(0, "c1", "look_up", signature=Signature("gemini", "S")),
    ToolCallDelta(0, '{"id":'),
    ToolCallDelta(0, '"7"}'),
)
ENDS = (Finish(FinishReason.TOOL_CALLS), UsageReport(Usage(input_tokens=10, output_tokens=5)))


def marks(protocol: str = "openai_chat", sources: Sequence[Cited] = ()) -> Marks:
    return Marks(sources, protocol, "https://gw.example")


def asking(telling: Telling) -> list[Event]:
    """A round that asks for a tool."""
    return telling.pass_on([Begin("r1", "m"), TextDelta("Let me see."), *CALL, *ENDS])


def test_a_round_that_asks_for_the_agents_tools_is_told_without_them() -> None:
    telling = Telling(BRIEF, marks())

    assert asking(telling) == [Begin("r1", "m"), TextDelta("Let me see."), ENDS[1]]
    assert telling.awaits
    assert telling.calls == (ToolCall("c1", "look_up", '{"id":"7"}', Signature("gemini", "S")),)
    assert telling.turn.parts == (Text("Let me see."), *telling.calls)


def test_the_next_round_goes_on_in_the_same_answer() -> None:
    first = Telling(BRIEF, marks(), in_pieces=False)
    asking(first)
    before = first.after(None, Usage(input_tokens=10, output_tokens=5))
    telling = Telling(BRIEF, marks(), before, in_pieces=False)
    usage = UsageReport(Usage(input_tokens=20, output_tokens=2))
    told = telling.pass_on(
        [
            Begin("r2", "m"),
            TextDelta("It is "),
            TextDelta("here."),
            Finish(FinishReason.STOP),
            usage,
        ]
    )

    assert told == [
        TextDelta("\n\nIt is "),
        TextDelta("here."),
        Finish(FinishReason.STOP),
        UsageReport(Usage(input_tokens=30, output_tokens=7)),
    ]
    assert not telling.awaits
    assert telling.whole(told) == [Begin("r1", "m"), TextDelta("Let me see."), *told]


def test_where_the_clients_functions_are_called_too_the_answer_ends_there() -> None:
    telling = Telling(BRIEF, marks())
    told = telling.pass_on(
        [*CALL, ToolCallBegin(1, "c2", "theirs"), ToolCallDelta(1, "{}"), ENDS[0]]
    )

    assert told == [ToolCallBegin(0, "c2", "theirs"), ToolCallDelta(0, "{}"), ENDS[0]]
    assert not telling.awaits


def test_a_last_round_that_asks_for_tools_has_reached_a_limit() -> None:
    telling = Telling(Brief("agent_1", "m", "", own=BRIEF.own, last=True), marks())

    assert telling.pass_on([*CALL, ENDS[0]]) == [Finish(FinishReason.LENGTH)]
    assert telling.over_limit
    assert not telling.awaits


def test_calls_that_were_cut_off_are_not_made() -> None:
    telling = Telling(BRIEF, marks())
    told = telling.pass_on([*CALL, Finish(FinishReason.LENGTH)])

    assert told == [Finish(FinishReason.LENGTH)]
    assert not telling.awaits


def test_thinking_goes_back_to_its_provider_with_what_signs_it() -> None:
    telling = Telling(BRIEF, marks())
    signed = Signature("anthropic", "S")
    telling.pass_on(
        [ReasoningDelta("Hm"), ReasoningDelta("m.", signature=signed), TextDelta("So."), *CALL]
    )

    assert telling.turn.parts[:2] == (Reasoning("Hmm.", signed), Text("So."))


def test_marks_are_found_however_they_are_cut() -> None:
    text = "Foxes hunt [1]. [x] [9] Tides [2][1]!"
    for cut in range(len(text)):
        reading = marks("gemini", SOURCES)
        found = [
            *reading.read(text[:cut], cut),
            *reading.read(text[cut:], len(text)),
        ]
        assert [(text[each.start : each.end], each.title) for each in found] == [
            ("[1]", "a.txt, passage 3, 100-120"),
            ("[2]", "b.txt, passage 1, 0-5"),
            ("[1]", "a.txt, passage 3, 100-120"),
        ]


def test_each_protocol_has_a_shape_of_its_own_for_sources() -> None:
    def cited(protocol: str) -> Citation:
        (found,) = marks(protocol, SOURCES).read("So [1]", 6)
        return found

    chat = cited("openai_chat")
    assert chat.url == (
        f"https://gw.example/v1/files/file-{'a' * 26}/content#passage=3&start=100&end=120"
    )
    assert (chat.start, chat.end) == (3, 6)
    responses, messages = cited("openai_responses").native, cited("anthropic").native
    assert responses is not None
    assert responses.fields["annotation"] == {
        "type": "file_citation",
        "file_id": f"file-{'a' * 26}",
        "filename": "a.txt",
        "index": 3,
    }
    assert messages is not None
    assert messages.fields["citation"] == {
        "type": "char_location",
        "cited_text": "Foxes hunt at night.",
        "document_index": 0,
        "document_title": "a.txt",
        "file_id": f"file_{'a' * 26}",
        "start_char_index": 100,
        "end_char_index": 120,
    }
