"""The items of an answer as it is composed: one message or thought at a time, part after part."""

from __future__ import annotations

from typing import Any

import orjson

from engine.protocols.openai_responses.marks import item_id, sign
from engine.protocols.openai_responses.output import (
    OUTPUT_TEXT,
    SUMMARY,
    OpenItem,
    Output,
    Part,
)

MESSAGE: dict[str, Any] = {
    "type": "message", "status": "in_progress", "content": [], "role": "assistant",
}  # fmt: skip
REASONING: dict[str, Any] = {"type": "reasoning", "summary": []}


class Composer(Output):
    """An output whose items begin and end as their texts come; every method gives the events.

    Attributes:
        current: the message or the reasoning that is being told.
        text: the text part that is open.
    """

    def __init__(self) -> None:
        super().__init__()
        self.current: OpenItem | None = None
        self.text: Part | None = None
        self._place = b""
        """What stands in front of the deltas of `text`."""
        self._chars = 0

    @classmethod
    def resumed(cls, sent: Output, chars: int) -> Composer | None:
        """An output in the place of another one, which has told so much text: it goes on in the
        part that is open, or behind what has ended. None where a text has been said whole and its
        item has not, and where something else is being told."""
        composer = cls()
        composer.go_on_from(sent)
        composer._chars = chars
        if not sent.open:
            return composer
        item = sent.open[max(sent.open)]
        if len(sent.open) > 1 or item.kind != "message":
            return None
        composer.current = item
        if item.parts:
            part = item.parts[-1]
            if part.kind != OUTPUT_TEXT or part.said or part.done:
                return None
            composer._open_text(item, part)
        return composer

    def begin_item(self, fields: dict[str, Any], *, native: bool = False) -> tuple[OpenItem, bytes]:
        """An item is added; its id is ours, unless it is told as its provider told it."""
        index = self.next_index
        if not native:
            answer_id = str(self.response["id"])
            fields = {"id": item_id(fields["type"], answer_id, index), **fields}
        item = OpenItem(index, fields, native=native)
        return item, self.add(item)

    def enter(self, fields: dict[str, Any]) -> tuple[OpenItem, bytes]:
        """The open item of this kind, or a new one; another one that is being told ends."""
        current = self.current
        if current is not None and current.kind == fields["type"]:
            return current, b""
        out = self.leave()
        self.current, added = self.begin_item(fields)
        return self.current, out + added

    def leave(self, status: str = "completed") -> bytes:
        """What is being told ends; a thought without a secret is marked as one."""
        current, self.current, self.text = self.current, None, None
        if current is None or current.native:
            return b""
        if current.kind == "reasoning" and "encrypted_content" not in current.fields:
            current.fields = current.fields | {"encrypted_content": sign(None)}
        return self.close(current, status)

    def enter_part(self, item: OpenItem, kind: str) -> tuple[Part, bytes]:
        """The part that is being told, if it is of this kind, or another one after it."""
        last = item.parts[-1] if item.parts else None
        if last is not None and last.kind == kind:
            return last, b""
        out = b"" if last is None else self.close_part(item, last)
        part = Part(kind, len(item.parts), self._chars)
        item.parts.append(part)
        index, event = (
            ("summary_index", "response.reasoning_summary_part.added")
            if kind == SUMMARY
            else ("content_index", "response.content_part.added")
        )
        added = item.place | {index: part.index, "part": part.encode()}
        self.text = None
        return part, out + self.frame(event, added)

    def enter_text(self) -> bytes:
        """A text part is open."""
        if self.text is not None:
            return b""
        item, out = self.enter(MESSAGE)
        part, added = self.enter_part(item, OUTPUT_TEXT)
        self._open_text(item, part)
        return out + added

    def _open_text(self, item: OpenItem, part: Part) -> None:
        place = item.place | {"content_index": part.index}
        self.text = part
        self._place = b"," + orjson.dumps(place)[1:-1] + b',"delta":'

    def tell(self, text: str, logprobs: list[Any]) -> bytes:
        """By far the most frequent event: only its number and its text are written anew."""
        assert self.text is not None
        self._chars += len(text)
        self.keep(self.text.texts, text)
        number = self.sequence
        self.sequence += 1
        return (
            b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta",'
            b'"sequence_number":%d%b%b,"logprobs":%b}\n\n'
            % (
                number,
                self._place,
                orjson.dumps(text),
                orjson.dumps(logprobs) if logprobs else b"[]",
            )
        )
