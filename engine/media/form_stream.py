"""multipart/form-data, read as it arrives: files pass through, and nothing of them is held back.

As strict as `engine.media.forms`, whose words and rules these are; any split of the same body has
the same result. What waits here is bounded: the headers of one part, a boundary that may have
begun, and the text of the fields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from engine.errors import InvalidRequestError
from engine.media.forms import (
    AFTER_BOUNDARY,
    PART_HEAD_MAX_BYTES,
    PARTS_MAX,
    Field,
    File,
    boundary_of,
    headers_of,
    part_of,
    wrong_after_boundary,
)

FIELDS_MAX_BYTES: Final = 64 * 1024
"""Of all fields together."""

_PADDED_MAX_BYTES: Final = 66
"""64 spaces or tabs, and the end of its line, may follow a boundary."""
_CRLF: Final = b"\r\n"


@dataclass(frozen=True, slots=True)
class FileBegins:
    """A part that is a file; see `engine.media.forms.File`."""

    name: str
    filename: str
    content_type: str | None


@dataclass(frozen=True, slots=True)
class FileData:
    """Bytes of the file that has begun."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class FileEnds:
    """The file that has begun is complete."""


FormEvent = Field | FileBegins | FileData | FileEnds
PartReader = Callable[[bytes, memoryview, int], Field | File]
"""Of a part's headers, its bytes and its number, which counts from 1. Raises
InvalidRequestError."""


class _Place(Enum):
    """Where in the form the next byte stands."""

    BEFORE = auto()
    """Nothing but what is nobody's (RFC 2046's preamble)."""
    BOUNDARY = auto()
    """Behind a boundary, before the end of its line."""
    HEAD = auto()
    CONTENT = auto()
    AFTER = auto()
    """Behind the last boundary: nobody's, too."""


