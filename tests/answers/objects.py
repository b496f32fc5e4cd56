"""An answer as the object its official SDK makes of it, with everything in it, for equality."""

from __future__ import annotations

import copy
from typing import Any

from pydantic import BaseModel

from tests.answers import gemini, sdks
from tests.answers.openai_responses import TERMINAL


def parsed(protocol: str, body: bytes, *, stream: bool) -> tuple[Any, ...]:
    """What the SDK makes of an answer, as plain values; of a stream, what its own helper
    accumulates (Gemini has none: the chunks are merged), and whether it raised an error."""
    match protocol:
        case "openai_chat":
            return _openai(body, stream=stream)
        case "openai_responses":
            return _responses(body, stream=stream)
        case "anthropic":
            return _anthropic(body, stream=stream)
        case _:
            responses, failed = gemini.parse(body, stream=stream)
            merged = _merged([_dump(response) for response in responses])
            if failed:
                merged.pop("usageMetadata", None)  # running totals of what has no end
            return merged, failed


_OF_THE_SDK = ("sdkHttpResponse", "automaticFunctionCallingHistory")


def _dump(model: BaseModel) -> dict[str, Any]:
    dumped = model.model_dump(mode="json", by_alias=True, exclude_none=True, warnings=False)
    for name in _OF_THE_SDK:
        dumped.pop(name, None)
    return dumped


_OF_ONE_CHUNK = ("object", "choices", "obfuscation", "p")


def _openai(body: bytes, *, stream: bool) -> tuple[Any, ...]:
    if not stream:
        return (_usual(_dump(sdks.openai_completion(sdks.canned(body, stream=False)))),)
    streamed = sdks.openai_chunks(sdks.canned(body, stream=True))
    whole: dict[str, Any] = {}
    for chunk in map(_dump, streamed.items):
        # What stands beside the choices comes at the beginning, at the end, or somewhere between;
        # the helper takes it from the first chunk only, and usage from the last.
        whole = {name: v for name, v in chunk.items() if v and name not in _OF_ONE_CHUNK} | whole
        if usage := chunk.get("usage") or (chunk.get("x_groq") or {}).get("usage"):
            whole["usage"] = usage
    if streamed.items:
        whole["choices"] = _dump(sdks.openai_accumulated(streamed.items))["choices"]
    if streamed.error is not None:
        for choice in whole.get("choices", ()):
            choice.pop("finish_reason", None)  # it has none: it has failed
    return _usual(whole), streamed.error is not None


def _responses(body: bytes, *, stream: bool) -> tuple[Any, ...]:
    """The object that the stream ends with: there is everything in it."""
    canned = sdks.canned(body, stream=stream)
    if not stream:
        return (_dump(sdks.openai_response(canned)),)
    streamed = sdks.openai_response_events(canned)
    final = [event.response for event in streamed.items if event.type in TERMINAL]
    return tuple(map(_dump, final)), streamed.error is not None


def _usual(completion: dict[str, Any]) -> dict[str, Any]:
    """Without what some hosts do otherwise and no client relies on: a role in every chunk, an
    index in a whole message's calls, an empty list of calls, an empty text beside calls."""
    for choice in completion.get("choices", ()):
        message = choice["message"]
        message["role"] = "assistant"
        if not message.get("content"):
            message.pop("content", None)
        if not message.get("tool_calls"):
            message.pop("tool_calls", None)
        for call in message.get("tool_calls", ()):
            call.pop("index", None)
            call["type"] = call.get("type") or "function"
            if "function" in call:
                call["function"].setdefault("arguments", "")
    return completion


def _anthropic(body: bytes, *, stream: bool) -> tuple[Any, ...]:
    if not stream:
        canned = sdks.canned(body, stream=False)
        return _dump(sdks.anthropic_message(canned)), _dump(sdks.anthropic_beta_message(canned))
    canned = sdks.canned(body, stream=True)
    streamed = sdks.anthropic_events(canned)
    if not streamed.items or streamed.error is not None:
        message = sdks.anthropic_accumulated(streamed.items) if streamed.items else None
        return message and _dump(message), True
    accumulated = _dump(sdks.anthropic_accumulated(streamed.items))
    return accumulated, _dump(sdks.anthropic_beta_final(canned))


def _merged(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """Chunks of Gemini's as one response: parts in order, the last of everything else."""
    whole: dict[str, Any] = {}
    candidates: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        for candidate in chunk.pop("candidates", ()):
            _merge_candidate(candidates.setdefault(candidate.pop("index", 0), {}), candidate)
        whole |= chunk
    whole["candidates"] = candidates
    return whole


def _merge_candidate(known: dict[str, Any], candidate: dict[str, Any]) -> None:
    content = candidate.pop("content", {})
    parts = known.setdefault("parts", [])
    for part in content.get("parts") or ():
        if parts and _is_text(parts[-1]) and _is_text(part) and _kind(parts[-1]) == _kind(part):
            parts[-1] = parts[-1] | {"text": parts[-1]["text"] + part["text"]}
        elif part != {"text": ""}:
            parts.append(copy.deepcopy(part))
    known |= candidate


def _is_text(part: dict[str, Any]) -> bool:
    return part.keys() <= {"text", "thought"} and "text" in part


def _kind(part: dict[str, Any]) -> bool:
    return bool(part.get("thought"))
