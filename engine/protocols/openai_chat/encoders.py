"""A stream for a client of this protocol, made of canonical events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

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
    RefusalDelta,
    TextDelta,
    ToolCallBegin,
    ToolCallDelta,
    Usage,
    UsageReport,
)
from engine.protocols.codec import ClientRequest, Identity
from engine.protocols.fields import text_of
from engine.protocols.openai_chat import encoding
from engine.protocols.openai_chat.calls import NAME
from engine.protocols.openai_stream import DONE_EVENT
from engine.protocols.openai_usage import encode_usage

_LASTING = ("service_tier", "system_fingerprint")
"""What every chunk repeats beside id, object, created and model."""


@dataclass(slots=True)
class _Call:
    kind: str
    empty: bool = True


@dataclass(slots=True)
class _Choice:
    """What has gone out of one choice."""

    index: int
    opened: bool = False
    calls: dict[int, _Call] = field(default_factory=dict)
    annotations: list[dict[str, Any]] = field(default_factory=list)
    """Kept for the end: the SDK's accumulator takes one list of them, once."""
    images: int = 0
    audio: bool = False
    finish: Finish | None = None


class ChatEncoder:
    """See `codec.StreamEncoder`. A chunk carries what one event says."""

    holding = False
    """Nothing that was generated waits; annotations go with the ending."""

    def __init__(self, request: ClientRequest, identity: Identity) -> None:
        self._request = request
        self._legacy = encoding.wants_legacy(request)
        self._identity = identity
        self._begin: Begin | None = None
        self._once: dict[str, Any] = {}
        self._lasting: dict[str, Any] = {}
        self._choices: dict[int, _Choice] = {}
        self._usage: UsageReport | None = None
        self._set_frame()

    @classmethod
    def resumed(
        cls, request: ClientRequest, identity: Identity, like: Mapping[str, Any]
    ) -> ChatEncoder:
        """For a completion whose first choice has begun to go out; `like` is a chunk of it."""
        encoder = cls(request, identity)
        created = like.get("created")
        encoder._begin = Begin(
            text_of(like.get("id")) or None,
            text_of(like.get("model")) or None,
            created if isinstance(created, int) and created > 0 else None,
        )
        encoder._choice(0).opened = True
        encoder._take({name: like[name] for name in _LASTING if name in like})
        return encoder

    def _set_frame(self) -> None:
        """What stands before and after the choices of every chunk."""
        self._head = encoding.encode_identity(self._begin, self._identity, "chat.completion.chunk")
        self._head |= self._lasting
        self._prefix = b"data: " + orjson.dumps(self._head)[:-1] + b',"choices":['
        self._suffix = b'],"usage":null}\n\n' if self._request.include_usage else b"]}\n\n"
        self._text_chunks: dict[int, tuple[bytes, bytes]] = {}

    def encode(self, event: Event) -> bytes:
        """The chunks of an event."""
        if type(event) is TextDelta:
            return self._encode_text(event)
        if isinstance(event, Begin):
            self._begin = event
            self._take(dict(encoding.own(event.native)))
            return b""
        if isinstance(event, UsageReport):
            self._usage = event
            return b""
        encode = _ENCODERS.get(type(event))
        return b"" if encode is None else encode(self, event)

    def _take(self, fields: dict[str, Any]) -> None:
        """Fields of the chunk as a whole."""
        self._lasting |= {name: fields.pop(name) for name in _LASTING if name in fields}
        self._once |= fields
        self._set_frame()

    def _choice(self, index: int) -> _Choice:
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = _Choice(index)
        return choice

    def _encode_text(self, event: TextDelta) -> bytes:
        """By far the most frequent event: only its text is written anew."""
        chunk = self._text_chunks.get(event.choice)
        if chunk is not None:
            return chunk[0] + orjson.dumps(event.text) + chunk[1] if event.text else b""
        choice = self._choice(event.choice)
        opening = self._open(choice, "")
        before = b'%b{"index":%d,"delta":{"content":' % (self._prefix, event.choice)
        after = b'},"logprobs":null,"finish_reason":null}' + self._suffix
        self._text_chunks[event.choice] = (before, after)
        return opening + self._encode_text(event)

    def _open(self, choice: _Choice, content: str | None) -> bytes:
        """The role, once, in a chunk of its own."""
        if choice.opened:
            return b""
        choice.opened = True
        return self._chunk(choice, {"role": "assistant", "content": content, "refusal": None})

    def _chunk(
        self,
        choice: _Choice,
        delta: dict[str, Any],
        *,
        logprobs: dict[str, Any] | None = None,
        reason: str | None = None,
        around: dict[str, Any] | None = None,
    ) -> bytes:
        document = {
            "index": choice.index,
            "delta": delta,
            "logprobs": logprobs,
            "finish_reason": reason,
            **(around or {}),
        }
        prefix = self._prefix
        if self._once:  # with the first chunk that there is
            prefix = b"data: " + orjson.dumps(self._head | self._once)[:-1] + b',"choices":['
            self._once = {}
        return prefix + orjson.dumps(document) + self._suffix

    def _delta(self, index: int, delta: dict[str, Any]) -> bytes:
        choice = self._choice(index)
        return self._open(choice, None) + self._chunk(choice, delta)

    def _encode_refusal(self, event: RefusalDelta) -> bytes:
        return self._delta(event.choice, {"refusal": event.text}) if event.text else b""

    def _encode_reasoning(self, event: ReasoningDelta) -> bytes:
        name = encoding.own(event.native).get("field", "reasoning_content")
        return self._delta(event.choice, {name: event.text}) if event.text else b""

    def _encode_call(self, event: ToolCallBegin) -> bytes:
        choice = self._choice(event.choice)
        kind = encoding.call_kind(event, legacy=self._legacy)
        choice.calls[event.index] = _Call(kind)
        call = encoding.encode_call(event, kind)
        if kind == encoding.LEGACY:
            return self._delta(event.choice, {kind: call[kind]})
        return self._delta(event.choice, {"tool_calls": [{"index": event.index} | call]})

    def _encode_arguments(self, event: ToolCallDelta) -> bytes:
        call = self._choice(event.choice).calls.get(event.index)
        if call is None or not event.arguments:
            return b""
        call.empty = False
        return self._delta(event.choice, _arguments(event.index, call.kind, event.arguments))

    def _encode_citation(self, event: Citation) -> bytes:
        annotation = encoding.encode_citation(event)
        if annotation is not None:
            self._choice(event.choice).annotations.append(annotation)
        return b""

    def _encode_media(self, event: MediaDelta) -> bytes:
        choice = self._choice(event.choice)
        if event.kind == "audio":
            audio = encoding.encode_audio(event, self._head, first=not choice.audio)
            choice.audio = True
            return self._delta(event.choice, {"audio": audio})
        if not event.data:
            return b""
        image = encoding.encode_image(event, choice.images)
        choice.images += 1
        return self._delta(event.choice, {"images": [image]})

    def _encode_logprobs(self, event: LogprobsDelta) -> bytes:
        choice = self._choice(event.choice)
        opening = self._open(choice, "")
        return opening + self._chunk(choice, {}, logprobs=encoding.encode_logprobs(event))

    def _encode_native(self, event: NativeEvent) -> bytes:
        fields = encoding.own(event.native)
        if not fields:
            return b""
        if chunk := fields.get("chunk"):
            self._take(dict(chunk))
        delta, around = fields.get("delta"), fields.get("choice")
        if not delta and not around:
            return b""
        choice = self._choice(event.choice)
        delta = dict(delta or {})
        if "role" in delta and not choice.opened:
            choice.opened = True
            return self._chunk(choice, delta, around=around)
        return self._open(choice, None) + self._chunk(choice, delta, around=around)

    def _remember(self, event: Finish) -> bytes:
        self._choice(event.choice).finish = event
        return b""

    def finish(self) -> bytes:
        """Annotations, the finish reasons, usage if it was asked for, `[DONE]`."""
        out = [self._end(choice, choice.finish) for choice in self._by_index() if choice.finish]
        if self._request.include_usage and self._usage is not None:
            out.append(self._usage_chunk(encoding.encode_report(self._usage)))
        return b"".join(out) + DONE_EVENT

    def cut(self, usage: Usage) -> bytes:
        """`finish_reason: "length"` for what is open, usage if it was asked for, `[DONE]`."""
        for index in range(self._request.choices):
            self._choice(index)
        out = [
            self._end(choice, choice.finish or Finish(FinishReason.LENGTH))
            for choice in self._by_index()
        ]
        if self._request.include_usage:
            out.append(self._usage_chunk(encode_usage(usage)))
        return b"".join(out) + DONE_EVENT

    def _by_index(self) -> list[_Choice]:
        return [self._choices[index] for index in sorted(self._choices)]

    def _end(self, choice: _Choice, finish: Finish) -> bytes:
        out = self._open(choice, "")
        if finish.reason is not FinishReason.LENGTH and not self._is_own():
            for index, call in choice.calls.items():
                if call.empty and call.kind != encoding.CUSTOM:  # its SDKs' users parse it
                    out += self._chunk(choice, _arguments(index, call.kind, "{}"))
        if choice.annotations:
            out += self._chunk(choice, {"annotations": choice.annotations})
            choice.annotations = []
        reason = encoding.encode_reason(finish, legacy=self._legacy)
        return out + self._chunk(choice, {}, reason=reason)

    def _is_own(self) -> bool:
        native = self._begin.native if self._begin is not None else None
        return native is not None and native.protocol == NAME

    def _usage_chunk(self, usage: dict[str, Any]) -> bytes:
        head = self._head | self._once | {"choices": [], "usage": usage}
        return b"data: " + orjson.dumps(head) + b"\n\n"


def _arguments(index: int, kind: str, text: str) -> dict[str, Any]:
    body = {encoding.ARGUMENTS[kind]: text}
    if kind == encoding.LEGACY:
        return {kind: body}
    return {"tool_calls": [{"index": index, kind: body}]}


_ENCODERS: dict[type[Event], Callable[[ChatEncoder, Any], bytes]] = {
    RefusalDelta: ChatEncoder._encode_refusal,
    ReasoningDelta: ChatEncoder._encode_reasoning,
    ToolCallBegin: ChatEncoder._encode_call,
    ToolCallDelta: ChatEncoder._encode_arguments,
    Citation: ChatEncoder._encode_citation,
    MediaDelta: ChatEncoder._encode_media,
    LogprobsDelta: ChatEncoder._encode_logprobs,
    NativeEvent: ChatEncoder._encode_native,
    Finish: ChatEncoder._remember,
}
"""BlockEnd and RedactedReasoning say nothing to this protocol's clients."""
