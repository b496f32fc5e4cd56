"""OpenAI responses: the events of a stream, and its errors.

Shapes and key order are those of recorded traffic: numbered events, every item opened and closed,
all of it once more in the last event, no `[DONE]`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from bench.simulate.answer import Finish, Segment, ToolCall
from bench.simulate.chat import Counts
from bench.simulate.openai_chat import SERVER_ERROR
from bench.simulate.plan import ChatPlan
from bench.simulate.responses_hosted import citations, hosted_events, hosted_items
from bench.simulate.responses_objects import (
    CALL_IDS,
    CALLS,
    INCOMPLETE,
    PARTS,
    Object,
    Status,
    call_item,
    is_raw,
    item_id,
    message_item,
    message_part,
    reasoning_item,
    response_object,
    thought_part,
    thought_parts,
    thought_texts,
)
from bench.simulate.signatures import Signer

Conclude = Callable[[ChatPlan, int, Counts | None], None]
"""What keeps a response that has come to its end."""

_PADDING: Final = [b"obfuscation-of-it"[: 4 + number * 5 % 13] for number in range(13)]


@dataclass(slots=True)
class _Open:
    """An item that has begun and is not done."""

    index: int
    item_id: str
    segment: Segment
    call: ToolCall | None = None
    made: int = 0
    """Tokens of its prose."""
    pieces: list[str] = field(default_factory=list)
    """Of the arguments."""
    before: bytes = b""
    after: bytes = b""
    """What stands around the text of a delta."""


class ResponsesGrammar:
    """Stream events of one response."""

    def __init__(self, plan: ChatPlan, signer: Signer, conclude: Conclude | None = None) -> None:
        options = plan.request.document.get("stream_options", {})
        self._plan = plan
        self._signer = signer
        self._conclude = conclude
        self._obfuscated = options.get("include_obfuscation") is not False
        self._events = 0
        self._done: dict[int, Object] = {}
        self._prose: _Open | None = None
        self._calls: dict[int, _Open] = {}
        self._begun = 0

    def begin(self) -> bytes:
        """`response.created`, `response.queued` of one in the background, `in_progress`."""
        response = response_object(self._plan, "in_progress", [])
        if not response["background"]:
            return b"".join(
                (
                    self._event("response.created", response=response),
                    self._event("response.in_progress", response=response),
                    self._hosted(),
                )
            )
        queued = response | {"status": "queued"}
        return (
            self._event("response.created", response=queued)
            + self._event("response.queued", response=queued)
            + self._event("response.in_progress", response=response)
            + self._hosted()
        )

    def _hosted(self) -> bytes:
        """What tools of OpenAI's have done."""
        events: list[bytes] = []
        for item in hosted_items(self._plan, self._signer):
            place, self._begun = self._begun, self._begun + 1
            self._done[place] = item
            events += [
                self._event(kind, output_index=place, **fields)
                for kind, fields in hosted_events(item)
            ]
        return b"".join(events)

    def piece(self, segment: Segment, choice: int, start: int, end: int) -> bytes:
        """Deltas of an item, with what opens and closes it."""
        if segment.kind == "calls":
            return self._arguments(segment, start, end)
        opening = b"" if start else self._open_prose(segment)
        item = self._prose
        assert item is not None, "prose begins with its first token"
        item.made = end
        if segment.kind == "reasoning":
            deltas = self._thoughts(item, start, end) if segment.shown else b""
        else:
            deltas = self._delta(item, segment.sources[0].escaped(start, end))
        closing = self._close_prose("completed") if end == segment.tokens else b""
        return opening + deltas + closing

    def finish(self, reason: Finish, counts: Counts | None) -> bytes:
        """The end of an open item, and the whole response."""
        if self._conclude is not None:
            self._conclude(self._plan, self._plan.limit, counts)
        cut: Status = "incomplete"
        closing = self._close_prose(cut) if self._prose is not None else b""
        for index in list(self._calls):
            closing += self._close_call(index, cut)
        status: Status = "incomplete" if reason in INCOMPLETE else "completed"
        response = response_object(self._plan, status, self._output(), counts, reason=reason)
        return closing + self._event(f"response.{status}", response=response)

    def error(self, kind: str) -> bytes:
        """`error`, and the response that failed."""
        error = {"type": "server_error", "code": "server_error", "message": SERVER_ERROR}
        response = response_object(self._plan, "failed", self._output())
        response["error"] = {"code": "server_error", "message": SERVER_ERROR}
        return self._event("error", error=error | {"param": None}) + self._event(
            "response.failed", response=response
        )

    def _output(self) -> list[Object]:
        return [self._done[index] for index in sorted(self._done)]

    def _event(self, kind: str, **fields: Any) -> bytes:
        data = orjson.dumps({"type": kind, "sequence_number": self._events} | fields)
        self._events += 1
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)

    def _begin(self, prefix: str, segment: Segment) -> _Open:
        item = _Open(self._begun, item_id(self._plan, self._signer, prefix, self._begun), segment)
        self._begun += 1
        return item

    def _add(self, item: _Open, shape: Object) -> bytes:
        return self._event("response.output_item.added", output_index=item.index, item=shape)

    def _finish_item(self, item: _Open, shape: Object) -> bytes:
        self._done[item.index] = shape
        return self._event("response.output_item.done", output_index=item.index, item=shape)

    # -- prose --------------------------------------------------------------------------------

    def _open_prose(self, segment: Segment) -> bytes:
        if segment.kind == "reasoning":
            item = self._prose = self._begin("rs", segment)
            return self._add(item, reasoning_item(self._plan, item.item_id, []))
        item = self._prose = self._begin("msg", segment)
        place = {"item_id": item.item_id, "output_index": item.index, "content_index": 0}
        part, _ = PARTS[segment.kind]
        self._frame(item, f"response.{part}.delta", place, logprobs=part == "output_text")
        return self._add(item, message_item(item.item_id, None, "in_progress")) + self._event(
            "response.content_part.added", **place, part=message_part(segment.kind, "")
        )

    def _frame(self, item: _Open, kind: str, place: Object, *, logprobs: bool = False) -> None:
        """Prepare the deltas of a part."""
        fields = orjson.dumps(place)[1:-1]
        item.before = b'event: %b\ndata: {"type":"%b","sequence_number":%%d,%b,"delta":"' % (
            kind.encode(),
            kind.encode(),
            fields,
        )
        item.after = b'","logprobs":[]' if logprobs else b'"'

    def _delta(self, item: _Open, text: bytes) -> bytes:
        number = self._events
        self._events += 1
        before = item.before % number
        if not self._obfuscated:
            return b"%b%b%b}\n\n" % (before, text, item.after)
        padding = _PADDING[number % 13]
        return b'%b%b%b,"obfuscation":"%b"}\n\n' % (before, text, item.after, padding)

    def _close_prose(self, status: Status) -> bytes:
        item = self._prose
        assert item is not None, "prose is open"
        self._prose = None
        if item.segment.kind == "reasoning":
            return self._close_thoughts(item, whole=status == "completed")
        text = item.segment.text(0, 0, item.made)
        place = {"item_id": item.item_id, "output_index": item.index, "content_index": 0}
        part, key = PARTS[item.segment.kind]
        more: Object = {"logprobs": []} if part == "output_text" else {}
        found = citations(self._plan, self._signer)
        shape = message_part(item.segment.kind, text, found)
        return b"".join(
            (
                *(
                    self._event(
                        "response.output_text.annotation.added",
                        **place,
                        annotation_index=number,
                        annotation=annotation,
                    )
                    for number, annotation in enumerate(found)
                ),
                self._event(f"response.{part}.done", **place, **{key: text}, **more),
                self._event("response.content_part.done", **place, part=shape),
                self._finish_item(item, message_item(item.item_id, shape, status)),
            )
        )

    def _thoughts(self, item: _Open, start: int, end: int) -> bytes:
        """Deltas of tokens that may lie in several parts of a summary."""
        events: list[bytes] = []
        segment = item.segment
        for number, (first, last) in enumerate(thought_parts(self._plan, segment)):
            low, high = max(start, first), min(end, last)
            if low >= high:
                continue
            if low == first:
                events.append(self._begin_thought(item, number))
            events.append(self._delta(item, segment.sources[0].escaped(low, high)))
            if high == last:
                events.append(self._end_thought(item, number, first, last))
        return b"".join(events)

    def _thought_place(self, item: _Open, number: int) -> Object:
        index = "content_index" if is_raw(self._plan) else "summary_index"
        return {"item_id": item.item_id, "output_index": item.index, index: number}

    def _begin_thought(self, item: _Open, number: int) -> bytes:
        place = self._thought_place(item, number)
        name = "reasoning_text" if is_raw(self._plan) else "reasoning_summary_text"
        self._frame(item, f"response.{name}.delta", place)
        kind = "content_part" if is_raw(self._plan) else "reasoning_summary_part"
        part = thought_part(self._plan, "")
        return self._event(f"response.{kind}.added", **place, part=part)

    def _end_thought(self, item: _Open, number: int, first: int, last: int) -> bytes:
        place = self._thought_place(item, number)
        text = item.segment.text(0, first, last)
        name = "reasoning_text" if is_raw(self._plan) else "reasoning_summary_text"
        kind = "content_part" if is_raw(self._plan) else "reasoning_summary_part"
        part = thought_part(self._plan, text)
        return self._event(f"response.{name}.done", **place, text=text) + self._event(
            f"response.{kind}.done", **place, part=part
        )

    def _close_thoughts(self, item: _Open, *, whole: bool) -> bytes:
        segment, closing = item.segment, b""
        parts = thought_texts(self._plan, segment, item.made)
        if not whole and parts:
            first, last = thought_parts(self._plan, segment)[len(parts) - 1]
            if last > item.made:
                closing = self._end_thought(item, len(parts) - 1, first, item.made)
        signature = segment.signature if whole else None
        shape = reasoning_item(self._plan, item.item_id, parts, signature)
        return closing + self._finish_item(item, shape)

    # -- calls --------------------------------------------------------------------------------

    def _arguments(self, segment: Segment, start: int, end: int) -> bytes:
        """One delta of each call that has tokens here, unless it begins or ends between them."""
        events: list[bytes] = []
        pending: dict[int, list[str]] = {}
        for unit in segment.units[start:end]:
            if unit.first:
                events.append(self._open_call(segment, unit.index))
                continue
            pending.setdefault(unit.index, []).append(unit.text)
            if unit.last:
                events.append(self._fragment(unit.index, pending.pop(unit.index)))
                events.append(self._close_call(unit.index, "completed"))
        events += [self._fragment(index, texts) for index, texts in pending.items()]
        return b"".join(events)

    def _open_call(self, segment: Segment, index: int) -> bytes:
        call = segment.calls[index]
        item = self._calls[index] = self._begin(CALL_IDS[call.custom], segment)
        item.call = call
        place = {"item_id": item.item_id, "output_index": item.index}
        self._frame(item, f"response.{_text_name(call)}.delta", place)
        return self._add(item, call_item(item.item_id, item.call, "", "in_progress"))

    def _fragment(self, index: int, texts: list[str]) -> bytes:
        item = self._calls[index]
        item.pieces += texts
        return self._delta(item, orjson.dumps("".join(texts))[1:-1])

    def _close_call(self, index: int, status: Status) -> bytes:
        item = self._calls.pop(index)
        assert item.call is not None, "a call is open"
        arguments = "".join(item.pieces)
        place = {"item_id": item.item_id, "output_index": item.index}
        _, text = CALLS[item.call.custom]
        done = self._event(f"response.{_text_name(item.call)}.done", **place, **{text: arguments})
        shape = call_item(item.item_id, item.call, arguments, status)
        return done + self._finish_item(item, shape)


def _text_name(call: ToolCall) -> str:
    """`function_call_arguments` or `custom_tool_call_input`."""
    return "_".join(CALLS[call.custom])
