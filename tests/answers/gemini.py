"""Gemini's generateContent, as google-genai parses it, as a `Reading`."""

from __future__ import annotations

import base64
import json
from collections import defaultdict
from typing import Any

from google.genai.types import GenerateContentResponse

from engine.events import Usage
from tests.answers import sdks
from tests.answers.reading import (
    BLOCKED,
    FILTERED,
    LENGTH,
    MALFORMED,
    NONE,
    OTHER,
    STOP,
    Call,
    Draft,
    Logprob,
    Reading,
    drafts,
)

FINISH = {
    "STOP": STOP,
    "MAX_TOKENS": LENGTH,
    "MALFORMED_FUNCTION_CALL": MALFORMED,
    "UNEXPECTED_TOOL_CALL": MALFORMED,
    "TOO_MANY_TOOL_CALLS": MALFORMED,
} | dict.fromkeys(
    (
        "SAFETY",
        "RECITATION",
        "LANGUAGE",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "MODEL_ARMOR",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "IMAGE_OTHER",
        "NO_IMAGE",
    ),
    FILTERED,
)

# The SDK knows the names of enumerations only; clients of the gRPC interface write the numbers.
_NUMBERS = {1: "STOP", 2: "MAX_TOKENS"}
_OTHER_ENUMERATIONS = frozenset({"category", "probability", "severity", "modality", "trafficType"})


def read(clients: sdks.Clients, *, stream: bool) -> Reading:
    """What the SDK reads out of an answer."""
    if not stream:
        return reading_of([sdks.genai_response(clients)], failed=False)
    streamed = sdks.genai_chunks(clients)
    return reading_of(streamed.items, failed=streamed.error is not None)


def parse(body: bytes, *, stream: bool) -> tuple[list[GenerateContentResponse], bool]:
    """The SDK's objects of an answer, and whether it raised an error after them; a stream may
    also be a JSON array."""
    if stream and not body.lstrip().startswith(b"["):
        streamed = sdks.genai_chunks(sdks.canned(body, stream=True))
        return streamed.items, streamed.error is not None
    # The SDK never asks for an array: each element is read as a whole answer.
    documents = json.loads(body) if stream else [json.loads(body)]
    failed = any("error" in document for document in documents)
    named = [_with_names(document) for document in documents if "error" not in document]
    return [_whole(json.dumps(document).encode()) for document in named], failed


def _whole(body: bytes) -> GenerateContentResponse:
    return sdks.genai_response(sdks.canned(body, stream=False))


