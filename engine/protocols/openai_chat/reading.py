"""Chunks and whole answers as canonical events, by one reader for both: a message is one delta."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.conversation import Native
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
    TokenLogprob,
    UsageReport,
)
from engine.protocols.fields import dict_of, dicts, text_of
from engine.protocols.openai_chat.calls import NAME, CallReader
from engine.protocols.openai_usage import read_usage
from engine.protocols.quirks import PLAIN, Quirks

FINISH_REASONS = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.FILTERED,
    "function_call": FinishReason.TOOL_CALLS,
    "eos": FinishReason.STOP,  # Together, older models
    "model_length": FinishReason.CONTEXT_LENGTH,  # Mistral
}
"""Finish reasons seen; any other one is OTHER."""

# What of a chunk is not kept for an encoder: what events say, and padding.
_CHUNK_FIELDS = frozenset(
    {"id", "object", "created", "model", "choices", "usage", "obfuscation", "p", "error"}
)
CHOICE_FIELDS = frozenset({"index", "delta", "message", "finish_reason", "logprobs"})
_DELTA_FIELDS = frozenset(
    {
        "role",
        "content",
        "refusal",
        "reasoning_content",
        "reasoning",
        "tool_calls",
        "function_call",
        "audio",
        "annotations",
        "images",
    }
)

_OPENING_FIELDS = ("role", "content", "refusal")

_CHOICES_MAX = 1_024


@dataclass(slots=True)
class _Choice:
    index: int
    calls: CallReader
    opened: bool = False
    finished: bool = False


@dataclass(slots=True)
class AnswerReader:
    """Reads the chunks of one answer in order, or its only document.

    Attributes:
        natives: keep what only this protocol knows, for an encoder of it.
        finished: choices that ended with the document read last.
        choices: those that have begun, by index.
    """

    natives: bool
    quirks: Quirks = PLAIN
    begun: bool = False
    finished: Sequence[int] = ()
    _id: str | None = None
    choices: dict[int, _Choice] = field(default_factory=dict)
    _chunk_natives: dict[str, Any] = field(default_factory=dict)

    def read(self, document: dict[str, Any]) -> list[Event]:
        """The events of one chunk or one whole answer."""
        events: list[Event] = []
        choices = document.get("choices")
        self._read_head(document, bool(choices), events)
        for position, choice in enumerate(dicts(choices)):
            self._read_choice(position, choice, events)
        self.finished = [event.choice for event in events if isinstance(event, Finish)]
        usage = document.get("usage")
        if usage is None and (groq := document.get("x_groq")):
            document = dict_of(groq)
            usage = document.get("usage")
        if usage is not None and (report := read_usage(document, self.quirks)) is not None:
            native = Native(NAME, usage) if self.natives else None
            events.append(UsageReport(report, native))
        return events

    def _read_head(self, document: dict[str, Any], content: bool, events: list[Event]) -> None:
        if self.begun and not self.natives:
            return
        extra = {key: value for key, value in document.items() if key not in _CHUNK_FIELDS}
        if not self.begun:
            self._chunk_natives.update(extra)
            answer_id = text_of(document.get("id")) or None
            if answer_id or content or document.get("usage"):  # else Azure's first, without names
                self.begun = True
                self._id = answer_id
                created = document.get("created")
                native = Native(NAME, dict(self._chunk_natives)) if self.natives else None
                events.append(
                    Begin(
                        answer_id,
                        text_of(document.get("model")) or None,
                        created if isinstance(created, int) and created > 0 else None,
                        service_tier=TIERS.get(text_of(document.get("service_tier"))),
                        native=native,
                    )
                )
            return
        known = self._chunk_natives
        news = {key: value for key, value in extra.items() if known.get(key) != value}
        if news:
            known.update(news)
            events.append(NativeEvent(Native(NAME, {"chunk": news}), ", ".join(news)))

    def _read_choice(self, position: int, choice: dict[str, Any], events: list[Event]) -> None:
        state = self._choice(choice.get("index"), position)
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            delta = dict_of(choice.get("message"))
        if self.natives:
            self._read_natives(state, choice, delta, events)
        events.extend(self._read_delta(state, delta))
        if logprobs := choice.get("logprobs"):
            events.extend(_read_logprobs(logprobs, state.index))
        reason = choice.get("finish_reason")
        if reason and not state.finished:
            state.finished = True
            events.extend(state.calls.finish(self._id))
            events.append(_finish(reason, state))

    def _choice(self, index: object, position: int) -> _Choice:
        if not isinstance(index, int) or not 0 <= index < _CHOICES_MAX:
            index = position
        state = self.choices.get(index)
        if state is None:
            state = self.choices[index] = _Choice(index, CallReader(index))
        return state

    def _read_natives(
        self, state: _Choice, choice: dict[str, Any], delta: dict[str, Any], events: list[Event]
    ) -> None:
        own = {k: v for k, v in delta.items() if k not in _DELTA_FIELDS and v is not None}
        if not state.opened:
            state.opened = True
            opening: dict[str, Any] = {k: delta[k] for k in _OPENING_FIELDS if k in delta}
            for name in ("content", "refusal"):
                if opening.get(name) is not None:
                    opening[name] = ""
            if delta.get("annotations") == []:
                opening["annotations"] = []
            own = opening | own
        fields = {"delta": own} if own else {}
        around = {k: v for k, v in choice.items() if k not in CHOICE_FIELDS and v is not None}
        if around:
            fields["choice"] = around
        if fields:
            label = ", ".join([*own, *around])
            events.append(NativeEvent(Native(NAME, fields), label, state.index))

    def _read_delta(self, state: _Choice, delta: dict[str, Any]) -> Iterator[Event]:
        index = state.index
        for name, value in delta.items():
            if not value:
                continue
            match name:
                case "content" if isinstance(value, str):
                    yield TextDelta(value, index)
                case "content":
                    yield from _read_parts(value, index)
                case "reasoning_content" if isinstance(value, str):
                    yield ReasoningDelta(value, index)
                case "reasoning" if isinstance(value, str):
                    # Some say their reasoning under both names.
                    if delta.get("reasoning_content") != value:
                        native = Native(NAME, {"field": "reasoning"}) if self.natives else None
                        yield ReasoningDelta(value, index, native=native)
                case "refusal" if isinstance(value, str):
                    yield RefusalDelta(value, index)
                case "tool_calls":
                    for fragment in dicts(value):
                        yield from state.calls.read(fragment, self._id)
                case "function_call" if isinstance(value, dict):
                    yield from state.calls.read_legacy(value, self._id)
                case "audio" if isinstance(value, dict):
                    yield _audio(value, index)
                case "images" | "annotations":
                    yield from _READERS[name](value, index)


def _finish(reason: object, state: _Choice) -> Finish:
    known = FINISH_REASONS.get(reason) if isinstance(reason, str) else None
    if known is FinishReason.STOP and state.calls.any:
        known = FinishReason.TOOL_CALLS  # as OpenAI ends where a named tool was forced
    spelled = {"finish_reason": reason} if FINISH_SPELLING.get(known) != reason else None
    return Finish(
        known or FinishReason.OTHER,
        state.index,
        native=Native(NAME, spelled) if spelled else None,
    )


TIERS = {"default": "standard", "priority": "priority", "flex": "flex", "fast": "fast"}
"""Service tiers in `Begin`'s words."""

