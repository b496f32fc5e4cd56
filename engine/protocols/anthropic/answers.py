"""Messages and their stream events as canonical events.

A whole message is read as the stream that would have brought it, block by block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

from engine.conversation import Native, Signature
from engine.errors import UpstreamRejectedError
from engine.events import (
    Begin,
    BlockEnd,
    Citation,
    Event,
    NativeEvent,
    ReasoningDelta,
    RedactedReasoning,
    TextDelta,
    ToolCallBegin,
    ToolCallDelta,
    UsageReport,
)
from engine.protocols.anthropic.errors import read_error
from engine.protocols.anthropic.figures import TIERS, merge_usage, read_finish, read_usage
from engine.protocols.anthropic.marks import PROTOCOL, native
from engine.protocols.anthropic.values import dump_text, load_answer
from engine.protocols.fields import dict_of, dicts, text_of

# A block's citations wait for its end, when it is known what they stand behind.
_CITATIONS_MAX = 10_000

_OWN: Final = Native(PROTOCOL)


class AnswerReader:
    """Reads one answer: its beginning, its blocks one after another, its ending."""

    __slots__ = ("_calls", "_citations", "_kind", "_said", "_text_from", "_text_to", "_usage")

    def __init__(self) -> None:
        self._kind: str | None = None  # of the block that is open
        self._said = False  # the call that is open has had arguments
        self._calls = 0
        self._text_from = self._text_to = 0  # where the text block that is open stands
        self._citations: list[dict[str, Any]] = []
        self._usage: dict[str, Any] = {}

    def begin(self, message: dict[str, Any]) -> Begin:
        """The message that `message_start` brings, or a whole one; its output is a placeholder."""
        self._usage = dict_of(message.get("usage"))
        usage = read_usage({"output_tokens": 0} | self._usage)
        rest = _without(message, "content", "stop_reason", "stop_sequence", "stop_details")
        tier = text_of(self._usage.get("service_tier"))
        return Begin(
            text_of(message.get("id")) or None,
            text_of(message.get("model")) or None,
            usage=None
            if usage is None or usage.unsaid
            else replace(usage, output_tokens=0, reasoning_tokens=0),
            service_tier=tier if tier in TIERS else None,
            native=native({"message": rest}),
        )

    def start_block(self, block: dict[str, Any]) -> list[Event]:
        """A block begins, with as much of it as is there."""
        events: list[Event] = [] if self._kind is None else self.stop_block()
        kind = text_of(block.get("type"))
        self._kind = kind
        start = _STARTS.get(kind)
        if start is not None:
            events.extend(start(self, block))
        else:
            events.append(NativeEvent(_block(block), kind or "block", generated=_generated(block)))
        return events

    def _start_text(self, block: dict[str, Any]) -> Iterator[Event]:
        text = text_of(block.get("text"))
        self._text_from = self._text_to
        self._text_to += len(text)
        extras = _without(block, "type", "text")
        if isinstance(citations := extras.get("citations"), list):
            extras["citations"] = []
            for citation in citations:
                self._cite(dict_of(citation))
        yield TextDelta(text, native=native(extras))

    def _start_thinking(self, block: dict[str, Any]) -> Iterator[Event]:
        extras = _without(block, "type", "thinking", "signature")
        yield ReasoningDelta(
            text_of(block.get("thinking")),
            signature=_signature(block.get("signature")),
            native=native(extras) or _OWN,
        )

    def _start_redacted(self, block: dict[str, Any]) -> Iterator[Event]:
        yield RedactedReasoning(Signature(PROTOCOL, text_of(block.get("data"))))

    def _start_call(self, block: dict[str, Any]) -> Iterator[Event]:
        index = self._calls
        self._calls += 1
        yield ToolCallBegin(
            index,
            text_of(block.get("id")),
            text_of(block.get("name")),
            native=native(_without(block, "type", "id", "name", "input")),
        )
        # A stream begins with an empty object, and its arguments follow.
        self._said = bool(block.get("input"))
        if self._said:
            yield ToolCallDelta(index, dump_text(block["input"]))

    def _cite(self, citation: dict[str, Any]) -> None:
        if len(self._citations) >= _CITATIONS_MAX:
            raise ValueError(f"a block has more than {_CITATIONS_MAX} citations")
        self._citations.append(citation)

    def delta(self, delta: dict[str, Any]) -> Event | None:
        """The next piece of the block that is open."""
        kind = delta.get("type")
        if kind == "text_delta" and (self._kind == "text" or self._kind is None):
            text = text_of(delta.get("text"))
            self._text_to += len(text)
            return TextDelta(text) if text else None
        if kind == "input_json_delta" and self._kind == "tool_use":
            text = text_of(delta.get("partial_json"))
            self._said = self._said or bool(text)
            return ToolCallDelta(self._calls - 1, text) if text else None
        if kind == "thinking_delta" and self._kind in ("thinking", None):
            text = text_of(delta.get("thinking"))
            return ReasoningDelta(text, native=_OWN) if text else None
        if kind == "signature_delta" and self._kind == "thinking":
            signature = _signature(delta.get("signature"))
            return ReasoningDelta("", signature=signature, native=_OWN) if signature else None
        if kind == "citations_delta" and self._kind == "text":
            self._cite(dict_of(delta.get("citation")))
            return None
        fields = {"delta": delta}
        return NativeEvent(
            Native(PROTOCOL, fields), self._kind or "delta", generated=_generated(delta)
        )

    def stop_block(self) -> list[Event]:
        """The block that is open ends; nothing if none is."""
        if self._kind is None:
            return []
        events: list[Event] = []
        if self._kind == "tool_use" and not self._said:
            events.append(ToolCallDelta(self._calls - 1, "{}"))
        events.extend(self._citation(citation) for citation in self._citations)
        self._citations = []
        events.append(BlockEnd())
        self._kind = None
        return events

    def _citation(self, citation: dict[str, Any]) -> Citation:
        title = text_of(citation.get("title")) or text_of(citation.get("document_title"))
        source = text_of(citation.get("url")) or text_of(citation.get("source"))
        return Citation(
            url=source or None,
            title=title or None,
            cited_text=text_of(citation.get("cited_text")) or None,
            start=self._text_from,
            end=self._text_to,
            native=native({"citation": citation}),
        )

    def end(self, document: dict[str, Any]) -> list[Event]:
        """A `message_delta`, or the ending that a whole message holds; usage comes last."""
        events = self.stop_block()
        delta = dict_of(document.get("delta"))
        finish = read_finish(delta, _without(document, "type", "delta", "usage"))
        if finish is not None:
            events.append(finish)
        latest = dict_of(document.get("usage"))
        if latest:
            self._usage = merge_usage(self._usage, latest)
            if (usage := read_usage(self._usage)) is not None:
                fast = "fast" if self._usage.get("speed") == "fast" else None
                events.append(UsageReport(usage, native({"usage": latest}), service_tier=fast))
        return events


_STARTS: Final[dict[str, Callable[[AnswerReader, dict[str, Any]], Iterator[Event]]]] = {
    "text": AnswerReader._start_text,
    "thinking": AnswerReader._start_thinking,
    "redacted_thinking": AnswerReader._start_redacted,
    "tool_use": AnswerReader._start_call,
}


def _block(block: dict[str, Any]) -> Native:
    return Native(PROTOCOL, {"block": block})


def _without(document: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in names}


def _signature(value: object) -> Signature | None:
    return Signature(PROTOCOL, value) if isinstance(value, str) and value else None


_CALLS = frozenset({"server_tool_use", "mcp_tool_use"})
_GENERATED = ("partial_json", "text", "thinking")


def _generated(block: dict[str, Any]) -> str:
    """The generated text of a block (or a delta) of the provider's own: calls of its tools and
    summaries. Results are not generated."""
    kind = text_of(block.get("type"))
    if kind in _CALLS:
        called = block.get("input")
        arguments = dump_text(called) if called else ""
        return text_of(block.get("name")) + arguments
    if kind in ("compaction", "compaction_delta"):
        return text_of(block.get("content"))
    if kind.endswith("_result"):
        return ""
    return "".join(text_of(block.get(name)) for name in _GENERATED)


_ENDING = frozenset({"stop_reason", "stop_sequence", "stop_details", "container"})


def read_message(body: bytes) -> list[Event]:
    """A whole answer as its events, Finish and UsageReport last.

    Raises:
        ValueError: it is no JSON object with a list `content`.
        UpstreamRejectedError: it is an error all the same.
    """
    document = load_answer(body)
    if is_error(document):
        error: UpstreamRejectedError = read_error(200, body)
        raise error
    if not isinstance(document.get("content"), list):
        raise ValueError("not a message")
    reader = AnswerReader()
    events: list[Event] = [reader.begin(document)]
    for block in dicts(document["content"]):
        events.extend(reader.start_block(block))
        events.extend(reader.stop_block())
    ending = {name: value for name, value in document.items() if name in _ENDING}
    events.extend(reader.end({"delta": ending, "usage": document.get("usage")}))
    return events


def is_error(document: dict[str, Any]) -> bool:
    """Whether an event or an answer reports a failure, in Anthropic's shape or a bare one."""
    kind = document.get("type")
    return kind == "error" or (kind is None and bool(document.get("error")))
