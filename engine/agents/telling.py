"""What of an agent's rounds its client is told: one answer, from the first round to the last.

Calls of tools that the gateway runs are not told, and neither is the end of a round that asks for
them; usage is of all rounds so far. Where the client's own functions are called as well the answer
ends there: whoever calls the agent goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from engine.agent import Brief
from engine.agents.citing import Marks
from engine.conversation import Part, Reasoning, Signature, Text, ToolCall, Turn
from engine.events import (
    Begin,
    Citation,
    Event,
    Finish,
    FinishReason,
    LogprobsDelta,
    MediaDelta,
    NativeEvent,
    ReasoningDelta,
    RedactedReasoning,
    TextDelta,
    ToolCallBegin,
    ToolCallDelta,
    Usage,
    UsageReport,
)
from engine.protocols.codec import StreamEncoder

_ENDS_WITH_CALLS: Final = frozenset(
    {FinishReason.TOOL_CALLS, FinishReason.STOP, FinishReason.OTHER}
)
"""Providers say either of a round that has called tools."""
_BETWEEN: Final = "\n\n"
"""The words of one round and of the next."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a client has been told by the rounds before.

    Attributes:
        encoder: writes on in its stream; None: it gets one piece.
        events: where it gets that.
        chars: of text.
        usage: of them all.
    """

    encoder: StreamEncoder | None
    events: tuple[Event, ...]
    chars: int
    usage: Usage
    marks: Marks


@dataclass(slots=True)
class _Call:
    begin: ToolCallBegin
    arguments: list[str] = field(default_factory=list)


class Telling:
    """Takes the events of one round, and gives those that the client is told.

    Attributes:
        encoder: as `Told`'s.
        awaits: the round has ended, and asks for tools that the gateway runs.
        over_limit: it has asked for them where none may be asked for.
    """

    def __init__(
        self, brief: Brief, marks: Marks, before: Told | None = None, *, in_pieces: bool = True
    ) -> None:
        """`before`: what earlier rounds have told, `in_pieces` or not."""
        self.encoder = None if before is None else before.encoder
        self.awaits = self.over_limit = False
        self._brief = brief
        self._in_pieces = in_pieces
        self._marks = marks if before is None else before.marks
        self._before = before
        self._chars = 0 if before is None else before.chars
        self._told_text = False
        self._told: list[Event] = []
        self._parts: list[Part] = []
        self._calls: dict[int, _Call] = {}
        self._shown: dict[int, int] = {}

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """Of the tools that the gateway runs."""
        return tuple(
            ToolCall(
                call.begin.id,
                call.begin.name,
                "".join(call.arguments),
                call.begin.signature,
            )
            for call in self._calls.values()
        )

    @property
    def turn(self) -> Turn:
        """What the model has said in this round, for the next."""
        return Turn("assistant", (*self._parts, *self.calls))

    def whole(self, told: Sequence[Event]) -> list[Event]:
        """An answer in one piece, of which this is what the last round has told."""
        return [*(() if self._before is None else self._before.events), *told]

    def after(self, encoder: StreamEncoder | None, usage: Usage) -> Told:
        """For the next round; `usage` is of all up to this one."""
        before = () if self._before is None else self._before.events
        events = (*before, *self._told) if encoder is None else ()
        return Told(encoder, events, self._chars, usage, self._marks)

    def ending(self, reason: FinishReason, usage: Usage) -> list[Event]:
        """What an answer in one piece ends with where no further round can be made."""
        return [*self._told, Finish(reason), UsageReport(usage)]

    def pass_on(self, events: Sequence[Event]) -> list[Event]:
        """What of these events the client is told."""
        told: list[Event] = []
        for event in events:
            told += self._tell(event)
        if not self._in_pieces:
            self._told += [each for each in told if not isinstance(each, Finish | UsageReport)]
        return told

    def _tell(self, event: Event) -> Sequence[Event]:
        match event:
            case Begin():
                return (replace(event, native=None),) if self._before is None else ()
            case NativeEvent():
                return ()
            case TextDelta():
                return self._text(event)
            case ReasoningDelta() | RedactedReasoning():
                self._think(event)
                return (event,) if isinstance(event, RedactedReasoning) else (_plain(event),)
            case ToolCallBegin() | ToolCallDelta():
                return self._call(event)
            case Citation():
                return (self._shifted(event),)
            case UsageReport(usage=usage, service_tier=tier):
                before = Usage() if self._before is None else self._before.usage
                return (UsageReport(before.plus(usage), service_tier=tier),)
            case Finish():
                return self._finish(event)
            case MediaDelta() | LogprobsDelta():
                return (replace(event, native=None),)
            case _:
                return (event,)

    def _text(self, event: TextDelta) -> list[Event]:
        text = event.text
        self._keep(text, event.signature)
        if not text:
            return [replace(event, native=None)] if self._before is None else []
        if self._chars and not self._told_text and self._before is not None:
            text = _BETWEEN + text
        self._told_text = True
        self._chars += len(text)
        return [
            TextDelta(text, event.choice, event.signature),
            *self._marks.read(text, self._chars),
        ]

    def _keep(self, text: str, signature: Signature | None) -> None:
        match self._parts:
            case [*_, Text() as last] if last.signature is None:
                self._parts[-1] = Text(last.text + text, signature=signature)
            case _ if text or signature is not None:
                self._parts.append(Text(text, signature=signature))

    def _think(self, event: ReasoningDelta | RedactedReasoning) -> None:
        match event, self._parts:
            case RedactedReasoning(signature=signature), _:
                self._parts.append(Reasoning("", signature, redacted=True))
            case ReasoningDelta(text=text, signature=signature), [*_, Reasoning() as last] if (
                last.signature is None and not last.redacted
            ):
                self._parts[-1] = Reasoning(last.text + text, signature)
            case ReasoningDelta(text=text, signature=signature), _:
                self._parts.append(Reasoning(text, signature))

    def _call(self, event: ToolCallBegin | ToolCallDelta) -> Sequence[Event]:
        index = event.index
        if isinstance(event, ToolCallBegin):
            if event.name in self._brief.own:
                self._calls[index] = _Call(event)
                return ()
            self._shown[index] = len(self._shown)
        elif (call := self._calls.get(index)) is not None:
            call.arguments.append(event.arguments)
            return ()
        return (replace(event, index=self._shown.get(index, index), native=None),)

    def _shifted(self, event: Citation) -> Citation:
        """Positions are of the whole answer."""
        offset = 0 if self._before is None else self._before.chars + len(_BETWEEN)
        start, end = (
            None if position is None else position + offset for position in (event.start, event.end)
        )
        return replace(event, start=start, end=end, native=None)

    def _finish(self, event: Finish) -> Sequence[Event]:
        if self._calls and not self._shown and event.reason in _ENDS_WITH_CALLS:
            if not self._brief.last:
                self.awaits = True
                return ()
            self.over_limit = True
            return (Finish(FinishReason.LENGTH, event.choice),)
        return (replace(event, native=None),)


def _plain(event: ReasoningDelta) -> ReasoningDelta:
    return replace(event, native=None)
