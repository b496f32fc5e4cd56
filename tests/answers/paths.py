"""What a recorded answer holds that no `Reading` takes up, by the names of its fields.

A field that means nothing (framing), or that a `Reading` holds and a comparison therefore watches,
is named here; every other field of the recordings goes into the table of losses.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.answers.openai_responses import TERMINAL

_DEPTH = {"openai_chat": 3, "openai_responses": 3, "anthropic": 3, "gemini": 4}

# Prefixes of paths, without the brackets of lists.
_TAKEN = {
    "openai_chat": (
        "id object created model service_tier error",
        "choices.index choices.finish_reason choices.delta.role choices.message.role",
        *(
            f"choices.{key}.{name}"
            for key in ("delta", "message")
            for name in (
                "content refusal reasoning_content reasoning function_call",
                "tool_calls.index tool_calls.id tool_calls.type",
                "tool_calls.function tool_calls.custom",
                "annotations.type annotations.url_citation.url annotations.url_citation.title",
                "audio.data audio.transcript",
            )
            for name in name.split()
        ),
        "choices.logprobs.content.token choices.logprobs.content.logprob",
        "choices.logprobs.content.top_logprobs",
        "usage.prompt_tokens usage.completion_tokens usage.total_tokens",
        "usage.prompt_tokens_details.cached_tokens usage.prompt_tokens_details.cache_write_tokens",
        "usage.completion_tokens_details.reasoning_tokens x_groq.usage",
        "usage.prompt_cache_hit_tokens usage.num_cached_tokens usage.cached_tokens",
    ),
    "openai_responses": (
        "id object created_at model status service_tier error incomplete_details.reason",
        "output.type output.id output.status output.role output.call_id output.name",
        "output.arguments output.input output.summary output.encrypted_content",
        "output.content.type output.content.text output.content.refusal output.content.logprobs",
        "output.content.annotations.type output.content.annotations.url",
        "output.content.annotations.title output.content.annotations.filename",
        "usage.input_tokens usage.output_tokens usage.total_tokens",
        "usage.input_tokens_details.cached_tokens usage.input_tokens_details.cache_write_tokens",
        "usage.output_tokens_details.reasoning_tokens",
    ),
    "anthropic": (
        "type index role id model error request_id",
        "stop_reason stop_sequence stop_details.type stop_details.explanation",
        "content.type content.text content.thinking content.signature",
        "content.citations.type content.citations.url content.citations.title",
        "usage.input_tokens usage.output_tokens usage.cache_read_input_tokens",
        "usage.cache_creation_input_tokens usage.output_tokens_details.thinking_tokens",
        "usage.service_tier usage.iterations content.redacted_thinking",
    ),
    "gemini": (
        "responseId modelVersion error",
        "candidates.index candidates.finishReason candidates.finishMessage",
        "candidates.content.role candidates.content.parts.text candidates.content.parts.thought",
        "candidates.content.parts.thoughtSignature candidates.content.parts.functionCall",
        "candidates.content.parts.inlineData",
        "candidates.groundingMetadata.groundingChunks.web.uri",
        "candidates.groundingMetadata.groundingChunks.web.title",
        "candidates.logprobsResult.chosenCandidates.token",
        "candidates.logprobsResult.chosenCandidates.logProbability",
        "candidates.logprobsResult.topCandidates.candidates.token",
        "candidates.logprobsResult.topCandidates.candidates.logProbability",
        "promptFeedback.blockReason promptFeedback.blockReasonMessage",
        "usageMetadata.promptTokenCount usageMetadata.candidatesTokenCount",
        "usageMetadata.totalTokenCount usageMetadata.thoughtsTokenCount",
        "usageMetadata.toolUsePromptTokenCount usageMetadata.cachedContentTokenCount",
        "usageMetadata.serviceTier",
    ),
}
_TAKEN_OF: dict[str, frozenset[str]] = {
    protocol: frozenset(path for line in lines for path in line.split())
    for protocol, lines in _TAKEN.items()
}


def untaken(protocol: str, body: bytes, *, stream: bool) -> set[str]:
    """Paths of the fields, cut to a few names, that no `Reading` takes up."""
    found: set[str] = set()
    for document in documents(body, stream=stream):
        whole = _WHOLE.get(protocol, lambda same: same)(document)
        found.update(_walk(whole, "", _TAKEN_OF[protocol]))
    return {".".join(path.split(".")[: _DEPTH[protocol]]) for path in found}


def documents(body: bytes, *, stream: bool) -> list[dict[str, Any]]:
    """The JSON objects of an answer."""
    if not stream:
        return [json.loads(body)]
    if body.lstrip().startswith(b"["):
        array: list[dict[str, Any]] = json.loads(body)
        return array
    lines = body.replace(b"\r\n", b"\n").split(b"\n")
    data = [line[5:].strip() for line in lines if line.startswith(b"data:")]
    return [json.loads(item) for item in data if item.startswith(b"{")]


def _joined(event: dict[str, Any]) -> dict[str, Any]:
    """An event of a stream in the words of a whole message."""
    match event.get("type"):
        case "message_start":
            message: dict[str, Any] = event["message"]
            return message
        case "content_block_start":
            return {"content": [_own(event["content_block"])]}
        case "content_block_delta":
            delta = event["delta"]
            if delta["type"] == "citations_delta":
                return {"content": [{"citations": [delta["citation"]]}]}
            return {}  # the block that is open has been named
        case "message_delta":
            ending: dict[str, Any] = event["delta"]
            return ending | {"usage": event.get("usage")}
        case "message":
            return event | {"content": [_own(block) for block in event["content"]]}
        case _:
            return {}


_TOLD = ("message", "reasoning", "function_call", "custom_tool_call")


def _response(event: dict[str, Any]) -> dict[str, Any]:
    """The object that a stream ends with, without what it repeats of the request; its items under
    their own names, where they are none that a `Reading` takes up."""
    response = event.get("response", event)
    if event.get("object") != "response" and event["type"] not in TERMINAL:
        return {}
    output = [
        item if item["type"] in _TOLD else {item["type"]: "whole"}
        for item in response.get("output") or ()
    ]
    return {name: response[name] for name in _ANSWERED if name in response} | {"output": output}


_ANSWERED = (
    "id", "created_at", "model", "status", "service_tier", "incomplete_details", "usage", "error",
    "completed_at", "content_filters", "moderation", "tool_usage",
)  # fmt: skip
_WHOLE = {"anthropic": _joined, "openai_responses": _response}


def _own(block: dict[str, Any]) -> dict[str, Any]:
    """A block under its own name, where it is none that a `Reading` takes up."""
    match block["type"]:
        case "tool_use":
            return {name: block[name] for name in block if name not in ("id", "name", "input")}
        case "text" | "thinking":
            return block
        case kind:
            return {kind: "whole"}


def _walk(value: Any, path: str, taken: frozenset[str]) -> Iterator[str]:
    if path in taken or not value:  # a zero or an empty list says nothing
        return
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _walk(item, f"{path}.{name}" if path else name, taken)
    elif isinstance(value, list):
        for item in value:
            yield from _walk(item, path, taken)
    else:
        yield path
