"""Reads along the events of a stream that passes untouched, so that it can be ended at any time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.protocols.fields import dict_of, text_of
from engine.protocols.openai_responses.output import (
    OUTPUT_TEXT,
    REASONING_TEXT,
    REFUSAL,
    SUMMARY,
    OpenItem,
    Output,
    Part,
)

_PART_KINDS = frozenset({OUTPUT_TEXT, REFUSAL, SUMMARY, REASONING_TEXT})
_ITEMS_MAX = 4_096


class Tracker(Output):
    """What has gone out of a stream, by its own events."""

    def track(self, document: dict[str, Any]) -> None:
        """One more event has gone out.

        Raises:
            EventTooLargeError: the answer is longer than may be kept.
        """
        number = document.get("sequence_number")
        self.sequence = number + 1 if isinstance(number, int) else self.sequence + 1
        handler = _TRACKERS.get(text_of(document.get("type")))
        if handler is not None:
            handler(self, document)

    def _begin(self, document: dict[str, Any]) -> None:
        self.response = dict_of(document.get("response"))

    def _added(self, document: dict[str, Any]) -> None:
        index, fields = document.get("output_index"), document.get("item")
        if isinstance(index, int) and isinstance(fields, dict) and len(self.open) < _ITEMS_MAX:
            self.open[index] = OpenItem(index, fields)

    def _done(self, document: dict[str, Any]) -> None:
        index, fields = document.get("output_index"), document.get("item")
        if isinstance(index, int) and isinstance(fields, dict):
            self.ended(index, fields)

    def _item(self, document: dict[str, Any]) -> OpenItem | None:
        index = document.get("output_index")
        return self.open.get(index) if isinstance(index, int) else None

    def _part_added(self, document: dict[str, Any]) -> None:
        item, part = self._item(document), dict_of(document.get("part"))
        index = document.get("summary_index", document.get("content_index"))
        kind = text_of(part.get("type"))
        if item is not None and isinstance(index, int) and kind in _PART_KINDS:
            item.parts.append(Part(kind, index))

    def _part_of(self, document: dict[str, Any], kind: str) -> Part | None:
        item = self._item(document)
        index = document.get("summary_index", document.get("content_index"))
        if item is None or not isinstance(index, int):
            return None
        part = item.part(kind, index)
        if part is None and len(item.parts) < _ITEMS_MAX:  # it was not announced
            part = Part(kind, index)
            item.parts.append(part)
        return part

    def _part_done(self, document: dict[str, Any]) -> None:
        kind = text_of(dict_of(document.get("part")).get("type"))
        if kind in _PART_KINDS and (part := self._part_of(document, kind)) is not None:
            part.done = True

    def _said(self, document: dict[str, Any], kind: str) -> None:
        if (part := self._part_of(document, kind)) is not None:
            part.said = True

    def _told(self, document: dict[str, Any], kind: str) -> None:
        if (part := self._part_of(document, kind)) is not None:
            self.keep(part.texts, text_of(document.get("delta")))
            logprobs = document.get("logprobs")
            if isinstance(logprobs, list):
                part.logprobs += logprobs

    def _annotated(self, document: dict[str, Any]) -> None:
        if (part := self._part_of(document, OUTPUT_TEXT)) is not None:
            part.annotations.append(document.get("annotation"))

    def _text(self, document: dict[str, Any]) -> None:
        """A piece of an item that is one text."""
        if (item := self._item(document)) is not None:
            self.keep(item.texts, text_of(document.get("delta")))

    def _text_done(self, document: dict[str, Any]) -> None:
        if (item := self._item(document)) is not None:
            item.said = True


def _part(kind: str) -> Callable[[Tracker, dict[str, Any]], None]:
    return lambda tracker, document: tracker._told(document, kind)


def _whole(kind: str) -> Callable[[Tracker, dict[str, Any]], None]:
    return lambda tracker, document: tracker._said(document, kind)


_TRACKERS: dict[str, Callable[[Tracker, dict[str, Any]], None]] = {
    "response.created": Tracker._begin,
    "response.queued": Tracker._begin,
    "response.in_progress": Tracker._begin,
    "response.output_item.added": Tracker._added,
    "response.output_item.done": Tracker._done,
    "response.content_part.added": Tracker._part_added,
    "response.content_part.done": Tracker._part_done,
    "response.reasoning_summary_part.added": Tracker._part_added,
    "response.reasoning_summary_part.done": Tracker._part_done,
    "response.output_text.delta": _part(OUTPUT_TEXT),
    "response.refusal.delta": _part(REFUSAL),
    "response.reasoning_summary_text.delta": _part(SUMMARY),
    "response.reasoning_text.delta": _part(REASONING_TEXT),
    "response.output_text.done": _whole(OUTPUT_TEXT),
    "response.refusal.done": _whole(REFUSAL),
    "response.reasoning_summary_text.done": _whole(SUMMARY),
    "response.reasoning_text.done": _whole(REASONING_TEXT),
    "response.output_text.annotation.added": Tracker._annotated,
    "response.function_call_arguments.delta": Tracker._text,
    "response.custom_tool_call_input.delta": Tracker._text,
    "response.mcp_call_arguments.delta": Tracker._text,
    "response.code_interpreter_call_code.delta": Tracker._text,
    "response.function_call_arguments.done": Tracker._text_done,
    "response.custom_tool_call_input.done": Tracker._text_done,
    "response.mcp_call_arguments.done": Tracker._text_done,
    "response.code_interpreter_call_code.done": Tracker._text_done,
}
