"""Whole answers: as the list of their events, and made of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from engine.events import (
    Begin,
    Citation,
    Event,
    Finish,
    LogprobsDelta,
    MediaDelta,
    NativeEvent,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallBegin,
    ToolCallDelta,
    UsageReport,
)
from engine.protocols.codec import ClientRequest, Identity
from engine.protocols.fields import load_object
from engine.protocols.openai_chat import encoding
from engine.protocols.openai_chat.calls import NAME
from engine.protocols.openai_chat.errors import read_error
from engine.protocols.openai_chat.reading import AnswerReader
from engine.protocols.quirks import PLAIN, Quirks


def decode_response(body: bytes, quirks: Quirks = PLAIN) -> Sequence[Event]:
    """The events of a whole answer, the choices' ends and the usage last.

    Raises:
        ValueError: it is not a JSON object.
        UpstreamRejectedError: it is an error all the same.
    """
    document = load_object(body)
    if document.get("error") or ("choices" not in document and document.get("object") == "error"):
        raise read_error(200, body)
    events = AnswerReader(natives=True, quirks=quirks).read(document)
    return sorted(events, key=lambda event: isinstance(event, (Finish, UsageReport)))


def encode_response(events: Sequence[Event], request: ClientRequest, identity: Identity) -> bytes:
    """A whole answer for a client of this protocol."""
    begin = next((event for event in events if isinstance(event, Begin)), None)
    native = begin.native if begin is not None else None
    document = encoding.encode_identity(begin, identity, "chat.completion")
    legacy = encoding.wants_legacy(request)
    choices: dict[int, _Message] = {}
    usage = None
    for event in events:
        if isinstance(event, UsageReport):
            usage = encoding.encode_report(event)
        elif not isinstance(event, Begin):
            choices.setdefault(event.choice, _Message(document, legacy)).add(event)
    is_own = native is not None and native.protocol == NAME
    document["choices"] = [
        {"index": index} | choices[index].encode(as_it_was=is_own) for index in sorted(choices)
    ]
    if usage is not None:
        document["usage"] = usage
    return orjson.dumps(document | dict(encoding.own(native)))


@dataclass(slots=True)
class _Message:
    """One choice, put together from its events."""

    identity: dict[str, Any]
    legacy: bool
    fields: dict[str, Any] = field(
        default_factory=lambda: {"role": "assistant", "content": None, "refusal": None}
    )
    around: dict[str, Any] = field(default_factory=dict)
    logprobs: dict[str, Any] | None = None
    finish: Finish | None = None
    calls: dict[int, tuple[str, dict[str, Any]]] = field(default_factory=dict)

    def add(self, event: Event) -> None:
        """One more event of this choice."""
        match event:
            case TextDelta(text=text):
                self._append("content", text)
            case RefusalDelta(text=text):
                self._append("refusal", text)
            case ReasoningDelta(text=text) if text:
                name = encoding.own(event.native).get("field", "reasoning_content")
                self._append(name, text)
            case ToolCallBegin():
                kind = encoding.call_kind(event, legacy=self.legacy)
                self.calls[event.index] = (kind, encoding.encode_call(event, kind))
            case ToolCallDelta(index=index, arguments=text) if index in self.calls:
                kind, call = self.calls[index]
                call[kind][encoding.ARGUMENTS[kind]] += text
            case Citation() if (annotation := encoding.encode_citation(event)) is not None:
                self.fields.setdefault("annotations", []).append(annotation)
            case MediaDelta():
                self._add_media(event)
            case LogprobsDelta():
                self._add_logprobs(encoding.encode_logprobs(event))
            case NativeEvent(native=native):
                own = encoding.own(native)
                self.fields |= own.get("delta") or {}
                self.around |= own.get("choice") or {}
            case Finish():
                self.finish = event

    def _append(self, name: str, text: str) -> None:
        self.fields[name] = (self.fields.get(name) or "") + text

    def _add_media(self, event: MediaDelta) -> None:
        if event.kind == "audio":
            audio = self.fields.setdefault("audio", {})
            piece = encoding.encode_audio(event, self.identity, first=not audio)
            for name in ("data", "transcript"):
                piece[name] = audio.get(name, "") + piece.get(name, "")
            audio |= piece
        else:
            images = self.fields.setdefault("images", [])
            images.append(encoding.encode_image(event, len(images)))

    def _add_logprobs(self, logprobs: dict[str, Any]) -> None:
        self.logprobs = self.logprobs or {"content": None, "refusal": None}
        for name, tokens in logprobs.items():
            if tokens is not None:
                self.logprobs[name] = (self.logprobs[name] or []) + tokens

    def encode(self, *, as_it_was: bool) -> dict[str, Any]:
        """The choice; `as_it_was` leaves empty arguments empty, as a provider of this protocol
        wrote them."""
        message = self.fields
        calls = []
        for kind, call in self.calls.values():
            name = encoding.ARGUMENTS[kind]
            if not as_it_was and kind != encoding.CUSTOM:
                call[kind][name] = call[kind][name] or "{}"
            if kind == encoding.LEGACY:
                message[kind] = call[kind]
            else:
                calls.append(call)
        if calls:
            message["tool_calls"] = calls
        finish = self.finish
        reason = None if finish is None else encoding.encode_reason(finish, legacy=self.legacy)
        return {
            "message": message,
            "logprobs": self.logprobs,
            "finish_reason": reason,
            **self.around,
        }
