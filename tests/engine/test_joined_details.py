"""One stream of two legs: what stands beside the text, and where exactly it can be gone on."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engine.events import (
    BlockEnd,
    Citation,
    Event,
    Finish,
    FinishReason,
    ReasoningDelta,
    TextDelta,
    ToolCallBegin,
    ToolCallDelta,
)
from engine.wire.sse import EventSplitter
from tests.answers.reading import LENGTH, TOOLS
from tests.joined import (
    BOTH,
    CLIENTS,
    END,
    FIRST,
    SECOND,
    USAGE_1,
    USAGE_2,
    answer,
    broken_off,
    broken_off_at,
    check,
    first_leg,
    joined,
    read,
    second_leg,
    through,
    through_event,
)


@pytest.mark.parametrize("client", CLIENTS)
def test_text_goes_on_with_a_call(client: str) -> None:
    stream = broken_off_at(client, b"Hel")
    assert stream.go_on("anthropic", USAGE_1)
    events: list[Event] = [
        TextDelta("p:"),
        BlockEnd(),
        ToolCallBegin(0, "toolu_1", "look_up"),
        ToolCallDelta(0, '{"a":1}'),
        BlockEnd(),
        Finish(FinishReason.TOOL_CALLS),
    ]
    stream.feed([b"".join(answer("anthropic", "second", *events, usage=USAGE_2))])
    [choice] = read(client, stream.end()).choices
    assert (choice.text, choice.finish) == ("Help:", TOOLS)
    assert [(call.name, call.arguments) for call in choice.calls] == [("look_up", {"a": 1})]


@pytest.mark.parametrize("client", ["openai_responses", "anthropic", "gemini"])
def test_thinking_before_the_text_stays_where_it_is(client: str) -> None:
    events: list[Event] = [ReasoningDelta("hm"), BlockEnd(), *map(TextDelta, FIRST), END]
    frames = answer(client, "first", *events, usage=USAGE_1)
    stream = broken_off(client, client, through(frames, b"wide"))
    assert stream.go_on("anthropic", USAGE_1)
    stream.feed([second_leg("anthropic")])
    [choice] = read(client, stream.end()).choices
    assert (choice.reasoning, choice.text) == ("hm", "Hello, wide world é𝄞")


CITED = Citation(url="https://example.com", title="A page", start=1, end=6)
"""Of the second leg's text: `world`."""


@pytest.mark.parametrize("client", ["openai_chat", "openai_responses", "gemini"])
def test_sources_point_at_the_text_of_both(client: str) -> None:
    stream = broken_off_at(client, b"Hel")
    assert stream.go_on("openai_chat", USAGE_1)
    cited: list[Event] = [*map(TextDelta, SECOND), CITED, END]
    stream.feed([b"".join(answer("openai_chat", "second", *cited, usage=USAGE_2))])
    assert pointed_at(client, stream.end()) == [("Hel world é𝄞", "world")]


def test_sources_of_another_part_point_into_that() -> None:
    """The first leg has ended its message, and the second one begins another."""
    kind = "response.output_item.done"
    frames = through_event(first_leg("openai_responses"), lambda event: event["type"] == kind)
    stream = broken_off("openai_responses", "openai_responses", frames)
    assert stream.go_on("openai_chat", USAGE_1)
    cited: list[Event] = [*map(TextDelta, SECOND), CITED, END]
    stream.feed([b"".join(answer("openai_chat", "second", *cited, usage=USAGE_2))])
    [(text, span)] = pointed_at("openai_responses", stream.end())
    assert (text, span) == ("world é𝄞", "world")


def pointed_at(client: str, body: bytes) -> list[tuple[str, str]]:
    """Of each source the text that it is counted in, and what it points at there."""
    documents = [
        orjson.loads(frame.partition(b"data: ")[2])
        for frame in EventSplitter().feed(body)
        if b"data: {" in frame
    ]
    match client:
        case "openai_chat":
            deltas = [each["delta"] for document in documents for each in document["choices"]]
            text = "".join(delta.get("content") or "" for delta in deltas)
            found = [note["url_citation"] for d in deltas for note in d.get("annotations", ())]
            return [(text, text[each["start_index"] : each["end_index"]]) for each in found]
        case "gemini":
            ended = [each for document in documents for each in document["candidates"]]
            parts = [part["text"] for each in ended for part in each["content"]["parts"]]
            said = "".join(parts).encode()
            supports = ended[-1]["groundingMetadata"]["groundingSupports"]
            spans = [support["segment"] for support in supports]
            return [
                (said.decode(), said[each["startIndex"] : each["endIndex"]].decode())
                for each in spans
            ]
        case _:
            items = documents[-1]["response"]["output"]
            parts = [part for item in items for part in item["content"]]
            return [
                (part["text"], part["text"][note["start_index"] : note["end_index"]])
                for part in parts
                for note in part["annotations"]
            ]


