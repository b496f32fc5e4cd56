"""Lines of a file that comes in pieces, each of a bounded length."""

from __future__ import annotations

from typing import NamedTuple


class Line(NamedTuple):
    """A line, without its end; of one that is too long a piece.

    Attributes:
        whole: it is all of one.
        ends: it is all of one, or the last piece of one.
    """

    data: bytes
    whole: bool = True
    ends: bool = True


class LineSplitter:
    """Any split of the same bytes gives the same whole lines; what ends the last one may be left
    out. Lines that are empty are lines."""

    def __init__(self, line_max_bytes: int) -> None:
        """`line_max_bytes`: what is longer is given in pieces, and never held."""
        self._max_bytes = line_max_bytes
        self._parts: list[bytes] = []
        self._pending_bytes = 0
        self._too_long = False

    def feed(self, data: bytes) -> list[Line]:
        """The lines that end in these bytes, and what has come of one that is too long."""
        *ended, rest = data.split(b"\n")
        lines = [self._end(part) for part in ended]
        if rest:
            self._parts.append(rest)
            self._pending_bytes += len(rest)
            if self._too_long or self._pending_bytes > self._max_bytes:
                self._too_long = True
                lines.append(Line(self._take(), whole=False, ends=False))
        return lines

    def finish(self) -> list[Line]:
        """The last line, where nothing ends it."""
        if not self._parts and not self._too_long:
            return []
        return [self._end(b"")]

    def _end(self, part: bytes) -> Line:
        whole = not self._too_long and self._pending_bytes + len(part) <= self._max_bytes
        self._parts.append(part)
        self._too_long = False
        return Line(self._take(), whole=whole)

    def _take(self) -> bytes:
        parts, self._parts, self._pending_bytes = self._parts, [], 0
        return parts[0] if len(parts) == 1 else b"".join(parts)
