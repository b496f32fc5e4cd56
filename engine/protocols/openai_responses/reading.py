"""Streams and whole answers as canonical events, by one reader for both: a whole answer is a stream
in which every item comes at its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from engine.conversation import Signature
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
    ToolCallDelta,
    UsageReport,
)
from engine.protocols.fields import dict_of, dicts, text_of
from engine.protocols.openai_responses.generated import generated_text
from engine.protocols.openai_responses.marks import NAME, native, sign
from engine.protocols.openai_responses.tools import CHARGED, called_units
from engine.protocols.openai_responses.usage import read_usage
from engine.protocols.openai_shared import read_logprobs
from engine.usage import Usage, unsaid

_ITEMS_MAX = 4_096
_BETWEEN_SUMMARIES = "\n\n"

TIERS = {"default": "standard", "priority": "priority", "flex": "flex", "fast": "fast"}
"""Service tiers in `Begin`'s words."""

_INCOMPLETE = {
    "max_output_tokens": FinishReason.LENGTH,
    "content_filter": FinishReason.FILTERED,
}

# What an encoder of this protocol writes of its own accord, from the deltas and the whole items.
_IMPLIED = frozenset(
    {
        "response.content_part.added",
        "response.content_part.done",
        "response.output_text.done",
        "response.refusal.done",
        "response.reasoning_summary_part.done",
        "response.reasoning_summary_text.done",
        "response.reasoning_text.done",
        "response.function_call_arguments.done",
        "response.custom_tool_call_input.done",
    }
)


@dataclass(slots=True)
class _Part:
    """A part of a message: where its text begins in that of the answer, and what came of it."""

    start: int
    streamed: bool = False
    citations: int = 0


@dataclass(slots=True)
class _Item:
    kind: str
    call: int = 0
    """A call's place among the calls."""
    parts: dict[int, _Part] = field(default_factory=dict)
    streamed: bool = False
    """Something of it came in deltas."""
    done: bool = False