def _with_names(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_names(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: _NUMBERS[item]
        if name == "finishReason" and isinstance(item, int)
        else _with_names(item)
        for name, item in value.items()
        if not (name in _OTHER_ENUMERATIONS and isinstance(item, int))
    }


def reading_of(responses: list[GenerateContentResponse], *, failed: bool) -> Reading:
    """What the SDK's objects say."""
    documents = [r.model_dump(mode="json", by_alias=True, exclude_none=True) for r in responses]
    found: dict[int, Draft] = defaultdict(Draft)
    usage = None
    pieces: dict[str, dict[str, Any]] = {}
    for document in documents:
        for candidate in document.get("candidates") or ():
            _read_candidate(found[candidate.get("index") or 0], candidate, pieces)
        if (document.get("promptFeedback") or {}).get("blockReason"):
            found[0].finish = BLOCKED
            found[0].explanation = document["promptFeedback"].get("blockReasonMessage")
        report = document.get("usageMetadata") or {}
        if "promptTokenCount" in report or "candidatesTokenCount" in report:
            usage = _usage(report)
    first = documents[0] if documents else {}
    tiers = [(d.get("usageMetadata") or {}).get("serviceTier") for d in documents]
    return Reading(
        drafts(found),
        usage,
        id=first.get("responseId"),
        model=first.get("modelVersion"),
        service_tier=next((tier for tier in tiers if tier), None),
        failed=failed,
    )


def _read_candidate(
    draft: Draft, candidate: dict[str, Any], pieces: dict[str, dict[str, Any]]
) -> None:
    for part in (candidate.get("content") or {}).get("parts") or ():
        if part.get("thought"):
            draft.reasoning += part.get("text") or ""
        else:
            draft.text += part.get("text") or ""
        if "functionCall" in part:
            _read_call(draft, part["functionCall"], pieces)
        if blob := part.get("inlineData"):
            draft.media.append((blob.get("mimeType") or "", _standard(blob.get("data") or "")))
        if part.get("thoughtSignature"):
            draft.signatures.append(_standard(part["thoughtSignature"]))
    for chunk in (candidate.get("groundingMetadata") or {}).get("groundingChunks") or ():
        if web := chunk.get("web"):
            draft.citations.append((web.get("uri"), web.get("title")))
    for source in (candidate.get("citationMetadata") or {}).get("citations") or ():
        draft.citations.append((source.get("uri"), source.get("title")))
    logprobs = candidate.get("logprobsResult") or {}
    chosen: list[dict[str, Any]] = logprobs.get("chosenCandidates") or []
    tops: list[dict[str, Any]] = logprobs.get("topCandidates") or []
    for at, token in enumerate(chosen):
        others = tops[at].get("candidates") or () if at < len(tops) else ()
        draft.logprobs.append(Logprob(*_token(token), tuple(map(_token, others))))
    if reason := candidate.get("finishReason"):
        draft.finish = FINISH.get(reason, OTHER)
        if draft.finish not in (STOP, NONE):
            draft.explanation = candidate.get("finishMessage")


def _token(token: dict[str, Any]) -> tuple[str, float]:
    return token["token"], round(token["logProbability"], 9)


def _read_call(draft: Draft, call: dict[str, Any], pieces: dict[str, dict[str, Any]]) -> None:
    """A call comes whole, or on Vertex in pieces: a name, arguments by path, an empty end."""
    partial = call.get("partialArgs")
    if call.get("willContinue") and "args" not in call and "name" in call:
        pieces.clear()
        pieces["open"] = {}
        draft.whole_calls.append(Call(call["name"], pieces["open"]))
    elif partial is None and "open" in pieces and not call.get("name"):
        pieces.clear()
    elif partial is None:
        draft.whole_calls.append(Call(call.get("name") or "", call.get("args") or {}))
    for piece in partial or ():
        name = piece["jsonPath"].removeprefix("$.")
        pieces["open"][name] = pieces["open"].get(name, "") + piece["stringValue"]


def _standard(data: str) -> str:
    """The SDK writes bytes in the alphabet of URLs."""
    return base64.b64encode(base64.urlsafe_b64decode(data + "=" * (-len(data) % 4))).decode()


def _usage(report: dict[str, Any]) -> Usage:
    thoughts = report.get("thoughtsTokenCount") or 0
    return Usage(
        input_tokens=(report.get("promptTokenCount") or 0)
        + (report.get("toolUsePromptTokenCount") or 0),
        cached_input_tokens=report.get("cachedContentTokenCount") or 0,
        output_tokens=(report.get("candidatesTokenCount") or 0) + thoughts,
        reasoning_tokens=thoughts,
    )


def grounded(body: bytes, *, stream: bool) -> list[str]:
    """The parts of the text that stand on a source of the web, as Gemini quotes them."""
    found = []
    for response in parse(body, stream=stream)[0]:
        for candidate in response.candidates or ():
            grounding = candidate.grounding_metadata
            chunks = (grounding and grounding.grounding_chunks) or []
            for support in (grounding and grounding.grounding_supports) or ():
                cited = [chunks[at] for at in support.grounding_chunk_indices or ()]
                if support.segment is not None and any(chunk.web for chunk in cited):
                    found.append(support.segment.text or "")
    return found
