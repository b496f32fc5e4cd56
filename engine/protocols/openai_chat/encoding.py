"""Canonical events in this protocol's pieces: what a stream's deltas and a message share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.conversation import Native
from engine.events import (
    Begin,
    Citation,
    Finish,
    FinishReason,
    LogprobsDelta,
    MediaDelta,
    TokenLogprob,
    ToolCallBegin,
    UsageReport,
)
from engine.protocols import carried
from engine.protocols.codec import ClientRequest, Identity
from engine.protocols.openai_chat.calls import NAME
from engine.protocols.openai_chat.reading import FINISH_SPELLING, TIERS
from engine.protocols.openai_usage import encode_usage

_TIER_SPELLING = {tier: name for name, tier in TIERS.items()}

CUSTOM = "custom"
LEGACY = "function_call"
FUNCTION = "function"


def own(native: Native | None) -> Mapping[str, Any]:
    """What of an event only this protocol knows; nothing of another one's."""
    return native.fields if native is not None and native.protocol == NAME else {}


def wants_legacy(request: ClientRequest) -> bool:
    """The client speaks of `functions`, and expects `function_call` for an answer."""
    return bool(request.document.get("functions")) and not request.document.get("tools")


def encode_identity(begin: Begin | None, identity: Identity, kind: str) -> dict[str, Any]:
    """What every chunk of an answer carries."""
    begin = begin or Begin(None, None)
    said = {
        "id": begin.id or identity.id,
        "object": kind,
        "created": identity.created if begin.created is None else begin.created,
        "model": begin.model or identity.model,
    }
    if begin.service_tier in _TIER_SPELLING and not own(begin.native):
        said["service_tier"] = _TIER_SPELLING[begin.service_tier]
    return said


def call_kind(event: ToolCallBegin, *, legacy: bool) -> str:
    """Which of the three shapes a call has."""
    kind = own(event.native).get("type", FUNCTION)
    if legacy and kind == FUNCTION and event.index == 0:
        return LEGACY
    return kind if kind in (CUSTOM, LEGACY) else FUNCTION


def encode_call(event: ToolCallBegin, kind: str) -> dict[str, Any]:
    """A call without its arguments, as a member of `tool_calls`."""
    extra = {key: value for key, value in own(event.native).items() if key != "type"}
    call_id = carried.carry(event.id, event.signature)
    return {"id": call_id, "type": kind, kind: {"name": event.name, ARGUMENTS[kind]: ""}} | extra


ARGUMENTS = {FUNCTION: "arguments", LEGACY: "arguments", CUSTOM: "input"}
"""Where each shape has its arguments."""


def encode_citation(event: Citation) -> dict[str, Any] | None:
    """An annotation; None for a source that has no address (a document of the prompt)."""
    if annotation := own(event.native):
        return dict(annotation)
    if event.url is None:
        return None
    return {
        "type": "url_citation",
        "url_citation": {
            "start_index": event.start or 0,
            "end_index": event.end or 0,
            "title": event.title or "",
            "url": event.url,
        },
    }


def encode_audio(event: MediaDelta, identity: Mapping[str, Any], *, first: bool) -> dict[str, Any]:
    """Generated speech, or a piece of it; only the first one names it."""
    audio: dict[str, Any] = dict(own(event.native))
    if first:
        audio.setdefault("id", f"audio_{identity['id']}")
        if not own(event.native):  # where nothing expires: in an hour, as OpenAI's do
            audio.setdefault("expires_at", int(identity["created"]) + 3_600)
    if event.data:
        audio["data"] = event.data
    if event.transcript:
        audio["transcript"] = event.transcript
    return audio


def encode_image(event: MediaDelta, index: int) -> dict[str, Any]:
    """A generated image or film, in the form that OpenRouter gave it."""
    kind = f"{event.kind}_url"
    mime_type = event.mime_type or f"{event.kind}/*"
    return {
        "type": kind,
        kind: {"url": f"data:{mime_type};base64,{event.data}"},
        "index": index,
    }


def encode_logprobs(event: LogprobsDelta) -> dict[str, Any]:
    """Logprobs of a delta."""
    tokens = [_token(token) for token in event.tokens]
    return {
        "content": None if event.refusal else tokens,
        "refusal": tokens if event.refusal else None,
    }


def _token(token: TokenLogprob, *, top: bool = True) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "token": token.token,
        "logprob": token.logprob,
        "bytes": None if token.bytes_ is None else list(token.bytes_),
    }
    if top:
        fields["top_logprobs"] = [_token(other, top=False) for other in token.top]
    return fields


def encode_reason(finish: Finish, *, legacy: bool) -> str:
    """`finish_reason`, as its provider spelled it if that was in this protocol."""
    spelled = own(finish.native).get("finish_reason")
    if isinstance(spelled, str):
        return spelled
    if legacy and finish.reason is FinishReason.TOOL_CALLS:
        return "function_call"
    return FINISH_SPELLING[finish.reason]


def encode_report(report: UsageReport) -> dict[str, Any]:
    """`usage`, as its provider gave it if that was in this protocol."""
    return dict(own(report.native)) or encode_usage(report.usage)