@dataclass(slots=True)
class AnswerReader:
    """Reads the events of one answer in order, or its only document.

    Attributes:
        natives: keep what only this protocol knows, for an encoder of it.
        repeated: see `engine.protocols.openai_responses.tools.called_units`.
        ended: the answer has come to its end.
    """

    natives: bool
    repeated: Set[str] = frozenset()
    ended: bool = False
    _begun: bool = False
    _items: dict[int, _Item] = field(default_factory=dict)
    _calls: int = 0
    _chars: int = 0
    """Of the answer's text so far."""
    _said: Mapping[str, Any] = field(default_factory=dict)
    """What the answer repeats at its beginning of how it was asked for."""
    _charged: list[Mapping[str, Any]] = field(default_factory=list)
    """Of the provider's tools, the calls that have ended."""

    def read_response(self, response: dict[str, Any]) -> list[Event]:
        """The events of a whole answer, its end and the usage last."""
        return list(self._end({"response": response}))

    def read(self, document: dict[str, Any]) -> list[Event]:
        """The events of one event of a stream; raises ValueError for one beyond all bounds."""
        kind = text_of(document.get("type"))
        handler = _HANDLERS.get(kind)
        if handler is not None:
            events = list(handler(self, document))
        elif kind in _IMPLIED:
            return []
        else:
            events = list(self._read_other(kind, document))
        if events and not self._begun:
            self._begun = True
            events.insert(0, Begin(None, None))
        return events

    def _begin(self, document: dict[str, Any]) -> Iterator[Event]:
        if self._begun:
            return
        self._begun = True
        response = dict_of(document.get("response"))
        created = response.get("created_at")
        self._said = said = {key: value for key, value in response.items() if key != "output"}
        yield Begin(
            text_of(response.get("id")) or None,
            text_of(response.get("model")) or None,
            int(created) if isinstance(created, (int, float)) and 0 < created < 2**40 else None,
            service_tier=TIERS.get(text_of(response.get("service_tier"))),
            native=native({"response": said}) if self.natives else None,
        )

    def _item(self, document: Mapping[str, Any], kind: str) -> _Item:
        """The item that an event is about; a new one of this kind, if it has not been added."""
        index = _index(document)
        item = self._items.get(index)
        if item is None:
            if len(self._items) >= _ITEMS_MAX:
                raise ValueError("too many items")
            item = self._items[index] = _Item(kind)
        return item

    def _added(self, document: dict[str, Any]) -> Iterator[Event]:
        fields = document.get("item")
        if not isinstance(fields, dict):
            return
        kind = text_of(fields.get("type"))
        known = len(self._items)
        item = self._item(document, kind)
        if len(self._items) == known:
            return
        kept = native({"added": fields, "index": _index(document)}) if self.natives else None
        if kind in _CALLS:
            item.call = self._calls
            self._calls += 1
            call_id = text_of(fields.get("call_id")) or text_of(fields.get("id"))
            if kind != "function_call":
                kept = native({"type": "custom", **(kept.fields if kept else {})})
            name = text_of(fields.get("name"))
            yield ToolCallBegin(item.call, call_id, name, native=kept)
        elif kept is not None:
            yield NativeEvent(kept, kind)

    def _part(self, item: _Item, index: object) -> _Part:
        number = index if isinstance(index, int) else 0
        part = item.parts.get(number)
        if part is None:
            if len(item.parts) >= _ITEMS_MAX:
                raise ValueError("too many parts")
            part = item.parts[number] = _Part(self._chars)
        return part

    def _text(self, document: dict[str, Any]) -> Iterator[Event]:
        item = self._item(document, "message")
        part = self._part(item, document.get("content_index"))
        part.streamed = True
        yield from self._told(text_of(document.get("delta")), document.get("logprobs"))

    def _told(self, text: str, logprobs: object) -> Iterator[Event]:
        if text:
            self._chars += len(text)
            yield TextDelta(text)
        if logprobs and (tokens := read_logprobs(logprobs)):
            yield LogprobsDelta(tokens)

    def _refusal(self, document: dict[str, Any]) -> Iterator[Event]:
        item = self._item(document, "message")
        self._part(item, document.get("content_index")).streamed = True
        if text := text_of(document.get("delta")):
            yield RefusalDelta(text)

    def _reasoning(self, document: dict[str, Any]) -> Iterator[Event]:
        item = self._item(document, "reasoning")
        if text := text_of(document.get("delta")):
            item.streamed = True
            yield ReasoningDelta(text)

    def _summary(self, document: dict[str, Any]) -> Iterator[Event]:
        """Another paragraph of a summary."""
        if self._item(document, "reasoning").streamed:
            yield ReasoningDelta(_BETWEEN_SUMMARIES)

    def _known(self, document: Mapping[str, Any]) -> _Item | None:
        index = document.get("output_index")
        return self._items.get(index) if isinstance(index, int) else None

    def _arguments(self, document: dict[str, Any]) -> Iterator[Event]:
        item, text = self._known(document), text_of(document.get("delta"))
        if text and item is not None and item.kind in _CALLS and not item.done:
            item.streamed = True
            yield ToolCallDelta(item.call, text)

    def _annotation(self, document: dict[str, Any]) -> Iterator[Event]:
        part = self._part(self._item(document, "message"), document.get("content_index"))
        part.citations += 1
        yield from self._cited(document.get("annotation"), part)

    def _cited(self, annotation: object, part: _Part) -> Iterator[Event]:
        if not isinstance(annotation, dict):
            return
        start, end = annotation.get("start_index"), annotation.get("end_index")
        title = text_of(annotation.get("title")) or text_of(annotation.get("filename"))
        yield Citation(
            url=text_of(annotation.get("url")) or None,
            title=title or None,
            start=part.start + start if isinstance(start, int) else None,
            end=part.start + end if isinstance(end, int) else None,
            native=native({"annotation": annotation}) if self.natives else None,
        )

    def _read_other(self, kind: str, document: dict[str, Any]) -> Iterator[Event]:
        """A provider's own tool at work: some of it is text that the model has written."""
        text = ""
        if kind in _GENERATED:
            text = text_of(document.get("delta"))
            if text and (item := self._known(document)) is not None:
                item.streamed = True
        if self.natives or text:
            fields = {"event": document} if self.natives and kind.startswith("response.") else {}
            yield NativeEvent(native(fields), kind, generated=text)

    def _done(self, document: dict[str, Any]) -> Iterator[Event]:
        """The item whole: what of it has not come yet, and that it has ended."""
        fields = document.get("item")
        if not isinstance(fields, dict):
            return
        yield from self._added(document)
        item = self._item(document, "")
        if item.done:
            return
        item.done = True
        match item.kind:
            case "message":
                yield from self._rest_of_message(item, fields)
            case "reasoning":
                yield from _rest_of_reasoning(item, fields)
            case "function_call" | "custom_tool_call" if not item.streamed:
                name = "arguments" if item.kind == "function_call" else "input"
                if text := text_of(fields.get(name)):
                    yield ToolCallDelta(item.call, text)
            case "image_generation_call" if data := text_of(fields.get("result")):
                mime_type = f"image/{text_of(fields.get('output_format')) or 'png'}"
                yield MediaDelta("image", mime_type, data, native=native({}))
        text = "" if item.streamed else generated_text(item.kind, fields)
        if self.natives or text:
            kept = {"done": fields, "index": _index(document)} if self.natives else {}
            yield NativeEvent(native(kept), item.kind, generated=text)
        if item.kind in _BLOCKS:
            yield BlockEnd()

    def _item_ended(self, document: dict[str, Any]) -> Iterator[Event]:
        """As `_done`. What the provider charges for a call of a tool of its own is reported at
        once: the answer may go no further."""
        yield from self._done(document)
        fields = dict_of(document.get("item"))
        if fields.get("type") in CHARGED and len(self._charged) < _ITEMS_MAX:
            kept = {name: fields.get(name) for name in ("type", "status", "container_id")}
            self._charged.append(kept)
            more = called_units(self._charged, self._said, self.repeated)
            yield UsageReport(Usage(more=more, unsaid=unsaid(None, None)))

    def _rest_of_message(self, item: _Item, fields: dict[str, Any]) -> Iterator[Event]:
        for index, content in enumerate(dicts(fields.get("content"))):
            part = self._part(item, index)
            if not part.streamed:
                yield from self._told(text_of(content.get("text")), content.get("logprobs"))
                if refusal := text_of(content.get("refusal")):
                    yield RefusalDelta(refusal)
            annotations = content.get("annotations")
            if isinstance(annotations, list):
                for annotation in annotations[part.citations :]:
                    yield from self._cited(annotation, part)

    def _end(self, document: dict[str, Any]) -> Iterator[Event]:
        response = dict_of(document.get("response"))
        yield from self._begin(document)
        alone = not self._items
        for index, fields in enumerate(dicts(response.get("output"))):
            item = self._items.get(index)
            if alone or (item is not None and not item.done):
                yield from self._done({"output_index": index, "item": fields})
        self.ended = True
        kept = native({"response": response}) if self.natives else None
        yield Finish(self._reason(response), native=kept)
        if (usage := read_usage(response, self.repeated)) is not None:
            tier = TIERS.get(text_of(response.get("service_tier")))  # `auto` is decided by now
            yield UsageReport(usage, service_tier=tier)

    def _reason(self, response: dict[str, Any]) -> FinishReason:
        match response.get("status"):
            case "completed":
                return FinishReason.TOOL_CALLS if self._calls else FinishReason.STOP
            case "incomplete":
                reason = text_of(dict_of(response.get("incomplete_details")).get("reason"))
                return _INCOMPLETE.get(reason, FinishReason.OTHER)
            case _:
                return FinishReason.OTHER