FINISH_SPELLING: dict[FinishReason | None, str] = {
    FinishReason.STOP: "stop",
    FinishReason.STOP_SEQUENCE: "stop",
    FinishReason.LENGTH: "length",
    FinishReason.CONTEXT_LENGTH: "length",
    FinishReason.TOOL_CALLS: "tool_calls",
    FinishReason.FILTERED: "content_filter",
    FinishReason.PROMPT_BLOCKED: "content_filter",
    FinishReason.PAUSED: "stop",
    FinishReason.MALFORMED_CALL: "stop",
    FinishReason.OTHER: "stop",
}
"""How each reason is said to a client of this protocol (WIRE-FACTS section 8)."""


def _read_parts(value: object, choice: int) -> Iterator[Event]:
    """Content that is a list (Mistral): text and thinking, whose text is a list again."""
    for part in dicts(value):
        thinking = part.get("thinking")
        if isinstance(thinking, str) and thinking:
            yield ReasoningDelta(thinking, choice)
        for inner in dicts(thinking):
            if text := text_of(inner.get("text")):
                yield ReasoningDelta(text, choice)
        if text := text_of(part.get("text")):
            yield TextDelta(text, choice)
        elif text := text_of(part.get("refusal")):
            yield RefusalDelta(text, choice)


def _read_images(value: object, choice: int) -> Iterator[Event]:
    """Generated images, as OpenRouter and Gemini's compatible endpoint give them."""
    for image in dicts(value):
        url = text_of(dict_of(image.get("image_url")).get("url"))
        head, _, data = url.partition(";base64,")
        if data and head.startswith("data:"):
            yield MediaDelta("image", head.removeprefix("data:"), data, choice=choice)


def _read_annotations(value: object, choice: int) -> Iterator[Event]:
    for annotation in dicts(value):
        place = dict_of(annotation.get("url_citation"))
        start, end = place.get("start_index"), place.get("end_index")
        yield Citation(
            url=text_of(place.get("url")) or None,
            title=text_of(place.get("title")) or None,
            start=start if isinstance(start, int) else None,
            end=end if isinstance(end, int) else None,
            choice=choice,
            native=Native(NAME, annotation),
        )


_READERS = {"images": _read_images, "annotations": _read_annotations}


def _audio(audio: dict[str, Any], choice: int) -> MediaDelta:
    extra = {key: audio[key] for key in ("id", "expires_at") if audio.get(key) is not None}
    return MediaDelta(
        "audio",
        data=text_of(audio.get("data")),
        transcript=text_of(audio.get("transcript")),
        choice=choice,
        native=Native(NAME, extra) if extra else None,
    )


def _read_logprobs(logprobs: object, choice: int) -> Iterator[Event]:
    fields = dict_of(logprobs)
    for name, refusal in (("content", False), ("refusal", True)):
        if isinstance(tokens := fields.get(name), list):
            yield LogprobsDelta(_tokens(tokens), choice, refusal)


def _tokens(value: object) -> tuple[TokenLogprob, ...]:
    return tuple(
        TokenLogprob(
            item["token"],
            float(item["logprob"]),
            _bytes(item.get("bytes")),
            _tokens(item.get("top_logprobs")),
        )
        for item in dicts(value)
        if isinstance(item.get("token"), str) and isinstance(item.get("logprob"), (int, float))
    )


def _bytes(value: object) -> tuple[int, ...] | None:
    if not isinstance(value, list) or not all(isinstance(item, int) for item in value):
        return None
    return tuple(value)
