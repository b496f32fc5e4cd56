"""Canonical events as Anthropic's stream events, in its strict grammar.

Blocks stand one after another, so what comes for another block while a call's arguments are
incomplete waits until they are whole. What Anthropic has no place for is left out: media (their
transcript becomes text), logprobs, other choices than the first, other protocols' native events.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import orjson

from engine.conversation import Native
from engine.events import (
    Begin,
    BlockEnd,
    Citation,
    Event,
    Finish,
    MediaDelta,
    NativeEvent,
    ReasoningDelta,
    RedactedReasoning,
    RefusalDelta,
    TextDelta,
    ToolCallBegin,
    ToolCallDelta,
    Usage,
    UsageReport,
)
from engine.protocols.anthropic.figures import TIERS, encode_finish, encode_usage, finish_beside
from engine.protocols.anthropic.marks import PROTOCOL, own_fields, plain_id, sign
from engine.protocols.anthropic.streams import cut_event, start_event
from engine.protocols.anthropic.values import dump_text, read_arguments
from engine.protocols.carried import carry
from engine.protocols.codec import Identity
from engine.protocols.fields import dict_of

_WAITING_MAX_CHARS = 8 * 1024 * 1024
"""Of calls and texts that wait for the open call; beyond it the open one is taken as whole."""

_EARLY_MAX = 256
"""Sources that are named ahead of the text that they are of."""

_CUMULATIVE = frozenset(encode_usage(Usage()))

_TRIES_MAX = 64
"""How often arguments are looked at for their end while others wait: each look reads them all."""

Documents = list[dict[str, Any]]

Piece = tuple[int, bytes, bytes, str]
"""A `content_block_delta`: the block's index, the delta's type, its member and the text."""


class Grammar:
    """One answer, event by event. `called`, `refused` say what was in it."""

    def __init__(self, identity: Identity) -> None:
        self.called = False
        self.refused = False
        self._identity = identity
        self._begun = False
        self._usage: dict[str, Any] = {}
        self._finish: Finish | None = None
        self._report: UsageReport | None = None
        self._index = -1  # of the block that is open or was last
        self._open: str | None = None  # its kind
        self._signed = False
        self._call: int | None = None  # the call that is open
        self._arguments: list[str] = []  # of it, so far
        # Whether they begin an object: then they go out as they come, else wrapped at the end.
        self._object: bool | None = None
        self._empty_text: TextDelta | None = None  # opens a block, if it turns out to be one
        self._early: list[Citation] = []  # of a text block that has not begun
        self._waiting: list[Event] = []
        self._waiting_chars = 0
        self._tries = 0

    @classmethod
    def resumed(cls, identity: Identity, index: int, kind: str | None) -> Grammar:
        """Inside a message that has begun: `index` is that of its last block, which is open and of
        a `kind`, or has ended."""
        grammar = cls(identity)
        grammar._begun = True
        grammar._index, grammar._open = index, kind
        return grammar

    @property
    def holding(self) -> bool:
        """Events wait for the call that is open."""
        return bool(self._waiting)

    def piece(self, event: Event) -> Piece | None:
        """The common event, which only goes on with the open block: its delta, without the way
        through `push`, which gives the same."""
        kind = type(event)
        if kind is TextDelta and self._open == "text" and self._empty_text is None:
            text = cast(TextDelta, event)
            if text.text and text.choice == 0:
                return self._index, b"text_delta", b"text", text.text
        elif kind is ToolCallDelta and self._object and not self._waiting:
            call = cast(ToolCallDelta, event)
            if call.index == self._call and call.arguments and call.choice == 0:
                self._arguments.append(call.arguments)
                return self._index, b"input_json_delta", b"partial_json", call.arguments
        elif kind is ReasoningDelta and self._open == "thinking":
            thought = cast(ReasoningDelta, event)
            if thought.text and thought.signature is None and thought.choice == 0:
                return self._index, b"thinking_delta", b"thinking", thought.text
        return None

    def push(self, event: Event) -> Documents:
        """The stream events of an event; Finish and UsageReport are kept for `finish`."""
        if getattr(event, "choice", 0) != 0:
            return []
        match event:
            case Finish():
                self._finish = event
                return []
            case UsageReport():
                self._report = event
                return []
            case Begin():
                return [] if self._begun else self._begin(event)
        out = [] if self._begun else self._begin(Begin(None, None))
        if self._call is not None and self._must_wait(event):
            self._waiting.append(event)
            self._waiting_chars += _chars(event)
            if self._waiting_chars > _WAITING_MAX_CHARS:
                out += self._release(force=True)
            return out
        out += self._write(event)
        if self._waiting and (self._call is None or self._is_whole_at(event)):
            out += self._release()
        return out

    def _begin(self, begin: Begin) -> Documents:
        self._begun = True
        start = start_event(
            begin.id or self._identity.id, begin.model or self._identity.model, begin.usage
        )
        if begin.service_tier in TIERS:
            start["message"]["usage"]["service_tier"] = begin.service_tier
        own = dict_of(own_fields(begin.native).get("message"))
        self._usage = dict_of(own.get("usage")) or start["message"]["usage"]
        start["message"] |= own | {"content": [], "usage": self._usage}
        return [start]

    # What waits.

    def _must_wait(self, event: Event) -> bool:
        if isinstance(event, BlockEnd):
            return False
        if isinstance(event, ToolCallDelta) and event.index == self._call:
            return False
        return bool(self._waiting) or not _is_whole(self._arguments)

    def _is_whole_at(self, event: Event) -> bool:
        """Whether this piece of the open call's arguments was the last one."""
        if not isinstance(event, ToolCallDelta) or not event.arguments.rstrip().endswith("}"):
            return False
        self._tries += 1
        return self._tries <= _TRIES_MAX and _is_whole(self._arguments)

    def _release(self, *, force: bool = False) -> Documents:
        """Closes the open call and writes what waited, each block's pieces put together, up to a
        call that is incomplete: what stands behind it waits on, unless forced."""
        waiting, self._waiting, self._waiting_chars = self._waiting, [], 0
        out = self._close()
        groups = _blocks_of(waiting)
        for position, group in enumerate(groups):
            if self._call is not None and not force and not _is_whole(self._arguments):
                self._waiting = [event for rest in groups[position:] for event in rest]
                self._waiting_chars = sum(map(_chars, self._waiting))
                break
            for event in group:
                out += self._write(event)
        return out

    # Blocks.

    def _write(self, event: Event) -> Documents:
        match event:
            case TextDelta(text=""):
                if self._open != "text" or _is_own(event.native):
                    self._empty_text = event
                return []
            case TextDelta():
                return self._write_text("text", event.text, event.native)
            case RefusalDelta(text=text):
                self.refused = True
                return self._write_text("refusal", text)
            case ReasoningDelta():
                return self._write_reasoning(event)
            case ToolCallBegin():
                return self._write_call(event)
            case ToolCallDelta():
                return self._write_arguments(event)
            case Citation():
                return self._write_citation(event)
            case RedactedReasoning(signature=signature):
                block = {"type": "redacted_thinking", "data": sign(signature)}
                return self._start("redacted_thinking", block)
            case NativeEvent():
                return self._write_native(event)
            case MediaDelta(transcript=text) if text:
                return self._write_text("text", text)
            case BlockEnd():
                return self._flush_empty_text() + self._close()
            case _:  # logprobs
                return []

    def _start(self, kind: str, block: dict[str, Any]) -> Documents:
        out = self._close()
        self._empty_text = None
        self._index += 1
        self._open = kind
        out.append({"type": "content_block_start", "index": self._index, "content_block": block})
        return out

    def _delta(self, kind: str, name: str, value: object) -> dict[str, Any]:
        delta = {"type": kind, name: value}
        return {"type": "content_block_delta", "index": self._index, "delta": delta}

    def _close(self) -> Documents:
        if self._open is None:
            return []
        out: Documents = []
        if self._open == "thinking" and not self._signed:
            out.append(self._delta("signature_delta", "signature", sign(None)))
        if self._call is not None and not self._object:
            whole = dump_text(read_arguments("".join(self._arguments)))
            out.append(self._delta("input_json_delta", "partial_json", whole))
        out.append({"type": "content_block_stop", "index": self._index})
        self._open = self._call = None
        self._arguments = []
        self._object = None
        return out

    def _flush_empty_text(self) -> Documents:
        """A text block that stays empty: only its end shows that it was one."""
        if (empty := self._empty_text) is None:
            return []
        return self._start("text", {"type": "text", "text": ""} | own_fields(empty.native))

    def _write_text(self, kind: str, text: str, native: Native | None = None) -> Documents:
        out: Documents = []
        if self._open != kind or self._empty_text is not None:
            extras = own_fields(native)
            if kind == "text" and self._empty_text is not None:
                extras = own_fields(self._empty_text.native) | extras
            out = self._start(kind, {"type": "text", "text": ""} | extras)
            early, self._early = self._early, []
            for citation in early:
                out += self._write_citation(citation)
        if text:
            out.append(self._delta("text_delta", "text", text))
        return out

    def _write_reasoning(self, event: ReasoningDelta) -> Documents:
        out: Documents = []
        if self._open != "thinking":
            own = _is_own(event.native)
            if not event.text and not own and event.signature is None:
                return []
            block = {"type": "thinking", "thinking": "", "signature": ""}
            out = self._start("thinking", block | own_fields(event.native))
            # An answer of this protocol has its own signatures, or wants none.
            self._signed = own
        if event.text:
            out.append(self._delta("thinking_delta", "thinking", event.text))
        if event.signature is not None:
            out.append(self._delta("signature_delta", "signature", sign(event.signature)))
            self._signed = True
        return out

    def _write_call(self, event: ToolCallBegin) -> Documents:
        call_id = carry(plain_id(event.id), event.signature)
        block = {"type": "tool_use", "id": call_id, "name": event.name, "input": {}}
        out = self._start("tool_use", block | own_fields(event.native))
        self.called = True
        self._call = event.index
        out.append(self._delta("input_json_delta", "partial_json", ""))
        return out

    def _write_arguments(self, event: ToolCallDelta) -> Documents:
        if event.index != self._call or not event.arguments:
            return []  # whitespace behind arguments that were whole
        text = event.arguments
        if self._object is None:
            if not (text := text.lstrip()):
                return []
            self._object = text.startswith("{")
        self._arguments.append(text)
        return [self._delta("input_json_delta", "partial_json", text)] if self._object else []

    def _write_citation(self, event: Citation) -> Documents:
        own = own_fields(event.native).get("citation")
        out = self._flush_empty_text() if own else []
        if self._open != "text":  # others say their sources ahead of the text, or behind it all
            self._early += [event] * (len(self._early) < _EARLY_MAX)
            return []
        citation = own or {
            "type": "web_search_result_location",
            "cited_text": event.cited_text or "",
            "encrypted_index": sign(None),
            "title": event.title,
            "url": event.url or "",
        }
        return [*out, self._delta("citations_delta", "citation", citation)]

    def _write_native(self, event: NativeEvent) -> Documents:
        match own_fields(event.native):
            case {"block": dict(block)}:
                return self._start("native", block)
            case {"delta": dict(delta)} if self._open is not None:
                return [
                    {"type": "content_block_delta", "index": self._index, "delta": delta},
                ]
            case _:
                return []

    # Endings.

    def finish(self) -> Documents:
        """What waits, and the ending."""
        out = self._rest()
        delta = encode_finish(self._finish, called=self.called, refused=self.refused)
        ending = {"type": "message_delta", "delta": delta, "usage": self._final_usage()}
        return [*out, ending | finish_beside(self._finish), {"type": "message_stop"}]

    def _final_usage(self) -> dict[str, Any]:
        if self._report is None:
            return encode_usage(Usage()) | {
                name: value for name, value in self._usage.items() if name in _CUMULATIVE
            }
        own = dict_of(own_fields(self._report.native).get("usage"))
        return own or encode_usage(self._report.usage)

    def cut(self, usage: Usage) -> Documents:
        """An early ending for length."""
        return [*self._rest(), cut_event(usage), {"type": "message_stop"}]

    def _rest(self) -> Documents:
        out = [] if self._begun else self._begin(Begin(None, None))
        if self._waiting:
            out += self._release(force=True)
        return out + self._close()


def _is_own(native: Native | None) -> bool:
    return native is not None and native.protocol == PROTOCOL


def _is_whole(pieces: list[str]) -> bool:
    """Whether a call's arguments are complete JSON."""
    try:
        orjson.loads("".join(pieces))
    except orjson.JSONDecodeError:
        return False
    return True


def _chars(event: Event) -> int:
    match event:
        case TextDelta(text=text) | ReasoningDelta(text=text) | RefusalDelta(text=text):
            return len(text)
        case ToolCallDelta(arguments=text):
            return len(text)
        case _:
            return 64


def _blocks_of(events: Iterable[Event]) -> list[list[Event]]:
    """Events in groups of one block each: a call with all its pieces, or one run of others."""
    groups: list[list[Event]] = []
    calls: dict[int, list[Event]] = {}
    for event in events:
        if isinstance(event, ToolCallBegin):
            calls[event.index] = [event]
            groups.append(calls[event.index])
        elif isinstance(event, ToolCallDelta):
            calls.get(event.index, []).append(event)
        elif groups and not isinstance(groups[-1][0], ToolCallBegin):
            groups[-1].append(event)
        else:
            groups.append([event])
    return groups