class FormStream:
    """The parts of one form. Feed it what arrives, and say at the end that this was all.

    Args:
        content_type: of the body. Raises InvalidRequestError: it is no form's.
        kind, read_part: what the body is, and what its parts are.
    """

    def __init__(
        self,
        content_type: str,
        *,
        kind: str = "multipart/form-data",
        read_part: PartReader = part_of,
    ) -> None:
        self._delimiter = _CRLF + b"--" + boundary_of(content_type, kind).encode("ascii")
        self._read_part = read_part
        self._fields_bytes = 0
        # The first boundary may be the body's first bytes: as if an empty line were before it.
        self._waiting = _CRLF
        self._begun = False
        self._place = _Place.BEFORE
        self._parts = 0
        self._head = b""
        self._skipped = 0
        """Of what waits: bytes that belong to the head, and to a boundary that follows at once."""
        self._text: list[bytes] | None = None
        """Of the field under way; None: it is a file."""
        self._steps: dict[_Place, Callable[[], Iterator[FormEvent] | None]] = {
            _Place.BEFORE: self._find_first,
            _Place.BOUNDARY: self._pass_boundary,
            _Place.HEAD: self._read_head,
            _Place.CONTENT: self._read_content,
        }

    def feed(self, data: bytes) -> Iterator[FormEvent]:
        """What has come. It has to be taken whole before there is more.

        Raises:
            InvalidRequestError: it is no such form; the message says which part is wrong, and why.
        """
        self._begun = self._begun or bool(data)
        self._waiting = self._waiting + data if self._waiting else data
        while (step := self._steps.get(self._place)) is not None:
            events = step()
            if events is None:
                return
            yield from events
        self._waiting = b""

    def finish(self) -> None:
        """This was all. Raises InvalidRequestError: it is not all of a form."""
        match self._place:
            case _Place.BEFORE:
                words = (
                    "The boundary of the Content-Type does not stand in the body."
                    if self._begun
                    else "The body is empty, and no form."
                )
            case _Place.BOUNDARY:
                raise wrong_after_boundary(self._waiting, 0, self._parts + 1)
            case _Place.HEAD:
                words = (
                    f"The body ends within the headers of part {self._parts} of the form: it is "
                    "truncated."
                )
            case _Place.CONTENT:
                words = "The body ends before the closing boundary of the form: it is truncated."
            case _Place.AFTER:
                return
        raise InvalidRequestError(words)

    def _find_first(self) -> Iterator[FormEvent] | None:
        found = self._waiting.find(self._delimiter)
        if found < 0:
            self._waiting = self._waiting[self._safe_size() :]
            return None
        return self._at_boundary(found)

    def _at_boundary(self, found: int) -> Iterator[FormEvent]:
        self._waiting = self._waiting[found + len(self._delimiter) :]
        self._place = _Place.BOUNDARY
        return iter(())

    def _pass_boundary(self) -> Iterator[FormEvent] | None:
        after = AFTER_BOUNDARY.match(self._waiting)
        if after is None:
            size = len(self._waiting)
            padded = size < _PADDED_MAX_BYTES and self._waiting.lstrip(b" \t") in (b"", b"\r")
            if padded or size < 2:
                return None
            raise wrong_after_boundary(self._waiting, 0, self._parts + 1)
        self._waiting = self._waiting[after.end() :]
        if after[1]:
            self._place = _Place.AFTER
            return iter(())
        if self._parts == PARTS_MAX:
            raise InvalidRequestError(f"The form has more than {PARTS_MAX} parts.")
        self._parts += 1
        self._place = _Place.HEAD
        return iter(())

    def _read_head(self) -> Iterator[FormEvent] | None:
        if self._waiting.startswith(_CRLF):
            self._head = b""
        elif _CRLF.startswith(self._waiting[:2]):
            return None
        else:
            end = self._waiting.find(b"\r\n\r\n", 0, PART_HEAD_MAX_BYTES + 4)
            if end < 0 and len(self._waiting) > PART_HEAD_MAX_BYTES + 4:
                raise InvalidRequestError(
                    f"The headers of part {self._parts} of the form are longer than "
                    f"{PART_HEAD_MAX_BYTES} bytes."
                )
            if end < 0:
                return None
            self._head = self._waiting[:end]
            if self._delimiter in _CRLF + self._head:
                raise InvalidRequestError(
                    f"The headers of part {self._parts} of the form have no end."
                )
            # The last CRLF of the head may be the one that the next boundary begins with.
            self._waiting = self._waiting[end + 2 :]
        self._skipped = 2
        self._place = _Place.CONTENT
        part = self._read_part(self._head, memoryview(b""), self._parts)
        if isinstance(part, File):
            self._text = None
            return iter((FileBegins(part.name, part.filename, part.content_type),))
        self._text = []
        return iter(())

    def _read_content(self) -> Iterator[FormEvent] | None:
        found = self._waiting.find(self._delimiter)
        end = found if found >= 0 else self._safe_size()
        content = self._waiting[self._skipped : end] if self._skipped < end else b""
        if end:
            self._skipped = 0
        events = list(self._take(content))
        if found < 0:
            self._waiting = self._waiting[end:]
            return iter(events) if events else None
        self._skipped = 0
        events += self._end_part()
        self._at_boundary(found)
        return iter(events)

    def _take(self, content: bytes) -> Iterator[FormEvent]:
        if self._text is None:
            if content:
                yield FileData(content)
            return
        self._fields_bytes += len(content)
        if self._fields_bytes > FIELDS_MAX_BYTES:
            raise InvalidRequestError(
                f"The fields of the form are longer than {FIELDS_MAX_BYTES} bytes."
            )
        self._text.append(content)

    def _end_part(self) -> Iterator[FormEvent]:
        if self._text is None:
            yield FileEnds()
            return
        text, self._text = b"".join(self._text), None
        part = self._read_part(self._head, memoryview(text), self._parts)
        assert isinstance(part, Field), "it was one when its headers had come"
        yield part

    def _safe_size(self) -> int:
        """How much of what waits can be no part of a boundary that goes on."""
        waiting, delimiter = self._waiting, self._delimiter
        at = max(0, len(waiting) - len(delimiter) + 1)
        while (at := waiting.find(_CRLF[:1], at)) >= 0:
            if delimiter.startswith(waiting[at:]):
                return at
            at += 1
        return len(waiting)


def related_part(head: bytes, data: memoryview, number: int) -> Field | File:
    """A part of multipart/related as Google's uploads have it: metadata in JSON as a field of that
    name, then a file. Raises InvalidRequestError: it is another part."""
    headers = headers_of(head, number)
    if number == 1:
        try:
            return Field("metadata", str(data, "utf-8"))
        except UnicodeDecodeError as error:
            raise InvalidRequestError("The metadata are not UTF-8.") from error
    if number > 2:
        raise InvalidRequestError("After the metadata there is one part, the file.")
    return File("file", "", headers.get("content-type") or None, data)
