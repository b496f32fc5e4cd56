"""What has gone out of an answer: its items so far, and every way in which it can end.

Both ways to a client keep it: the encoder, which makes the stream, and the verbatim decoder, which
reads along. The final object holds everything again, so it has to be kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from engine.errors import GatewayError
from engine.events import Usage
from engine.protocols.openai_responses.errors import error_event, failure
from engine.protocols.openai_responses.usage import encode_usage
from engine.wire.sse import EventTooLargeError

_KEPT_MAX_CHARS = 64 * 1024 * 1024

OUTPUT_TEXT = "output_text"
REFUSAL = "refusal"
SUMMARY = "summary_text"
REASONING_TEXT = "reasoning_text"

# Of each kind of part: the list that holds it, the name of its index, of its text, and the events
# that say its text and itself whole.
_PARTS: dict[str, tuple[str, str, str, str, str]] = {
    OUTPUT_TEXT: (
        "content", "content_index", "text",
        "response.output_text.done", "response.content_part.done",
    ),
    REFUSAL: (
        "content", "content_index", "refusal",
        "response.refusal.done", "response.content_part.done",
    ),
    REASONING_TEXT: (
        "content", "content_index", "text",
        "response.reasoning_text.done", "response.content_part.done",
    ),
    SUMMARY: (
        "summary", "summary_index", "text",
        "response.reasoning_summary_text.done", "response.reasoning_summary_part.done",
    ),
}  # fmt: skip

_TEXTS: dict[str, tuple[str, str]] = {
    "function_call": ("arguments", "response.function_call_arguments.done"),
    "custom_tool_call": ("input", "response.custom_tool_call_input.done"),
    "mcp_call": ("arguments", "response.mcp_call_arguments.done"),
    "code_interpreter_call": ("code", "response.code_interpreter_call_code.done"),
}
"""Items that are told as one text: its name, and the event that says it whole."""


@dataclass(slots=True)
class Part:
    """A part of an item.

    Attributes:
        start: where it begins in the text of the answer.
        said: its text has been said whole.
    """

    kind: str
    index: int
    start: int = 0
    texts: list[str] = field(default_factory=list)
    annotations: list[Any] = field(default_factory=list)
    logprobs: list[Any] = field(default_factory=list)
    said: bool = False
    done: bool = False

    def encode(self) -> dict[str, Any]:
        """The part as it is now."""
        name = _PARTS[self.kind][2]
        part: dict[str, Any] = {"type": self.kind, name: "".join(self.texts)}
        if self.kind == OUTPUT_TEXT:
            part |= {"annotations": self.annotations, "logprobs": self.logprobs}
        return part


@dataclass(slots=True)
class OpenItem:
    """An item that is being told; `fields` are those it was added with.

    Attributes:
        texts: of an item that is one text (`_TEXTS`).
        said: that text has been said whole.
        native: it is told as its provider told it, and ends when that says so.
    """

    index: int
    fields: dict[str, Any]
    parts: list[Part] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    said: bool = False
    native: bool = False

    @property
    def kind(self) -> str:
        """Its type."""
        kind = self.fields.get("type")
        return kind if isinstance(kind, str) else ""

    @property
    def id(self) -> str:
        """Its id."""
        return str(self.fields.get("id") or "")

    @property
    def place(self) -> dict[str, Any]:
        """What its events say of where they belong."""
        return {"item_id": self.id, "output_index": self.index}

    def part(self, kind: str, index: int) -> Part | None:
        """One of its parts."""
        list_name = _PARTS[kind][0]
        for part in self.parts:
            if part.index == index and _PARTS[part.kind][0] == list_name:
                return part
        return None

    def encode(self, status: str) -> dict[str, Any]:
        """The item as it has ended."""
        item = dict(self.fields)
        if "status" in item:
            item["status"] = status
        for part in self.parts:
            name = _PARTS[part.kind][0]
            if item.get(name) is self.fields.get(name):
                item[name] = []
            item[name].append(part.encode())
        if self.kind in _TEXTS and self.texts:
            item[_TEXTS[self.kind][0]] = "".join(self.texts)
        return item


class Output:
    """The items, the numbers and the endings of one answer.

    Attributes:
        response: the answer's object as it began, without its output.
        sequence: the number of the next event.
        open: items by their place, those that have not ended.
    """

    def __init__(self) -> None:
        self.response: dict[str, Any] = {}
        self.sequence = 0
        self.open: dict[int, OpenItem] = {}
        self._ended: dict[int, dict[str, Any]] = {}
        self._kept_chars = 0

    @property
    def next_index(self) -> int:
        """The place of the next item."""
        return max((*self.open, *self._ended), default=-1) + 1

    @property
    def items(self) -> list[dict[str, Any]]:
        """The items that have ended."""
        return [self._ended[index] for index in sorted(self._ended)]

    def go_on_from(self, sent: Output) -> None:
        """Take the place of another one, which has come this far and goes no further."""
        self.response, self.sequence, self.open = sent.response, sent.sequence, sent.open
        self._ended, self._kept_chars = sent._ended, sent._kept_chars

    def keep(self, texts: list[str], text: str) -> None:
        """Keep a piece for the final object.

        Raises:
            EventTooLargeError: that would hold more than it may.
        """
        self._kept_chars += len(text)
        if self._kept_chars > _KEPT_MAX_CHARS:
            raise EventTooLargeError(f"the answer is longer than {_KEPT_MAX_CHARS} characters")
        texts.append(text)

    def frame(self, kind: str, fields: Mapping[str, Any]) -> bytes:
        """One event, with the next number."""
        document = {"type": kind, "sequence_number": self.sequence, **fields}
        self.sequence += 1
        return b"event: %b\ndata: %b\n\n" % (kind.encode("ascii", "replace"), _dump(document))

    def begin(self) -> bytes:
        """The first two events."""
        response = self.response | {"output": []}
        return b"".join(
            self.frame(kind, {"response": response})
            for kind in ("response.created", "response.in_progress")
        )

    def add(self, item: OpenItem) -> bytes:
        """An item begins."""
        self.open[item.index] = item
        return self.frame(
            "response.output_item.added", {"output_index": item.index, "item": item.fields}
        )

    def close_part(self, item: OpenItem, part: Part) -> bytes:
        """A part ends: its text whole, then itself."""
        part.done = True
        _, index_name, text_name, text_event, part_event = _PARTS[part.kind]
        place = item.place | {index_name: part.index}
        whole = part.encode()
        text: dict[str, Any] = {text_name: whole[text_name]}
        if part.kind == OUTPUT_TEXT:
            text["logprobs"] = part.logprobs
        said = b"" if part.said else self.frame(text_event, place | text)
        return said + self.frame(part_event, place | {"part": whole})

    def close(self, item: OpenItem, status: str, final: dict[str, Any] | None = None) -> bytes:
        """An item ends, with all that is open in it; `final` is it as its provider said it."""
        out = [self.close_part(item, part) for part in item.parts if not part.done]
        whole = item.encode(status) if final is None else final
        if item.kind in _TEXTS and not item.said:
            name, event = _TEXTS[item.kind]
            text = whole.get(name)
            if isinstance(text, str):
                out.append(self.frame(event, item.place | {name: text}))
        out.append(
            self.frame("response.output_item.done", {"output_index": item.index, "item": whole})
        )
        self.ended(item.index, whole)
        return b"".join(out)

    def ended(self, index: int, whole: dict[str, Any]) -> None:
        """An item has ended."""
        self.open.pop(index, None)
        self._ended[index] = whole

    def close_all(self, status: str) -> bytes:
        """All that is open ends."""
        return b"".join(self.close(self.open[index], status) for index in sorted(self.open))

    def end(self, final: Mapping[str, Any]) -> bytes:
        """The terminal event; `final` are the fields of the object that are not as they began."""
        response = self.final(final)
        return self.frame(f"response.{response.get('status')}", {"response": response})

    def final(self, final: Mapping[str, Any]) -> dict[str, Any]:
        """The whole answer."""
        said = {name: value for name, value in final.items() if name != "output" or value}
        return self.response | {"output": self.items} | said

    def cut(self, usage: Usage) -> bytes:
        """A valid early ending: what is open is closed, then the length reason and usage."""
        return self.close_all("incomplete") + self.end(
            {
                "status": "incomplete",
                "incomplete_details": {"reason": "max_output_tokens"},
                "usage": encode_usage(usage),
            }
        )

    def fail(self, error: GatewayError) -> bytes:
        """The ending of an answer that has failed: the error, and the object with it."""
        return self.frame("error", {"error": error_event(error)}) + self.end(
            {"status": "failed", "error": failure(error)}
        )


def _dump(document: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(document)
    except orjson.JSONEncodeError:
        raise EventTooLargeError("an event is nested too deeply") from None
