"""OpenAI's responses, as the openai package parses them, as a `Reading`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from engine.events import Usage
from engine.protocols.carried import uncarry
from engine.protocols.openai_responses.marks import read_reasoning
from tests.answers import sdks
from tests.answers.reading import (
    FILTERED,
    LENGTH,
    NONE,
    OTHER,
    STOP,
    Draft,
    Logprob,
    Reading,
    drafts,
)

FINISH = {None: NONE, "max_output_tokens": LENGTH, "content_filter": FILTERED}
TERMINAL = ("response.completed", "response.incomplete", "response.failed")
DONE = "response.output_item.done"
_TIERS = {"default": "standard"}


def read(clients: sdks.Clients, *, stream: bool) -> Reading:
    """What the SDK reads out of an answer; of a stream, as it comes: secrets and figures of its
    last object are sometimes written anew."""
    if not stream:
        response = sdks.openai_response(clients).to_dict(mode="json", warnings=False)
        return _reading(response, _items(response.get("output")))
    streamed = sdks.openai_response_events(clients)
    events = [event.to_dict(mode="json", warnings=False) for event in streamed.items]
    if streamed.error is not None:
        return _unended(events)
    final = next((e["response"] for e in reversed(events) if e["type"] in TERMINAL), None)
    if final is None:
        return _unended(events)
    items = {e["output_index"]: e["item"] for e in events if e["type"] == DONE}
    told = [items[index] for index in sorted(items)] or _items(final.get("output"))
    logprobs = [
        _logprob(token)
        for e in events
        if e["type"] == "response.output_text.delta"
        for token in e.get("logprobs") or ()
    ]
    answer = _reading(final, told)
    choices = tuple(replace(choice, logprobs=tuple(logprobs)) for choice in answer.choices)
    return replace(answer, choices=choices)


def _unended(events: list[dict[str, Any]]) -> Reading:
    """A stream without its last object: what its deltas have said."""
    draft = Draft()
    kinds = {
        "response.output_text.delta": "text",
        "response.refusal.delta": "refusal",
        "response.reasoning_summary_text.delta": "reasoning",
        "response.reasoning_text.delta": "reasoning",
    }
    said = False
    for event in events:
        kind, item = event["type"], event.get("item") or {}
        if kind in kinds:
            setattr(draft, kinds[kind], getattr(draft, kinds[kind]) + event["delta"])
            said = True
        elif kind == "response.output_item.added" and "call_id" in item and "name" in item:
            draft.call(event["output_index"])["name"] = item["name"]
            said = True
        elif kind == "response.function_call_arguments.delta":
            draft.call(event["output_index"])["arguments"] += event["delta"]
    first: dict[str, Any] = next((event["response"] for event in events if "response" in event), {})
    return Reading(
        drafts({0: draft} if said else {}),
        None,
        id=first.get("id"),
        model=first.get("model"),
        created=_seconds(first.get("created_at")),
        failed=True,
    )


def _reading(response: dict[str, Any], items: Iterable[dict[str, Any]]) -> Reading:
    draft = Draft()
    for index, item in enumerate(items):
        _read_item(draft, index, item)
    match response.get("status"):
        case "completed":
            draft.finish = STOP
        case "incomplete":
            reason = (response.get("incomplete_details") or {}).get("reason")
            draft.finish = FINISH.get(reason, OTHER)
        case _:
            draft.finish = OTHER
    tier = response.get("service_tier")
    return Reading(
        drafts({0: draft}),
        _usage(response.get("usage")),
        id=response.get("id"),
        model=response.get("model"),
        created=_seconds(response.get("created_at")),
        service_tier=_TIERS.get(tier or "", tier),
    )


def _seconds(created: float | None) -> int | None:
    return int(created) if created else None


def _items(value: object) -> list[dict[str, Any]]:
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []


def _read_item(draft: Draft, index: int, item: dict[str, Any]) -> None:
    match item["type"]:
        case "message":
            for part in _items(item["content"]):
                _read_part(draft, part)
        case "reasoning":
            _read_reasoning(draft, item)
        case "function_call" | "custom_tool_call":
            call = draft.call(index)
            call["name"] = item["name"]
            call["arguments"] = item.get("arguments") or item.get("input") or ""
            if (signature := uncarry(item.get("call_id") or "")[1]) is not None:
                draft.signatures.append(signature.value)
        case "image_generation_call" if item.get("result"):
            mime_type = f"image/{item.get('output_format') or 'png'}"
            draft.media.append((mime_type, item["result"]))


def _read_part(draft: Draft, part: dict[str, Any]) -> None:
    draft.text += part.get("text") or ""
    draft.refusal += part.get("refusal") or ""
    for cited in part.get("annotations") or ():
        title = cited.get("title") or cited.get("filename")
        draft.citations.append((cited.get("url"), title or None))
    for token in part.get("logprobs") or ():
        draft.logprobs.append(_logprob(token))


def _logprob(token: dict[str, Any]) -> Logprob:
    top = [(t["token"], round(t["logprob"], 9)) for t in token.get("top_logprobs") or ()]
    return Logprob(token["token"], round(token["logprob"], 9), tuple(top))


def _read_reasoning(draft: Draft, item: dict[str, Any]) -> None:
    summary = [part["text"] for part in _items(item.get("summary"))]
    content = [part["text"] for part in _items(item.get("content"))]
    text = "\n\n".join(summary or content)
    draft.reasoning += text
    thought = read_reasoning(text, item.get("encrypted_content") or "")
    if thought.redacted:
        draft.redacted += 1
    elif thought.signature is not None:
        draft.signatures.append(thought.signature.value)


def _usage(report: dict[str, Any] | None) -> Usage | None:
    if not report:
        return None
    details = report.get("input_tokens_details") or {}
    return Usage(
        input_tokens=report["input_tokens"],
        cached_input_tokens=details.get("cached_tokens") or 0,
        cache_write_tokens=details.get("cache_write_tokens") or 0,
        output_tokens=report["output_tokens"],
        reasoning_tokens=(report.get("output_tokens_details") or {}).get("reasoning_tokens") or 0,
    ).clamped()