@pytest.mark.parametrize("client", ["openai_chat", "gemini"])
def test_what_the_first_leg_says_with_each_event_is_said_on(client: str) -> None:
    """And nothing that it does not say."""
    name = "system_fingerprint" if client == "openai_chat" else "modelVersion"
    said: dict[str, Any] = {name: "first"}
    if client == "openai_chat":
        delta = {"role": "assistant", "content": "Hel"}
        said |= {"id": "c1", "choices": [{"index": 0, "delta": delta}]}
    else:
        said["candidates"] = [{"content": {"parts": [{"text": "Hel"}], "role": "model"}}]
    end = b"\r\n\r\n" if client == "gemini" else b"\n\n"
    stream = broken_off(client, client, [b"data: " + orjson.dumps(said) + end])
    assert stream.go_on("anthropic", USAGE_1)
    stream.feed([second_leg("anthropic")])
    chunks = [
        orjson.loads(frame.partition(b"data: ")[2])
        for frame in EventSplitter().feed(stream.end())
        if b"data: {" in frame
    ]
    assert {chunk[name] for chunk in chunks} == {"first"}
    assert not any("responseId" in chunk for chunk in chunks)


@pytest.mark.parametrize(
    ("kind", "goes_on"),
    [
        ("response.content_part.added", False),  # of a text of which nothing has come
        ("response.output_text.delta", True),
        ("response.output_text.done", False),
        ("response.content_part.done", False),
        ("response.output_item.done", True),
        ("response.completed", False),
    ],
)
def test_responses_go_on_where_a_text_is_open_or_all_has_ended(kind: str, goes_on: bool) -> None:
    frames = through_event(first_leg("openai_responses"), lambda event: event["type"] == kind)
    stream = broken_off("openai_responses", "openai_responses", frames)
    text = stream.text
    assert stream.go_on("gemini", USAGE_1) is goes_on
    if goes_on:
        assert text is not None
        stream.feed([second_leg("gemini")])
        check("openai_responses", stream.end(), joined(text), BOTH)


def test_a_text_that_was_said_whole_is_not_said_again() -> None:
    """Where nobody goes on with it, and it is cut."""
    kind = "response.output_text.done"
    frames = through_event(first_leg("openai_responses"), lambda event: event["type"] == kind)
    stream = broken_off("openai_responses", "openai_responses", frames)
    whole = stream.out + stream.relay.cut(USAGE_1)
    assert whole.count(b"event: response.output_text.done") == 1
    [choice] = read("openai_responses", whole).choices
    assert (choice.text, choice.finish) == ("Hello, wide ", LENGTH)


def test_a_response_that_never_began_goes_on_all_the_same() -> None:
    """A provider that leaves out the answer's beginning, its id and the numbers of events."""
    place = {"item_id": "", "output_index": 0, "content_index": 0}
    delta = {"type": "response.output_text.delta", "delta": "Hel", **place}
    item = {"type": "response.output_item.added", "output_index": 0, "item": {"type": "message"}}
    frames = [b"data: " + orjson.dumps(event) + b"\n\n" for event in (item, delta)]
    stream = broken_off("openai_responses", "openai_responses", frames)
    assert stream.go_on("gemini", USAGE_1)
    stream.feed([second_leg("gemini")])
    last = orjson.loads(EventSplitter().feed(stream.end())[-1].partition(b"data: ")[2])
    assert last["response"]["id"] == "req_1"
    assert last["sequence_number"] > 2
    [message] = last["response"]["output"]
    assert message["content"][0]["text"] == "Hel world é𝄞"


def test_a_message_goes_on_behind_a_block_that_has_ended() -> None:
    """In another block; never before the message has begun."""
    frames = first_leg("anthropic")
    ended = through_event(frames, lambda event: event["type"] == "content_block_stop")
    stream = broken_off("anthropic", "anthropic", ended)
    assert stream.go_on("gemini", USAGE_1)
    stream.feed([second_leg("gemini")])
    check("anthropic", stream.end(), "Hello, wide world é𝄞", BOTH)
    [delta] = [frame for frame in frames if b"Hel" in frame]
    assert not broken_off("anthropic", "anthropic", [delta]).go_on("gemini", USAGE_1)
