"""The text of a file, and the passages that it is looked up by. Pure.

Text is what decodes as such: plain text, Markdown, CSV, JSON, source code; of HTML what a reader
sees. Whatever needs a parser of its own for a binary format is refused.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from engine.agents.hypertext import seen_text
from engine.errors import InvalidRequestError

PASSAGE_CHARS: Final = 1_200
"""About 300 tokens: a few paragraphs, so that several of a file fit into a prompt."""
_OVERLAP_CHARS: Final = 150
"""What a passage begins with of the one before: a sentence that stands across two is in one."""
_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BINARY: Final = (
    (b"%PDF-", "a PDF"),
    (b"PK\x03\x04", "a ZIP archive, as Word, Excel and PowerPoint write"),
    (b"\xd0\xcf\x11\xe0", "an Office document"),
    (b"{\\rtf", "rich text"),
)
_ENDS: Final = (
    re.compile(r"\n\s*\n"),
    re.compile(r"\n"),
    re.compile(r"[.!?]\s"),
    re.compile(r"\s"),
)
"""Where a passage may end, the best places first."""


class UnreadableFileError(InvalidRequestError):
    """A file has no text that could be looked up (400)."""

    code = "file_not_readable"


@dataclass(frozen=True, slots=True)
class Passage:
    """A stretch of a file's text, in characters from `start` to `end`; `number` counts from 1."""

    number: int
    start: int
    end: int
    text: str


def text_of(data: bytes, mime_type: str, filename: str) -> str:
    """The text of a file.

    >>> text_of(b"<p>One</p><script>two()</script><p>Three", "text/html", "a.html").split()
    ['One', 'Three']

    Raises:
        UnreadableFileError: it is of a kind that none is read of; in words for its owner.
    """
    for mark, kind in _BINARY:
        if data.startswith(mark):
            raise UnreadableFileError(
                f"'{filename[:100]}' is {kind}, which is not read here: store its text (plain, "
                "Markdown, HTML, CSV or JSON) and name that file."
            )
    encoding = next((name for bom, name in _BOMS if data.startswith(bom)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise UnreadableFileError(
            f"'{filename[:100]}' is not text in UTF-8 (or UTF-16 with its mark)."
        )
    if "html" in mime_type or filename.lower().endswith((".html", ".htm", ".xhtml")):
        return seen_text(text)
    return text


def passages_of(text: str) -> Iterator[Passage]:
    """The text in passages that overlap a little; those without a word are left out.

    >>> [(p.number, p.start, p.end) for p in passages_of("A b. " * 400)]
    [(1, 0, 1200), (2, 1050, 2000)]
    """
    start, number = 0, 0
    while start < len(text):
        end = _end_of(text, start)
        piece = text[start:end]
        if not piece.isspace():
            number += 1
            yield Passage(number, start, end, piece)
        if end >= len(text):
            return
        start = _start_behind(text, start, end)


def _end_of(text: str, start: int) -> int:
    most = start + PASSAGE_CHARS
    if most >= len(text):
        return len(text)
    least = start + PASSAGE_CHARS // 2
    for ends in _ENDS:
        found = [match.end() for match in ends.finditer(text, least, most)]
        if found:
            return found[-1]
    return most


def _start_behind(text: str, start: int, end: int) -> int:
    """Where the next one begins: at a word, a little before the end of the last."""
    at = max(start + 1, end - _OVERLAP_CHARS)
    found = re.compile(r"\s").search(text, at, end)
    return at if at == start + 1 or found is None or text[at - 1].isspace() else found.end()
