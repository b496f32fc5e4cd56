"""Stream events that repeat but for their text, recognised by their bytes without reading JSON.

Nearly every event of a stream is the one before it with another piece of text. Of an event that was
read, `learn` keeps what stands before and behind the text; where the same bytes stand around
another plain string, the event says the same of that string.
"""

from __future__ import annotations

import re
from typing import Final

# Nothing escaped, nothing that ends a string or may not stand in one (RFC 8259 section 7).
_plain = re.compile(rb'[^"\\\x00-\x1f]+').fullmatch
_FILLER: Final = b'"obfuscation":"'
"""OpenAI pads its events with a string of random letters, so that sizes tell nothing."""
_FILLER_VALUE: Final = re.compile(rb"[A-Za-z0-9]*")


class Repeat:
    """The shape of one event. `channel` is the meter's for its text."""

    __slots__ = (
        "_after", "_after_bytes", "_before", "_before_bytes", "_behind", "_behind_bytes",
        "_shown", "channel",
    )  # fmt: skip

    def __init__(
        self, channel: str, before: bytes, behind: bytes, shown: bytes, after: bytes | None
    ) -> None:
        self.channel = channel
        self._before, self._before_bytes = before, len(before)
        self._behind, self._behind_bytes = behind, len(behind)
        self._shown = None if shown == behind else shown
        """What the client gets in the place of `_behind`, where it is not that."""
        self._after = after
        """What follows the filler; None: there is none."""
        self._after_bytes = 0 if after is None else len(after)

    def read(self, data: bytes) -> tuple[bytes, str] | None:
        """The client's bytes and the text, of one event of this shape; None: it is not that."""
        start, behind = self._before_bytes, self._behind
        stop = data.find(b'"', start)
        if (
            not data.startswith(self._before)
            or not data.startswith(behind, stop)
            or _plain(data, start, stop) is None
        ):
            return None
        after = stop + self._behind_bytes
        if (self._end_of_filler(data, after) if self._after is not None else after) != len(data):
            return None
        try:
            text = str(data[start:stop], "utf-8")
        except UnicodeDecodeError:
            return None
        if self._shown is None:
            return data, text
        return data[:stop] + self._shown + data[after:], text

    def _end_of_filler(self, data: bytes, start: int) -> int:
        """Where the event ends whose filler begins here; −1 where it is another."""
        stop = data.find(b'"', start)
        if not data.startswith(self._after or b"", stop):
            return -1
        plain = _FILLER_VALUE.fullmatch(data, start, stop) is not None
        return stop + self._after_bytes if plain else -1


def learn(frame: bytes, text: str, channel: str, client_frame: bytes) -> Repeat | None:
    """The shape of an event that says no more than this text; None where it is not plain to see.

    `client_frame` is the event as the client gets it.
    """
    if b"\\" in frame or frame[-1:] != b"\n":
        return None  # a string may not be what it looks like; an end of line may be but half of one
    literal = b'"%b"' % text.encode()
    at = frame.find(literal)
    if not text or at < 0 or frame.find(literal, at + 1) >= 0:
        return None
    stop = at + len(literal) - 1
    before, behind = frame[: at + 1], frame[stop:]
    if not client_frame.startswith(frame[:stop]):
        return None
    shown = client_frame[stop:]
    after: bytes | None = None
    padded, key, rest = behind.partition(_FILLER)
    if key:
        end = rest.find(b'"')
        if not shown.endswith(key + rest):
            return None
        behind, after = padded + key, rest[end:]
        shown = shown[: len(shown) - len(rest)]
    return Repeat(channel, before, behind, shown, after)
