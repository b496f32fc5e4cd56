"""Answers as canonical events, for properties: what a protocol can say, in every order it may come.

`answers(protocol)` draws valid sequences; `normal` is what two sequences share that say the same.
"""

from __future__ import annotations

import itertools
import json
import string
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
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

ALPHANUMERIC = string.ascii_letters + string.digits


def ids(prefix: str, characters: str, least: int, most: int) -> st.SearchStrategy[str]:
    """As `from_regex` of the same would draw them, for less."""
    return st.text(characters, min_size=least, max_size=most).map(prefix.__add__)


@dataclass(frozen=True, slots=True, eq=False)  # hashed by identity, for caches
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
    call_id: st.SearchStrategy[str]
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
        call_id=ids("call_", ALPHANUMERIC, 4, 12),
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
        call_id=ids("call_", ALPHANUMERIC, 4, 12),
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
        call_id=ids("toolu_", ALPHANUMERIC, 4, 12),
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
        call_id=ids("", string.ascii_lowercase + string.digits, 8, 8),
        tiers=(None,),  # with the figures, behind the beginning of a stream
    ),
}

_TEXTS = st.text(min_size=1, max_size=12) | st.sampled_from(
    ["\u2028\u2029\x85", "data: [DONE]\n\n", "é€𝄞", '"}\r\n\r\n', "\\ud800", "\x00\x7f"]
)
_NAMES = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(string.ascii_lowercase),
        st.text(string.ascii_lowercase + string.digits + "_", max_size=12),
    ),
)
_IDENTITIES = st.builds(
    "_".join,
    st.tuples(
        st.text(string.ascii_lowercase, min_size=3, max_size=3),
        st.text(ALPHANUMERIC, min_size=6, max_size=6),
    ),
)
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
_ARGUMENTS = _OBJECTS.map(json.dumps)
_BROKEN_ARGUMENTS = _TEXTS | st.just("")
_BOOLEANS = st.booleans()
_FIGURES = st.integers(0, 100_000)
_CHANCES = st.floats(-30, 0)
_CREATED = st.integers(1, 2**31)

# What is made for each draw is looked through and validated each time: that took half of the time
# of these tests. So whatever can be made once is.


@cache
def _cuts(length: int) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(0, length), max_size=3)


def _pieces(draw: st.DrawFn, text: str) -> list[str]:
    """A text in pieces; some may be empty."""
    edges = [0, *sorted(draw(_cuts(len(text)))), len(text)]
    return [text[a:b] for a, b in itertools.pairwise(edges)]


@lru_cache(maxsize=1_000, typed=True)  # 0 and False are not the same
def _one_of(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


@st.composite
def usages(draw: st.DrawFn, profile: Profile) -> Usage:
    """A report that a provider may give."""
    cached, written, plain = draw(_FIGURES), draw(_FIGURES), draw(_FIGURES)
    reasoning, visible = draw(_FIGURES), draw(_FIGURES)
    written = written if profile.cache_writes else 0
    return Usage(
        input_tokens=cached + written + plain,
        cached_input_tokens=cached,
        cache_write_tokens=written,
        output_tokens=reasoning + visible,
        reasoning_tokens=reasoning,
    )


def _calls(draw: st.DrawFn, profile: Profile, choice: int, first: int) -> list[Event]:
    """One call, or two whose arguments come in turns."""
    events: list[Event] = []
    waiting: list[list[Event]] = []
    for index in range(first, first + draw(_one_of(1, 2))):
        # An index in the id keeps the ids of one answer apart.
        call_id = f"{draw(profile.call_id)}{choice}{index}"
        signed = profile is PROFILES["gemini"] and draw(_BOOLEANS)
        signature = Signature("gemini", draw(_BASE64)) if signed else None
        events.append(
            ToolCallBegin(index, call_id, draw(_NAMES), choice=choice, signature=signature)
        )
        written = draw(_ARGUMENTS)
        if not profile.objects and draw(_one_of(False, True, True)):
            written = draw(_BROKEN_ARGUMENTS)
        waiting.append(
            [ToolCallDelta(index, piece, choice=choice) for piece in _pieces(draw, written)]
        )
    while any(waiting):
        left = [queue for queue in waiting if queue]
        queue = left[draw(_one_of(*range(len(left))))]
        events.append(queue.pop(0))
    return events


def _segment(
    draw: st.DrawFn, protocol: str, kind: str, choice: int, first_call: int
) -> list[Event]:
    """A run of one kind, as its provider streams it."""
    profile = PROFILES[protocol]
    if kind == "calls":
        return _calls(draw, profile, choice, first_call)
    if kind == "redacted":
        return [RedactedReasoning(Signature(protocol, draw(_NAMES)), choice)]
    if kind == "media":
        return [MediaDelta("image", "image/png", draw(_BASE64), choice=choice)]
    pieces = _pieces(draw, draw(_TEXTS))
    if kind == "refusal":
        return [RefusalDelta(piece, choice) for piece in pieces]
    if kind == "reasoning":
        events: list[Event] = [ReasoningDelta(piece, choice) for piece in pieces]
        signed: bool = draw(_BOOLEANS)
        if protocol == "anthropic" or (protocol == "openai_responses" and signed):
            events.append(ReasoningDelta("", choice, Signature(protocol, draw(_NAMES))))
        return events
    events = []
    for piece in pieces:
        events.append(TextDelta(piece, choice))
        if kind == "logprobs" and piece:
            events.append(LogprobsDelta((_tokens(draw, piece),), choice))
    return events


def _tokens(draw: st.DrawFn, text: str) -> TokenLogprob:
    top = TokenLogprob(text, draw(_CHANCES), tuple(text.encode()))
    tops = (top,) if draw(_BOOLEANS) else ()
    return TokenLogprob(text, draw(_CHANCES), tuple(text.encode()), tops)


@cache
@st.composite
def answers(draw: st.DrawFn, protocol: str) -> list[Event]:
    """A whole answer in events, of what the protocol can say."""
    profile = PROFILES[protocol]
    identity = draw(_IDENTITIES)
    created = draw(_CREATED) if profile.created else None
    tier = draw(_one_of(*profile.tiers))
    events: list[Event] = [Begin(identity, draw(_NAMES), created, service_tier=tier)]
    ends: list[Event] = []
    choices: list[list[list[Event]]] = []
    for choice in range(draw(_one_of(*range(1, profile.choices_max + 1)))):
        segments, end = _choice(draw, protocol, choice)
        choices.append(segments)
        ends.append(end)
    while any(choices):  # choices may come in turns
        left = [queue for queue in choices if queue]
        queue = left[draw(_one_of(*range(len(left))))]
        events += queue.pop(0)
    return [*events, *ends, UsageReport(draw(usages(profile)))]


@cache
def _kinds(profile: Profile) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(profile.kinds), max_size=4)


def _choice(draw: st.DrawFn, protocol: str, choice: int) -> tuple[list[list[Event]], Finish]:
    profile = PROFILES[protocol]
    kinds = draw(_kinds(profile))
    segments: list[list[Event]] = []
    calls = 0
    for kind in kinds:
        segment = _segment(draw, protocol, kind, choice, calls)
        calls += sum(isinstance(event, ToolCallBegin) for event in segment)
        if protocol == "anthropic" and kind != "redacted":
            segment.append(BlockEnd(choice))
        segments.append(segment)
    called = (FinishReason.TOOL_CALLS, FinishReason.LENGTH)
    reason = draw(_one_of(*(called if calls else profile.ends)))
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
