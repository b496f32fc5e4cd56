"""Streams as the openai package's own helper takes them, and the grammar that it does not check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import openai
from openai import omit
from openai.lib.streaming.responses._responses import ResponseStreamState

from engine.wire.sse import EventSplitter, event_data
from tests.answers import sdks
from tests.answers.openai_responses import TERMINAL
from tests.answers.paths import documents

# Events that say a text whole, by the delta they put together, and the name of the text in them.
WHOLE = {
    "response.output_text.done": ("response.output_text.delta", "text"),
    "response.refusal.done": ("response.refusal.delta", "refusal"),
    "response.reasoning_summary_text.done": ("response.reasoning_summary_text.delta", "text"),
    "response.reasoning_text.done": ("response.reasoning_text.delta", "text"),
    "response.function_call_arguments.done": (
        "response.function_call_arguments.delta",
        "arguments",
    ),
    "response.custom_tool_call_input.done": ("response.custom_tool_call_input.delta", "input"),
}
_PLACE = ("output_index", "content_index", "summary_index")


def accumulated(body: bytes) -> Any:
    """The last object of a stream, after the package's stream helper has taken every event.

    Raises:
        RuntimeError: the helper found the events out of order.
    """
    state: ResponseStreamState[Any] = ResponseStreamState(input_tools=omit, text_format=omit)
    streamed = sdks.openai_response_events(sdks.canned(body, stream=True))
    assert streamed.error is None
    for event in streamed.items:
        state.handle_event(event)
    return streamed.items[-1].response


def raised(body: bytes) -> openai.APIError:
    """The error that the package raises at the end of a stream."""
    error = sdks.openai_response_events(sdks.canned(body, stream=True)).error
    assert isinstance(error, openai.APIError)
    return error


def check_grammar(body: bytes) -> dict[str, Any]:
    """The last event of a stream that keeps every rule: names, numbers, what is open and closed,
    texts and items said whole as they came."""
    events = documents(body, stream=True)
    names = [frame.partition(b"\n")[0] for frame in EventSplitter().feed(body)]
    assert names == [b"event: " + event["type"].encode() for event in events]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    assert events[0]["response"]["status"] == "in_progress"
    check = _Check({}, {}, {}, [])
    for event in events[2:-1]:
        check.take(event)
    assert check.open == {}
    last: dict[str, Any] = events[-1]
    assert last["type"] in TERMINAL
    assert last["type"] == f"response.{last['response']['status']}"
    assert last["response"]["output"] == [check.ended[index] for index in sorted(check.ended)]
    assert sorted(check.ended) == list(range(len(check.ended)))
    return last


@dataclass(slots=True)
class _Check:
    """Items by their place, texts by theirs."""

    open: dict[int, dict[str, Any]]
    ended: dict[int, dict[str, Any]]
    texts: dict[tuple[Any, ...], str]
    parts: list[tuple[Any, ...]]

    def take(self, event: dict[str, Any]) -> None:
        """One more event between the first two and the last."""
        kind, index = event["type"], event["output_index"]
        place = tuple(event.get(name) for name in _PLACE)
        if kind == "response.output_item.added":
            assert index == len(self.open) + len(self.ended)
            self.open[index] = event["item"]
        elif kind == "response.output_item.done":
            assert self.open.pop(index)["id"] == event["item"]["id"]
            assert not [part for part in self.parts if part[0] == index], "parts are open"
            self.ended[index] = event["item"]
        else:
            assert event["item_id"] == self.open[index]["id"]
            self._take_part(kind, place, event)

    def _take_part(self, kind: str, place: tuple[Any, ...], event: dict[str, Any]) -> None:
        if kind.endswith("_part.added"):
            assert place not in self.parts
            self.parts.append(place)
        elif kind.endswith("_part.done"):
            self.parts.remove(place)
            text = event["part"].get("text") or event["part"].get("refusal") or ""
            assert text == "".join(t for (_, at), t in self.texts.items() if at == place)
        elif kind in WHOLE:
            delta, name = WHOLE[kind]
            assert event[name] == self.texts.get((delta, place), "")
        elif "delta" in event:
            assert place[1:] == (None, None) or place in self.parts
            self.texts[kind, place] = self.texts.get((kind, place), "") + event["delta"]


def frames(body: bytes) -> list[bytes]:
    """The events of a stream."""
    return [frame for frame in EventSplitter().feed(body) if event_data(frame)]
