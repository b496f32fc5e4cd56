"""Where an answer names its sources (`[2]`), as each protocol says it. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from engine.agent import Cited
from engine.conversation import Native
from engine.events import Citation
from engine.file_ids import shown_file_id

_MARK: Final = re.compile(r"\[(\d{1,3})\]")
_MARK_MAX_CHARS: Final = 5
_CITATIONS_MAX: Final = 64


class Marks:
    """Reads the text of one answer, piece by piece, for marks of its sources."""

    def __init__(self, sources: Sequence[Cited], protocol: str, origin: str) -> None:
        self._sources = {source.number: source for source in sources}
        self._shape = _SHAPES.get(protocol, _by_address)
        self._origin = origin
        self._tail = ""
        """What of a mark may have come."""
        self._left = _CITATIONS_MAX

    def read(self, text: str, end: int) -> list[Citation]:
        """The sources that are named by what ends with this text, which ends at this character of
        the answer."""
        if not self._sources:
            return []
        text = self._tail + text
        start, found = end - len(text), []
        behind = 0
        for match in _MARK.finditer(text):
            behind = match.end()
            source = self._sources.get(int(match[1]))
            if source is not None and self._left:
                self._left -= 1
                at = (start + match.start(), start + match.end())
                found.append(self._shape(source, at, self._origin))
        opening = text.rfind("[", behind)
        self._tail = text[opening:] if opening >= max(behind, len(text) - _MARK_MAX_CHARS) else ""
        return found


Place = tuple[int, int]


def _by_address(source: Cited, at: Place, origin: str) -> Citation:
    """As a page: in chat completions sources have addresses; this one takes the account's key."""
    file_id = shown_file_id(source.file_id, "openai")
    place = f"passage={source.passage}&start={source.start}&end={source.end}"
    return Citation(
        url=f"{origin}/v1/files/{file_id}/content#{place}",
        title=source.filename,
        cited_text=source.text,
        start=at[0],
        end=at[1],
    )


def _of_responses(source: Cited, at: Place, origin: str) -> Citation:
    annotation = {
        "type": "file_citation",
        "file_id": shown_file_id(source.file_id, "openai"),
        "filename": source.filename,
        "index": at[0],
    }
    native = Native("openai_responses", {"annotation": annotation})
    return Citation(title=source.filename, cited_text=source.text, native=native)


def _of_anthropic(source: Cited, at: Place, origin: str) -> Citation:
    citation = {
        "type": "char_location",
        "cited_text": source.text,
        "document_index": source.number - 1,
        "document_title": source.filename,
        "file_id": shown_file_id(source.file_id, "anthropic"),
        "start_char_index": source.start,
        "end_char_index": source.end,
    }
    native = Native("anthropic", {"citation": citation})
    return Citation(title=source.filename, cited_text=source.text, native=native)


def _of_gemini(source: Cited, at: Place, origin: str) -> Citation:
    title = f"{source.filename}, passage {source.passage}, {source.start}-{source.end}"
    return Citation(title=title, cited_text=source.text, start=at[0], end=at[1])


_SHAPES: Final[Mapping[str, Callable[[Cited, Place, str], Citation]]] = {
    "openai_responses": _of_responses,
    "anthropic": _of_anthropic,
    "gemini": _of_gemini,
}
