"""Canonical events as a `Reading`: what a decoder made of an answer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from engine.conversation import Signature
from engine.events import (
    Begin,
    Citation,
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
    UsageReport,
)
from tests.answers import reading
from tests.answers.reading import Draft, Logprob, Reading, drafts, unfinished

_FINISHES = {
    FinishReason.STOP: reading.STOP,
    FinishReason.STOP_SEQUENCE: reading.STOP_SEQUENCE,
    FinishReason.LENGTH: reading.LENGTH,
    FinishReason.CONTEXT_LENGTH: reading.CONTEXT,
    FinishReason.TOOL_CALLS: reading.TOOLS,
    FinishReason.FILTERED: reading.FILTERED,
    FinishReason.PROMPT_BLOCKED: reading.BLOCKED,
    FinishReason.PAUSED: reading.PAUSED,
    FinishReason.MALFORMED_CALL: reading.MALFORMED,
    FinishReason.OTHER: reading.OTHER,
}


def read(events: Sequence[Event], *, failed: bool = False) -> Reading:
    """What the events say."""
    found: dict[int, Draft] = defaultdict(Draft)
    usage = None
    begin = Begin(None, None)
    for event in events:
        match event:
            case Begin():
                begin = event
            case UsageReport():
                usage = replace(event.usage, more={})  # of tokens of text alone
            case _:
                _read(found[event.choice], event)
    answer = Reading(drafts(found), usage, id=begin.id, model=begin.model, created=begin.created)
    return unfinished(answer) if failed else answer


def _read(draft: Draft, event: Event) -> None:
    match event:
        case TextDelta(text=text, signature=signature):
            draft.text += text
            _sign(draft, signature)
        case ReasoningDelta(text=text, signature=signature):
            draft.reasoning += text
            _sign(draft, signature)
        case RefusalDelta(text=text):
            draft.refusal += text
        case RedactedReasoning():
            draft.redacted += 1
        case ToolCallBegin(index=index, name=name, signature=signature):
            assert index not in draft.calls, "a call has begun twice"
            draft.call(index)["name"] = name
            _sign(draft, signature)
        case ToolCallDelta(index=index, arguments=piece):
            draft.calls[index]["arguments"] += piece
        case Citation(url=url, title=title):
            draft.citations.append((url, title))
        case MediaDelta(kind=kind, mime_type=mime, data=data, transcript=transcript):
            draft.transcript += transcript
            draft.media += [(mime or kind, data)] if data else []
        case LogprobsDelta(tokens=tokens, refusal=False):
            draft.logprobs += [
                Logprob(*_token(token), tuple(map(_token, token.top))) for token in tokens
            ]
        case Finish(reason=reason):
            draft.finish = _FINISHES[reason]
            draft.stop_sequence = event.stop_sequence
            draft.explanation = event.explanation
        case _:
            pass  # what one protocol alone knows


def _token(token: TokenLogprob) -> tuple[str, float]:
    return token.token, round(token.logprob, 9)


def _sign(draft: Draft, signature: Signature | None) -> None:
    if signature is not None:
        draft.signatures.append(signature.value)
