"""Where an answer goes on in the stream of another one that has broken off.

A provider that is given the beginning of an answer answers anew: it begins, and counts what it
consumes from nothing. Its client has one stream with one beginning, and is told of all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from engine.events import (
    Begin,
    Citation,
    Event,
    Finish,
    LogprobsDelta,
    MediaDelta,
    NativeEvent,
    ReasoningDelta,
    TextDelta,
    ToolCallBegin,
    ToolCallDelta,
    Usage,
    UsageReport,
)
from engine.protocols.codec import StreamEncoder


class Seam:
    """Takes the events of the leg that goes on, and gives those that its client is told.

    Attributes:
        encoder: writes on in the client's stream, where the leg before has stopped.
        text: all that the client has got.
    """

    def __init__(self, encoder: StreamEncoder, text: str, usage: Usage) -> None:
        """`usage` is what was consumed for the `text`. Its last spaces are kept from the provider:
        see `continue_from`."""
        self.encoder = encoder
        self.text = text
        self._offset = len(text)
        """Of a position in the text of the leg, in that of the client."""
        self._doubled = text[len(text.rstrip()) :]
        """What the provider may say again of the text that the client has."""
        self._usage = usage

    def pass_on(self, events: Sequence[Event]) -> list[Event]:
        """What of these events the client is told. What only one protocol knows stays behind: it is
        of an answer of its own, with its own beginning, items and sizes."""
        told: list[Event] = []
        for event in events:
            match event:
                case Begin() | NativeEvent():
                    continue
                case TextDelta(text=text, choice=choice, signature=signature):
                    if self._doubled and text:
                        text = self._undoubled(text)
                        if not text:
                            continue
                    told.append(TextDelta(text, choice, signature))
                case UsageReport(usage=usage, service_tier=tier):
                    told.append(UsageReport(self._usage.plus(usage), service_tier=tier))
                case Citation():
                    told.append(self._shifted(event))
                case (
                    ReasoningDelta()
                    | ToolCallBegin()
                    | ToolCallDelta()
                    | MediaDelta()
                    | LogprobsDelta()
                    | Finish()
                ):
                    told.append(replace(event, native=None))
                case _:
                    told.append(event)
        return told

    def _undoubled(self, text: str) -> str:
        """Without the spaces that the client has already; whatever else comes ends them."""
        doubled, at = self._doubled, 0
        while at < min(len(doubled), len(text)) and doubled[at] == text[at]:
            at += 1
        self._offset -= at
        self._doubled = doubled[at:] if at == len(text) else ""
        return text[at:]

    def _shifted(self, event: Citation) -> Citation:
        """Positions are of the whole answer."""
        start, end = (
            None if position is None else max(0, position + self._offset)
            for position in (event.start, event.end)
        )
        return replace(event, start=start, end=end, native=None)
