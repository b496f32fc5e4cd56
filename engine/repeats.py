"""Stream events that repeat but for their text, recognised by their bytes without reading JSON.

Nearly every event of a stream is the one before it with another piece of text. Of an event that was
read, `learn` keeps what stands before and behind the text; where the same bytes stand around
another plain string, the event says the same of that string.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

# Nothing escaped, nothing that ends a string or may not stand in one (RFC 8259 section 7).
_plain = re.compile(rb'[^"\\\x00-\x1f]+').fullmatch
_PADDING: Final = b'"obfuscation":"'
_letters = re.compile(rb"[A-Za-z0-9]*").match
_spaces = re.compile(rb" *").match
"""So that sizes tell nothing, OpenAI pads its events with a string of random letters, Anthropic
with spaces before the last brace."""
_spaced = re.compile(rb"(.*\}) *(\}\s*)", re.DOTALL).fullmatch


Filler = Callable[[bytes, int], re.Match[bytes] | None]
"""What matches it, from a position on."""


class Repeat:
    """The shape of one event. `channel` is the meter's for its text."""

    __slots__ = (
        "_after", "_after_bytes", "_before", "_before_bytes", "_behind", "_behind_bytes",
        "_filler", "_shown", "channel",
    )  # fmt: skip

    def __init__(
        self,
        channel: str,
        before: bytes,
        behind: bytes,
        shown: bytes,
        filler: Filler | None,
        after: bytes,
    ) -> None:
        self.channel = channel
        self._before, self._before_bytes = before, len(before)
        self._behind, self._behind_bytes = behind, len(behind)
        self._shown = None if shown == behind else shown
        """What the client gets in the place of `_behind`, where it is not that."""
        self._filler = filler
        """What stands between `_behind` and `_after`, where there is anything."""
        self._after, self._after_bytes = after, len(after)

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
        if self._filler is not None:
            padded = self._filler(data, after)
            end = -1 if padded is None else padded.end()
            if not data.startswith(self._after, end) or end + self._after_bytes != len(data):
                return None
        elif after != len(data):
            return None
        try:
            text = str(data[start:stop], "utf-8")
        except UnicodeDecodeError:
            return None
        if self._shown is None:
            return data, text
        return data[:stop] + self._shown + data[after:], text

    def like(self, frame: bytes) -> bool:
        """Whether an event differs from this shape in its text only, however that is written."""
        stop = frame.rfind(self._behind, self._before_bytes)
        if stop < 0 or not frame.startswith(self._before):
            return False
        after = stop + self._behind_bytes
        if self._filler is not None and (padded := self._filler(frame, after)) is not None:
            after = padded.end()
        return frame[after:] == self._after


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
    filler: Filler | None = None
    after = b""
    padded, key, rest = behind.partition(_PADDING)
    if key:
        filler, after = _letters, rest[rest.find(b'"') :]
        padded += key
    elif spaced := _spaced(behind):
        filler, padded, after = _spaces, spaced[1], spaced[2]
        rest = behind[len(padded) :]
    if filler is not None:
        if not shown.endswith(rest):
            return None
        behind, shown = padded, shown[: len(shown) - len(rest)]
    return Repeat(channel, before, behind, shown, filler, after)
