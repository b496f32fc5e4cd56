"""Canonical events to a Gemini client's stream, or to a whole answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from engine.events import Begin, Event, Finish, Usage
from engine.protocols.codec import ClientRequest, Identity
from engine.protocols.gemini.answer_writer import AnswerWriter, Piece
from engine.protocols.gemini.chunks import empty_content, frame, length_chunk
from engine.protocols.gemini.signatures import own_fields
from engine.protocols.gemini.spelling import dump_json


class GeminiEncoder:
    """Implements `codec.StreamEncoder`: one chunk a piece, calls whole, the end in `finish`."""

    def __init__(self, request: ClientRequest, identity: Identity) -> None:
        self._array = request.array
        self._choices = request.choices
        self._identity = identity
        self._writer = AnswerWriter()
        self._first = True

    @classmethod
    def resumed(
        cls, request: ClientRequest, identity: Identity, begin: Begin, text: str
    ) -> GeminiEncoder:
        """For an answer that has begun so, and so much text of which has gone out."""
        encoder = cls(request, identity)
        encoder._first = False
        encoder._writer.go_on_from(begin, text)
        return encoder

    @property
    def holding(self) -> bool:
        """A call waits for the rest of its arguments."""
        return self._writer.holding

    def encode(self, event: Event) -> bytes:
        """The chunks of an event, or nothing."""
        return b"".join(map(self._chunk, self._writer.write(event)))

    def _names(self) -> dict[str, Any]:
        return _names(self._writer.begin, self._identity)

    def _chunk(self, piece: Piece) -> bytes:
        if piece.choice is None:
            return self._frame(piece.fields)
        content = (
            empty_content() if piece.part is None else {"parts": [piece.part], "role": "model"}
        )
        return self._frame(
            {"candidates": [{"content": content, "index": piece.choice} | piece.fields]}
        )

    def _frame(self, chunk: dict[str, Any]) -> bytes:
        first, self._first = self._first, False
        return frame(chunk | self._names(), array=self._array, first=first)

    def _flush(self, *, cut: bool) -> list[bytes]:
        pieces = (self._writer.flush(index, cut=cut) for index in sorted(self._writer.choices))
        return [self._chunk(piece) for found in pieces for piece in found]

    def finish(self) -> bytes:
        """Calls that wait, and one chunk with every end and usage."""
        out = self._flush(cut=False)
        ends, last = self._writer.ending()
        candidates = [
            {"content": empty_content()} | end | {"index": index} for index, end in ends.items()
        ]
        out.append(self._frame(({"candidates": candidates} if candidates else {}) | last))
        return b"".join(out) + self._closing()

    def cut(self, usage: Usage) -> bytes:
        """A valid early ending; a call whose arguments are not whole is left out."""
        out = self._flush(cut=True)
        choices = self._writer.choices
        ended = [index for index, choice in choices.items() if choice.finish is not None]
        for index in sorted(ended):
            out.append(self._chunk(Piece(index, fields=self._writer.candidate_end(index))))
        open_choices = sorted({*range(self._choices), *choices}.difference(ended))
        out.append(self._frame(length_chunk(open_choices, usage, {})))
        return b"".join(out) + self._closing()

    def _closing(self) -> bytes:
        return b"]" if self._array else b""


def encode_response(events: Sequence[Event], request: ClientRequest, identity: Identity) -> bytes:
    """A whole answer."""
    writer = AnswerWriter()
    pieces = [piece for event in events for piece in writer.write(event)]
    for index in sorted(writer.choices):
        pieces += writer.flush(index)
    begin = writer.begin
    answer: dict[str, Any] = {}
    ends, last = writer.ending()
    contents = _contents(pieces, answer)
    candidates = [
        _candidate(writer.choices[index].finish, index, *contents.get(index, ([], {})), end)
        for index, end in ends.items()
    ]
    kept = (own_fields(begin.native) if begin is not None else None) or {}
    if candidates or kept.get("no_candidates"):
        answer = {"candidates": candidates} | answer
    answer |= last | _names(begin, identity)
    return dump_json(answer)


def _names(begin: Begin | None, identity: Identity) -> dict[str, Any]:
    """What every chunk says of its answer. Gemini's own answers say what they said."""
    own = begin is not None and own_fields(begin.native) is not None
    model = (begin.model if begin is not None else None) or (None if own else identity.model)
    answer_id = (begin.id if begin is not None else None) or (None if own else identity.id)
    return ({"modelVersion": model} if model else {}) | (
        {"responseId": answer_id} if answer_id else {}
    )


_Content = tuple[list[dict[str, Any]], dict[str, Any]]


def _contents(pieces: Iterable[Piece], answer: dict[str, Any]) -> dict[int, _Content]:
    """Parts and fields of each candidate; texts that go on are one part."""
    contents: dict[int, _Content] = {}
    for piece in pieces:
        if piece.choice is None:
            answer |= piece.fields
            continue
        parts, fields = contents.setdefault(piece.choice, ([], {}))
        fields |= piece.fields
        if piece.part is None:
            continue
        if piece.joins and parts and _goes_on(parts[-1], piece.part):
            parts[-1] = parts[-1] | piece.part | {"text": parts[-1]["text"] + piece.part["text"]}
        else:
            parts.append(piece.part)
    return contents


def _goes_on(before: dict[str, Any], part: dict[str, Any]) -> bool:
    """Whether a text is of the same part as the one before it: a signature ends one."""
    return (
        "text" in before
        and before.get("thought") == part.get("thought")
        and "thoughtSignature" not in before
    )


def _candidate(
    finish: Finish | None,
    index: int,
    parts: list[dict[str, Any]],
    fields: dict[str, Any],
    end: dict[str, Any],
) -> dict[str, Any]:
    layout = ((own_fields(finish.native) if finish is not None else None) or {}).get("layout")
    if layout is None:
        content: dict[str, Any] | None = {"parts": parts, "role": "model"}
        number: Any = index
    else:
        content = layout.get("content")
        number = layout["index"]
        if content is not None and (parts or layout["parts"]):
            content = {"parts": parts} | content
    return (
        ({} if content is None else {"content": content})
        | end
        | fields
        | ({} if number is None else {"index": number})
    )
