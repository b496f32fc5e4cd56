"""Canonical events as pieces of Gemini's answer, the same for a stream and for a whole one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.events import (
    Begin,
    BlockEnd,
    Citation,
    Event,
    Finish,
    FinishReason,
    LogprobsDelta,
    MediaDelta,
    NativeEvent,
    ReasoningDelta,
    RedactedReasoning,
    RefusalDelta,
    TextDelta,
    TokenLogprob,
    ToolCallBegin,
    ToolCallDelta,
    UsageReport,
)
from engine.protocols.gemini.arguments import arguments_object
from engine.protocols.gemini.finish import name_finish
from engine.protocols.gemini.grounding import TEXT_MAX_CHARS, encode_grounding
from engine.protocols.gemini.signatures import is_invented, own_fields, sign
from engine.protocols.gemini.usage import TIERS, encode_usage
from engine.wire.sse import EventTooLargeError

_ARGUMENTS_MAX_CHARS = 16 * 1024 * 1024

_MIME_TYPES = {"image": "image/png", "audio": "audio/wav", "video": "video/mp4"}


@dataclass(frozen=True, slots=True)
class Piece:
    """One addition to the answer: a part, or fields of a candidate (or of all, `choice` None).

    `joins`: the text goes on where the part before it stopped.
    """

    choice: int | None
    part: dict[str, Any] | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    joins: bool = False


@dataclass(slots=True)
class _Call:
    begin: ToolCallBegin
    arguments: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Choice:
    """What is known of one candidate on the way out."""

    calls: dict[int, _Call] = field(default_factory=dict)
    called: bool = False
    refused: bool = False
    text: list[str] = field(default_factory=list)
    text_chars: int = 0
    citations: list[Citation] = field(default_factory=list)
    finish: Finish | None = None


class AnswerWriter:
    """Turns events into pieces; calls wait until they are whole, ends until `ending`."""

    def __init__(self) -> None:
        self.begin: Begin | None = None
        self.usage: UsageReport | None = None
        self.choices: dict[int, _Choice] = {}
        self._waiting_chars = 0

    @property
    def holding(self) -> bool:
        """A call waits for the rest of its arguments."""
        return any(choice.calls for choice in self.choices.values())

    def go_on_from(self, begin: Begin, text: str) -> None:
        """An answer has begun, and so much text of its first candidate is out."""
        self.begin = begin
        choice = self._of(0)
        choice.text.append(text[:TEXT_MAX_CHARS])
        choice.text_chars = len(text)

    def write(self, event: Event) -> list[Piece]:
        """The pieces that an event adds.

        Raises:
            EventTooLargeError: the arguments that wait are over their bound.
        """
        match event:
            case Begin():
                self.begin = event
                fields = own_fields(event.native) or {}
                return [Piece(None, fields=fields["answer"])] if fields.get("answer") else []
            case UsageReport():
                self.usage = event
                return []
            case Finish():
                self._of(event.choice).finish = event
                return []
            case Citation():
                if own_fields(event.native) is None:  # Gemini's own stand in its metadata
                    self._of(event.choice).citations.append(event)
                return []
            case ToolCallBegin():
                return self._begin_call(event)
            case ToolCallDelta():
                return self._arguments(event)
            case BlockEnd():
                return self.flush(event.choice)
            case _:
                piece = self._piece(event)
                return [*self.flush(event.choice), piece] if piece is not None else []

    def _of(self, index: int) -> _Choice:
        return self.choices.setdefault(index, _Choice())

    def _begin_call(self, begin: ToolCallBegin) -> list[Piece]:
        streamed = (own_fields(begin.native) or {}).get("streamed")
        if streamed is not None:  # in pieces, as it came
            return [*self.flush(begin.choice), Piece(begin.choice, streamed)]
        self._of(begin.choice).calls[begin.index] = _Call(begin)
        return []

    def _arguments(self, delta: ToolCallDelta) -> list[Piece]:
        call = self._of(delta.choice).calls.get(delta.index)
        if part := (own_fields(delta.native) or {}).get("part"):
            return [Piece(delta.choice, part)]
        if call is not None:
            self._waiting_chars += len(delta.arguments)
            if self._waiting_chars > _ARGUMENTS_MAX_CHARS:
                raise EventTooLargeError(
                    f"arguments are longer than the bound of {_ARGUMENTS_MAX_CHARS} characters"
                )
            call.arguments.append(delta.arguments)
        return []

    def _piece(self, event: Event) -> Piece | None:
        match event:
            case TextDelta() | RefusalDelta():
                return self._text(event)
            case ReasoningDelta():
                kept = own_fields(event.native)
                part = {"text": event.text, "thought": True, **((kept or {}).get("part") or {})}
                if event.signature is not None:
                    part["thoughtSignature"] = sign(event.signature)
                return Piece(event.choice, part, joins=kept is None)
            case RedactedReasoning():
                secret = sign(event.signature, redacted=True)
                return Piece(
                    event.choice, {"text": "", "thought": True, "thoughtSignature": secret}
                )
            case MediaDelta():
                return _media(event)
            case LogprobsDelta():
                kept = own_fields(event.native) or {"logprobsResult": _logprobs(event.tokens)}
                return Piece(event.choice, fields=kept)
            case NativeEvent():
                kept = own_fields(event.native) or {}
                if "answer" in kept:
                    return Piece(None, fields=kept["answer"])
                if "part" in kept:
                    return Piece(event.choice, kept["part"])
                return Piece(event.choice, fields=_named(kept["candidate"])) if kept else None
            case _:
                return None

    def _text(self, event: TextDelta | RefusalDelta) -> Piece | None:
        choice = self._of(event.choice)
        kept, signature = None, None
        if isinstance(event, RefusalDelta):
            choice.refused = True
        else:
            kept, signature = own_fields(event.native), event.signature
        if choice.text_chars < TEXT_MAX_CHARS:
            choice.text.append(event.text)
            choice.text_chars += len(event.text)
        if not event.text and kept is None and signature is None:
            return None
        part = {"text": event.text, **((kept or {}).get("part") or {})}
        if signature is not None:
            part["thoughtSignature"] = sign(signature)
        return Piece(event.choice, part, joins=kept is None)

    def flush(self, index: int, *, cut: bool = False) -> list[Piece]:
        """The calls that wait, whole. Of an answer that is cut, those whose arguments are."""
        choice = self.choices.get(index)
        if choice is None or not choice.calls:
            return []
        calls, choice.calls = choice.calls, {}
        self._waiting_chars = 0
        pieces = []
        for number in sorted(calls):
            call = calls[number]
            text = "".join(call.arguments)
            arguments = arguments_object(text, repair=not cut)
            if arguments is not None:
                pieces.append(Piece(index, self._call(choice, call.begin, arguments)))
                choice.called = True
        return pieces

    @staticmethod
    def _call(choice: _Choice, begin: ToolCallBegin, arguments: dict[str, Any]) -> dict[str, Any]:
        kept = own_fields(begin.native)
        fields = kept or {}
        call: dict[str, Any] = {"name": begin.name, "args": arguments, **(fields.get("call") or {})}
        if fields.get("no_args"):
            del call["args"]
        if not is_invented(begin.id):
            call = {"id": begin.id} | call
        part = {"functionCall": call, **(fields.get("part") or {})}
        if begin.signature is not None:
            part["thoughtSignature"] = sign(begin.signature)
        elif kept is None and not choice.called:  # of another provider: see `verbatim`
            part["thoughtSignature"] = sign(None)
        return part

    def candidate_end(self, index: int) -> dict[str, Any]:
        """The fields with which a candidate ends."""
        choice = self._of(index)
        finish = choice.finish
        kept = own_fields(finish.native) if finish is not None else None
        if kept is not None and "candidate" in kept:
            return dict(_named(kept["candidate"]))
        reason = finish.reason if finish is not None else FinishReason.STOP
        if choice.refused and reason in (FinishReason.STOP, FinishReason.OTHER):
            reason = FinishReason.FILTERED
        end: dict[str, Any] = {"finishReason": name_finish(reason)}
        if finish is not None and finish.explanation is not None:
            end["finishMessage"] = finish.explanation
        if choice.citations:
            end["groundingMetadata"] = encode_grounding(choice.citations, "".join(choice.text))
        return end

    def ending(self) -> tuple[dict[int, dict[str, Any]], dict[str, Any]]:
        """How each candidate ends, and the fields with which the answer does."""
        last: dict[str, Any] = {}
        if self.usage is not None:
            kept = own_fields(self.usage.native) or {}
            last["usageMetadata"] = _named(kept.get("usageMetadata")) or (
                encode_usage(self.usage.usage) | self._tier()
            )
        ends: dict[int, dict[str, Any]] = {}
        for index, choice in sorted(self.choices.items()):
            finish = choice.finish
            if finish is not None and (own_fields(finish.native) or {}).get("no_candidate"):
                continue
            if finish is not None and self._is_blocked(choice, finish):
                words = finish.explanation
                message = {} if words is None else {"blockReasonMessage": words}
                last["promptFeedback"] = {"blockReason": "OTHER"} | message
                continue
            ends[index] = self.candidate_end(index)
        return ends, last

    def _tier(self) -> dict[str, str]:
        tier = None if self.begin is None else self.begin.service_tier
        return {"serviceTier": tier} if tier in TIERS else {}

    @staticmethod
    def _is_blocked(choice: _Choice, finish: Finish) -> bool:
        """The prompt was blocked, and nothing of an answer came before that was known."""
        said = choice.text or choice.called
        return finish.reason is FinishReason.PROMPT_BLOCKED and not said


_REASON_NUMBERS = {1: "STOP", 2: "MAX_TOKENS", 3: "SAFETY", 4: "RECITATION"}
_ENUMERATIONS = frozenset({"category", "probability", "severity", "modality", "trafficType"})


def _named(value: Any) -> Any:
    """What a provider said, without enum values as numbers: google-genai knows the names only."""
    if isinstance(value, list):
        return [_named(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: _REASON_NUMBERS.get(item, "OTHER")
        if name == "finishReason" and isinstance(item, int)
        else _named(item)
        for name, item in value.items()
        if not (name in _ENUMERATIONS and isinstance(item, int))
    }


def _media(event: MediaDelta) -> Piece | None:
    if not event.data:
        return Piece(event.choice, {"text": event.transcript}) if event.transcript else None
    kept = own_fields(event.native)
    fields = kept or {}
    mime_type = event.mime_type or _MIME_TYPES[event.kind]
    inline = {"mimeType": mime_type, "data": event.data, **(fields.get("inline") or {})}
    return Piece(event.choice, {"inlineData": inline, **(fields.get("part") or {})})


def _logprobs(tokens: Sequence[TokenLogprob]) -> dict[str, Any]:
    return {
        "chosenCandidates": [_token(token) for token in tokens],
        "topCandidates": [
            {"candidates": [_token(other) for other in token.top]} for token in tokens
        ],
    }


def _token(token: TokenLogprob) -> dict[str, Any]:
    return {"token": token.token, "logProbability": token.logprob}
