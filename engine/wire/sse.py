"""Server-sent events, framed and not interpreted (WHATWG HTML, section 9.2.6).

`EventSplitter` cuts a byte stream into whole events and keeps every byte, so that a verbatim relay
can pass them on; `event_data` reads the data of one.
"""

from __future__ import annotations

import re

# A blank line ends an event. A lone CR at the very end of the buffer may be half of a CRLF, so it
# ends nothing until the next byte is there: the same bytes give the same events, however split.
_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r(?=[^\n]))")
_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"
_LONG_BYTES = 64 * 1024
EVENT_MAX_BYTES = 16 * 1024 * 1024


class EventTooLargeError(Exception):
    """An event grew beyond the bound without ending."""


class EventSplitter:
    """Cuts bytes into whole events, each with the blank line that ends it.

    Joined, the events and `finish()` are exactly the bytes that were fed.
    """

    def __init__(self, event_max_bytes: int = EVENT_MAX_BYTES) -> None:
        self._buffer = b""
        self._long: bytearray | None = None
        """All of an event that has grown long; `_buffer` then is how it begins."""
        self._long_has_cr = False
        self._event_max_bytes = event_max_bytes

    @property
    def pending_bytes(self) -> int:
        """Size of the incomplete event held back."""
        return len(self._buffer if self._long is None else self._long)

    def feed(self, data: bytes) -> list[bytes]:
        """Whole events, in order.

        Raises:
            EventTooLargeError: the incomplete event is over the bound.
        """
        pending = self._buffer
        if not pending:
            buffer, scan_from = data, 0
        elif (size := len(pending)) >= _LONG_BYTES:
            return self._feed_long(data)
        else:
            # An event may arrive in many reads; only its last bytes can complete a blank line.
            buffer, scan_from = pending + data, size - 3 if size > 3 else 0
        if b"\r" in buffer:
            events, rest = self._split_any(buffer, scan_from)
        elif buffer.find(b"\n\n", scan_from) < 0:
            events, rest = [], buffer
        else:
            parts = buffer.split(b"\n\n")
            rest = parts.pop()
            events = [part + b"\n\n" for part in parts]
        if len(rest) > self._event_max_bytes:
            raise self._too_large()
        self._buffer = rest
        return events

    def _feed_long(self, data: bytes) -> list[bytes]:
        """Of an event of megabytes, an image, no read copies or searches what others brought."""
        buffer = self._long
        if buffer is None:
            self._long_has_cr = b"\r" in self._buffer
            self._long = buffer = bytearray(self._buffer)
        scan_from = len(buffer) - 3
        buffer += data
        self._long_has_cr = self._long_has_cr or b"\r" in data
        if self._long_has_cr:
            match = _BLANK_LINE.search(buffer, _between_line_ends(buffer, scan_from))
            end = match.end() if match else 0
        else:
            end = buffer.find(b"\n\n", scan_from) + 2
            end = end if end > 1 else 0
        if not end:
            if len(buffer) > self._event_max_bytes:
                raise self._too_large()
            return []
        self._buffer, self._long = b"", None
        return [bytes(memoryview(buffer)[:end]), *self.feed(bytes(memoryview(buffer)[end:]))]

    def _too_large(self) -> EventTooLargeError:
        return EventTooLargeError(
            f"an event is longer than the bound of {self._event_max_bytes} bytes"
        )

    @staticmethod
    def _split_any(buffer: bytes, scan_from: int) -> tuple[list[bytes], bytes]:
        events = []
        start = 0
        scan = _between_line_ends(buffer, scan_from)
        while match := _BLANK_LINE.search(buffer, scan):
            events.append(buffer[start : match.end()])
            start = scan = match.end()
        return events, buffer[start:]

    def finish(self) -> bytes:
        """What is left at the end of the stream: an event without its blank line, or nothing."""
        rest = self._buffer if self._long is None else bytes(self._long)
        self._buffer, self._long = b"", None
        return rest


def _between_line_ends(buffer: bytes | bytearray, at: int) -> int:
    """`at`, or before it: never between the CR and the LF of one line end."""
    return at - 1 if at and buffer[at - 1] == 0x0D else at


def event_data(event: bytes) -> bytes | None:
    """The data of one event, its lines joined by LF; None if it has none (a comment, a ping).

    One leading space after the colon is dropped, as the standard says.
    """
    start = event.find(b"\n") + 1 if event.startswith(b"event: ") else 0
    if (
        event.startswith(b"data: ", start)
        and event.find(b"\n", start) == len(event) - 2
        and b"\r" not in event
    ):  # one line of data, with a name before it or without, as nearly all are
        return event[start + 6 : -2]
    lines = []
    for line in _LINE_END.split(event.removeprefix(_BOM)):
        if line.startswith(b"data:"):
            lines.append(line[6:] if line[5:6] == b" " else line[5:])
        elif line == b"data":
            lines.append(b"")
    return b"\n".join(lines) if lines else None
