"""A JSON array as a stream: cut into its elements, not interpreted (RFC 8259).

Gemini streams an array when it is not asked for server-sent events: `[{…}`, `,\\r\\n`, `{…}`, `]`,
one element after another. `ArraySplitter` finds the end of an element by the depth of its brackets
outside strings and keeps every byte, so that a verbatim relay can pass the frames on; `element`
reads the JSON text of one.
"""

from __future__ import annotations

import re

from engine.wire.sse import EventTooLargeError

_OUTSIDE = re.compile(rb'["{}\[\]]')
_INSIDE = re.compile(rb'\\.|"', re.DOTALL)
_BETWEEN = re.compile(rb"[\s\[\],\xef\xbb\xbf]*")

_QUOTE, _OPEN_ARRAY, _CLOSE_ARRAY = b'"[]'
_OPENING = frozenset(b"{[")


class ArraySplitter:
    """Cuts bytes into frames: an element with what stands before it, and the closing `]`.

    Joined, the frames and `finish()` are exactly the bytes that were fed. Objects that follow one
    another without an array around them are elements as well. What is no JSON is found out by
    whoever reads the frames.
    """

    def __init__(self, element_max_bytes: int = 16 * 1024 * 1024) -> None:
        self._buffer = bytearray()
        self._element_max_bytes = element_max_bytes
        self._scanned = 0
        self._depth = 0
        self._in_string = False
        self._opened = False

    @property
    def pending_bytes(self) -> int:
        """Size of the incomplete element held back."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Whole frames, in order.

        Raises:
            EventTooLargeError: the incomplete element is over the bound.
        """
        self._buffer += data
        frames = []
        start = 0
        while (end := self._next_end()) is not None:
            frames.append(bytes(self._buffer[start:end]))
            start = end
        if start:
            del self._buffer[:start]
            self._scanned -= start
        if len(self._buffer) > self._element_max_bytes:
            raise EventTooLargeError(
                f"an element is longer than the bound of {self._element_max_bytes} bytes"
            )
        return frames

    def _next_end(self) -> int | None:
        """Where the next frame ends; None if it has not come yet. Nothing is scanned twice."""
        buffer = self._buffer
        while True:
            pattern = _INSIDE if self._in_string else _OUTSIDE
            match = pattern.search(buffer, self._scanned)
            if match is None:
                # Half of an escape waits for its other half.
                half = self._in_string and buffer.endswith(b"\\")
                self._scanned = max(self._scanned, len(buffer) - half)
                return None
            self._scanned = match.end()
            if self._count(buffer[match.start()]):
                return self._scanned

    def _count(self, byte: int) -> bool:
        """Take one bracket, quote or escape into account; whether a frame ends with it."""
        if byte == _QUOTE:
            self._in_string = not self._in_string
        elif self._in_string:
            pass  # an escape
        elif byte in _OPENING:
            if byte == _OPEN_ARRAY and not self._opened and not self._depth:
                self._opened = True
            else:
                self._depth += 1
        elif self._depth:
            self._depth -= 1
            return self._depth == 0
        else:
            return byte == _CLOSE_ARRAY
        return False

    def finish(self) -> bytes:
        """What is left at the end of the stream: an incomplete element, white space, or nothing."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        self._scanned = 0
        return rest


def element(frame: bytes) -> bytes | None:
    """The JSON text of a frame's element; None if it has none (the array's end, white space).

    >>> element(b',\\r\\n{"a": 1}'), element(b"[]"), element(b"\\n]")
    (b'{"a": 1}', None, None)
    """
    match = _BETWEEN.match(frame)
    return frame[match.end() :] or None if match is not None else None