def _index(document: Mapping[str, Any]) -> int:
    index = document.get("output_index")
    return index if isinstance(index, int) else 0


def _rest_of_reasoning(item: _Item, fields: dict[str, Any]) -> Iterator[Event]:
    if not item.streamed:
        texts = [text_of(part.get("text")) for part in dicts(fields.get("summary"))]
        if not any(texts):
            texts = [text_of(part.get("text")) for part in dicts(fields.get("content"))]
        if text := _BETWEEN_SUMMARIES.join(filter(None, texts)):
            item.streamed = True
            yield ReasoningDelta(text)
    secret = text_of(fields.get("encrypted_content"))
    if secret and secret != sign(None):
        signature = Signature(NAME, secret)
        if item.streamed:
            yield ReasoningDelta("", signature=signature)
        else:
            yield RedactedReasoning(signature)


_CALLS = frozenset({"function_call", "custom_tool_call"})
_BLOCKS = frozenset({"message", "reasoning", "function_call", "custom_tool_call"})
_GENERATED = frozenset(
    {
        "response.code_interpreter_call_code.delta",
        "response.mcp_call_arguments.delta",
        "response.apply_patch_call_operation_diff.delta",
        "response.shell_call_command.delta",
    }
)
"""Deltas of what the model writes for a provider's tool."""

_HANDLERS: dict[str, Callable[[AnswerReader, dict[str, Any]], Iterator[Event]]] = {
    "response.created": AnswerReader._begin,
    "response.in_progress": AnswerReader._begin,
    "response.queued": AnswerReader._begin,
    "response.output_item.added": AnswerReader._added,
    "response.output_item.done": AnswerReader._item_ended,
    "response.output_text.delta": AnswerReader._text,
    "response.output_text.annotation.added": AnswerReader._annotation,
    "response.refusal.delta": AnswerReader._refusal,
    "response.reasoning_summary_part.added": AnswerReader._summary,
    "response.reasoning_summary_text.delta": AnswerReader._reasoning,
    "response.reasoning_text.delta": AnswerReader._reasoning,
    "response.function_call_arguments.delta": AnswerReader._arguments,
    "response.custom_tool_call_input.delta": AnswerReader._arguments,
    "response.completed": AnswerReader._end,
    "response.incomplete": AnswerReader._end,
}
