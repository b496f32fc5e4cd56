"""Frames of a stream: server-sent events, or elements of one JSON array."""

from __future__ import annotations

from typing import Literal

from engine.wire.json_array import ArraySplitter, element
from engine.wire.sse import EventSplitter, event_data

_BLANK = b"\xef\xbb\xbf \t\r\n"
_LEADING_MAX_BYTES = 65_536


class FrameSplitter:
    """Cuts a stream into frames, whichever of its forms it has; the first byte tells.

    Attributes:
        form: `array` also for bare objects, as errors come without `data:`; None until known.
    """

    def __init__(self) -> None:
        self.form: Literal["sse", "array"] | None = None
        self._leading = b""
        self._splitter: EventSplitter | ArraySplitter = EventSplitter()

    @property
    def pending_bytes(self) -> int:
        """Size of the incomplete frame held back."""
        return len(self._leading) + self._splitter.pending_bytes

    def feed(self, data: bytes) -> list[bytes]:
        """Whole frames, in order.

        Raises:
            EventTooLargeError: the incomplete frame is over its bound.
        """
        if self.form is None:
            data, self._leading = self._leading + data, b""
            first = data.lstrip(_BLANK)[:1]
            if not first and len(data) <= _LEADING_MAX_BYTES:
                self._leading = data
                return []
            self.form = "array" if first in (b"[", b"{") else "sse"
            if self.form == "array":
                self._splitter = ArraySplitter()
        return self._splitter.feed(data)

    def finish(self) -> bytes:
        """What is left at the end of the stream."""
        rest, self._leading = self._leading, b""
        return rest + self._splitter.finish()

    def payload(self, frame: bytes) -> bytes | None:
        """The JSON text of a frame; None if it has none (a comment, the array's end).

        In an event stream a bare object may stand where an event should: that is how Google's
        servers report what fails midway.
        """
        if self.form == "array":
            return element(frame)
        end = len(frame) - 4
        if frame.startswith(b"data: ") and frame.find(b"\r") == end == frame.find(b"\n") - 1:
            return frame[6:end]  # one line, as Google's servers write it
        bare = frame.lstrip(_BLANK)
        if bare[:1] in (b"{", b"["):
            return bare
        return event_data(frame) or None
