"""Answers as canonical events, for properties: what a protocol can say, in every order it may come.

`answers(protocol)` draws valid sequences; `normal` is what two sequences share that say the same.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from engine.conversation import Signature
from engine.events import (
    Begin,
    BlockEnd,
    Event,
    Finish,
    FinishReason,
    LogprobsDelta,
    MediaDelta,
    ReasoningDelta,
    RedactedReasoning,
    RefusalDelta,
    TextDelta,
    TokenLogprob,
    ToolCallBegin,
    ToolCallDelta,
    Usage,
    UsageReport,
)


@dataclass(frozen=True, slots=True)
class Profile:
    """What a protocol can say of an answer.

    Attributes:
        kinds: of what an answer is made.
        ends: why a choice without calls ends.
        ordered: the order of kinds is kept.
        created: it says when.
        objects: arguments are JSON objects.
        cache_writes: it counts them.
    """

    kinds: tuple[str, ...]
    ends: tuple[FinishReason, ...]
    choices_max: int
    ordered: bool
    created: bool
    objects: bool
    cache_writes: bool
    call_id: str
    tiers: tuple[str | None, ...]


PROFILES = {
    "openai_chat": Profile(
        kinds=("text", "reasoning", "refusal", "calls", "logprobs"),
        ends=(FinishReason.STOP, FinishReason.LENGTH, FinishReason.FILTERED),
        choices_max=3,
        ordered=False,
        created=True,
        objects=False,
        cache_writes=True,
        call_id=r"\Acall_[A-Za-z0-9]{4,12}\Z",
        tiers=(None, "standard", "priority", "flex"),
    ),
    "openai_responses": Profile(
        kinds=("text", "reasoning", "redacted", "refusal", "calls", "logprobs", "media"),
        ends=(FinishReason.STOP, FinishReason.LENGTH, FinishReason.FILTERED),
        choices_max=1,
        ordered=True,
        created=True,
        objects=False,
        cache_writes=True,
        call_id=r"\Acall_[A-Za-z0-9]{4,12}\Z",
        tiers=(None, "standard", "priority", "flex"),
    ),
    "anthropic": Profile(
        kinds=("text", "reasoning", "redacted", "calls"),
        ends=(
            FinishReason.STOP,
            FinishReason.STOP_SEQUENCE,
            FinishReason.LENGTH,
            FinishReason.CONTEXT_LENGTH,
            FinishReason.FILTERED,
            FinishReason.PAUSED,
        ),
        choices_max=1,
        ordered=True,
        created=False,
        objects=True,
        cache_writes=True,
        call_id=r"\Atoolu_[A-Za-z0-9]{4,12}\Z",
        tiers=(None, "standard", "priority", "batch"),
    ),
    "gemini": Profile(
        kinds=("text", "reasoning", "calls", "media"),
        ends=(
            FinishReason.STOP,
            FinishReason.LENGTH,
            FinishReason.FILTERED,
            FinishReason.MALFORMED_CALL,
            FinishReason.OTHER,
        ),
        choices_max=3,
        ordered=True,
        created=False,
        objects=True,
        cache_writes=False,
        call_id=r"\A[a-z0-9]{8}\Z",
        tiers=(None,),  # with the figures, behind the beginning of a stream
    ),
}

_TEXTS = st.text(min_size=1, max_size=12) | st.sampled_from(
    ["\u2028\u2029\x85", "data: [DONE]\n\n", "é€𝄞", '"}\r\n\r\n', "\\ud800", "\x00\x7f"]
)
_NAMES = st.from_regex(r"\A[a-z][a-z0-9_]{0,12}\Z")
_BASE64 = st.sampled_from(["QUJD", "+/8=", "AAECAwQFBgc="])
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXTS
)
_OBJECTS = st.dictionaries(
    _TEXTS,
    st.recursive(
        _SCALARS,
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_TEXTS, inner, max_size=2),
        max_leaves=4,
    ),
    max_size=3,
)


@st.composite
def _pieces(draw: st.DrawFn, text: str) -> list[str]:
    """A text in pieces; some may be empty."""
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=3)))
    edges = [0, *cuts, len(text)]
    return [text[a:b] for a, b in itertools.pairwise(edges)]


@st.composite
def usages(draw: st.DrawFn, profile: Profile) -> Usage:
    """A report that a provider may give."""
    figures = st.integers(0, 100_000)
    cached, written, plain = draw(figures), draw(figures), draw(figures)
    reasoning, visible = draw(figures), draw(figures)
    written = written if profile.cache_writes else 0
    return Usage(
        input_tokens=cached + written + plain,
        cached_input_tokens=cached,
        cache_write_tokens=written,
        output_tokens=reasoning + visible,
        reasoning_tokens=reasoning,
    )


@st.composite
def _calls(draw: st.DrawFn, profile: Profile, choice: int, first: int) -> list[Event]:
    """One call, or two whose arguments come in turns."""
    events: list[Event] = []
    waiting: list[list[Event]] = []
    for index in range(first, first + draw(st.integers(1, 2))):
        # An index in the id keeps the ids of one answer apart.
        call_id = f"{draw(st.from_regex(profile.call_id))}{choice}{index}"
        signed = profile is PROFILES["gemini"] and draw(st.booleans())
        signature = Signature("gemini", draw(_BASE64)) if signed else None
        events.append(
            ToolCallBegin(index, call_id, draw(_NAMES), choice=choice, signature=signature)
        )
        written = draw(_OBJECTS.map(json.dumps))
        if not profile.objects:
            written = draw(st.just(written) | _TEXTS | st.just(""))
        waiting.append(
            [ToolCallDelta(index, piece, choice=choice) for piece in draw(_pieces(written))]
        )
    while any(waiting):
        queue = draw(st.sampled_from([queue for queue in waiting if queue]))
        events.append(queue.pop(0))
    return events


@st.composite
def _segment(
    draw: st.DrawFn, protocol: str, kind: str, choice: int, first_call: int
) -> list[Event]:
    """A run of one kind, as its provider streams it."""
    profile = PROFILES[protocol]
    if kind == "calls":
        return draw(_calls(profile, choice, first_call))
    if kind == "redacted":
        return [RedactedReasoning(Signature(protocol, draw(_NAMES)), choice)]
    if kind == "media":
        return [MediaDelta("image", "image/png", draw(_BASE64), choice=choice)]
    pieces = draw(_pieces(draw(_TEXTS)))
    if kind == "refusal":
        return [RefusalDelta(piece, choice) for piece in pieces]
    if kind == "reasoning":
        events: list[Event] = [ReasoningDelta(piece, choice) for piece in pieces]
        signed: bool = draw(st.booleans())
        if protocol == "anthropic" or (protocol == "openai_responses" and signed):
            events.append(ReasoningDelta("", choice, Signature(protocol, draw(_NAMES))))
        return events
    events = []
    for piece in pieces:
        events.append(TextDelta(piece, choice))
        if kind == "logprobs" and piece:
            events.append(LogprobsDelta((draw(_tokens(piece)),), choice))
    return events


@st.composite
def _tokens(draw: st.DrawFn, text: str) -> TokenLogprob:
    chances = st.floats(-30, 0)
    top = TokenLogprob(text, draw(chances), tuple(text.encode()))
    return TokenLogprob(
        text, draw(chances), tuple(text.encode()), draw(st.sampled_from([(), (top,)]))
    )


@st.composite
def answers(draw: st.DrawFn, protocol: str) -> list[Event]:
    """A whole answer in events, of what the protocol can say."""
    profile = PROFILES[protocol]
    identity = draw(st.from_regex(r"\A[a-z]{3}_[A-Za-z0-9]{6}\Z"))
    created = draw(st.integers(1, 2**31)) if profile.created else None
    tier = draw(st.sampled_from(profile.tiers))
    events: list[Event] = [Begin(identity, draw(_NAMES), created, service_tier=tier)]
    ends: list[Event] = []
    choices: list[list[list[Event]]] = []
    for choice in range(draw(st.integers(1, profile.choices_max))):
        segments, end = draw(_choice(protocol, choice))
        choices.append(segments)
        ends.append(end)
    while any(choices):  # choices may come in turns
        queue = draw(st.sampled_from([queue for queue in choices if queue]))
        events += queue.pop(0)
    return [*events, *ends, UsageReport(draw(usages(profile)))]


@st.composite
def _choice(draw: st.DrawFn, protocol: str, choice: int) -> tuple[list[list[Event]], Finish]:
    profile = PROFILES[protocol]
    kinds = draw(st.lists(st.sampled_from(profile.kinds), max_size=4))
    segments: list[list[Event]] = []
    calls = 0
    for kind in kinds:
        segment = draw(_segment(protocol, kind, choice, calls))
        calls += sum(isinstance(event, ToolCallBegin) for event in segment)
        if protocol == "anthropic" and kind != "redacted":
            segment.append(BlockEnd(choice))
        segments.append(segment)
    called = (FinishReason.TOOL_CALLS, FinishReason.LENGTH)
    reason = draw(st.sampled_from(called if calls else profile.ends))
    stop = draw(_TEXTS) if reason is FinishReason.STOP_SEQUENCE else None
    return segments, Finish(reason, choice, stop_sequence=stop)


@dataclass(slots=True)
class Said:
    """A choice, with its pieces put together."""

    segments: list[tuple[Any, ...]] = field(default_factory=list)
    calls: dict[int, list[Any]] = field(default_factory=dict)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    finish: tuple[Any, ...] = ()
    closed: bool = True

    def add(self, kind: str, text: str) -> None:
        """Another piece of a run, or the first of the next."""
        if not text:
            return
        if not self.closed and self.segments and self.segments[-1][0] == kind:
            text = self.segments.pop()[1] + text
        self.segments.append((kind, text))
        self.closed = False


def normal(protocol: str, events: Sequence[Event]) -> dict[str, Any]:
    """What events say, however they were cut into pieces."""
    profile = PROFILES[protocol]
    said: dict[int, Said] = {}
    whole: dict[str, Any] = {"usage": None}
    for event in events:
        match event:
            case Begin(id=identity, model=model, created=created, service_tier=tier):
                whole |= {"id": identity, "model": model, "service_tier": tier}
                whole |= {"created": created} if profile.created else {}
            case UsageReport(usage=usage):
                whole["usage"] = usage
            case _:
                _say(said.setdefault(event.choice, Said()), event)
    whole["choices"] = {
        index: _choice_said(one, profile) for index, one in sorted(said.items()) if one.finish
    }
    return whole


def _say(one: Said, event: Event) -> None:
    match event:
        case TextDelta(text=text, signature=signature):
            one.add("text", text)
            _sign(one, signature)
        case ReasoningDelta(text=text, signature=signature):
            one.add("reasoning", text)
            _sign(one, signature)
        case RefusalDelta(text=text):
            one.add("refusal", text)
        case RedactedReasoning(signature=signature):
            one.segments.append(("redacted", signature.value))
        case MediaDelta(kind=kind, mime_type=mime, data=data):
            one.segments.append((kind, mime, data))
        case ToolCallBegin(index=index, id=call_id, name=name, signature=signature):
            one.calls[index] = [call_id, name, signature, ""]
            one.segments.append(("call", index))
        case ToolCallDelta(index=index, arguments=piece):
            one.calls[index][3] += piece
        case BlockEnd():
            one.closed = True
        case LogprobsDelta(tokens=tokens):
            one.logprobs += tokens
        case Finish(reason=reason, stop_sequence=stop):
            one.finish = (reason, stop)
        case _:
            pass  # what one protocol alone knows


def _sign(one: Said, signature: Signature | None) -> None:
    if signature is not None:
        one.segments.append(("signature", signature.issuer, signature.value))


def _choice_said(one: Said, profile: Profile) -> dict[str, Any]:
    segments = [_called(one, s, profile) if s[0] == "call" else s for s in one.segments]
    if not profile.ordered:
        kinds = {kind for kind, *_ in segments if kind != "call"}
        joined = [(kind, "".join(s[1] for s in segments if s[0] == kind)) for kind in sorted(kinds)]
        segments = [*joined, *(s for s in segments if s[0] == "call")]
    return {"segments": segments, "finish": one.finish, "logprobs": one.logprobs}


def _called(one: Said, segment: tuple[Any, ...], profile: Profile) -> tuple[Any, ...]:
    call_id, name, signature, written = one.calls[segment[1]]
    arguments = json.loads(written or "{}") if profile.objects else written or "{}"
    return ("call", call_id, name, signature, arguments)
