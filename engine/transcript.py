"""What of an answer its client has got, as far as another deployment could go on with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from engine.events import (
    Begin,
    BlockEnd,
    Event,
    NativeEvent,
    ReasoningDelta,
    RedactedReasoning,
    TextDelta,
    UsageReport,
)

_TEXT_MAX_CHARS: Final = 256 * 1024
"""A prompt that is read a second time; and the memory of a stream."""
_PIECES_MAX: Final = 512
"""A piece takes some 60 bytes beside its few characters."""


class Transcript:
    """The text of one answer. It ends with anything that is no text, but for thinking before it:
    a call, a refusal, media or a source cannot be handed on in the words of another provider."""

    __slots__ = ("_chars", "_open", "_pieces")

    def __init__(self, text: str = "") -> None:
        """So much of it is from a leg before."""
        self._pieces: list[str] = []
        self._chars = 0
        self._open = True
        self.add(text)

    @property
    def text(self) -> str | None:
        """What can be gone on with; None: nothing, or no longer."""
        text = "".join(self._pieces)
        return text if text.strip() else None

    def add(self, text: str) -> None:
        """A piece of the first choice's text is with the client."""
        if not self._open:
            return
        self._chars += len(text)
        if self._chars > _TEXT_MAX_CHARS:
            self.close()
        else:
            self._pieces.append(text)
            if len(self._pieces) > _PIECES_MAX:
                self._pieces = ["".join(self._pieces)]

    def take(self, events: Sequence[Event]) -> None:
        """These events are with the client, in its own protocol."""
        for event in events:
            match event:
                case TextDelta(text=text, choice=0):
                    self.add(text)
                case ReasoningDelta() | RedactedReasoning() if not self._chars:
                    pass
                case NativeEvent(generated="") | Begin() | BlockEnd() | UsageReport():
                    pass
                case _:
                    self.close()

    def close(self) -> None:
        """It cannot be gone on with."""
        self._open = False
        self._pieces.clear()
