"""OpenAI chat completions, as the openai package parses them, as a `Reading`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from engine.events import Usage
from engine.protocols.carried import uncarry
from tests.answers import sdks
from tests.answers.reading import (
    FILTERED,
    LENGTH,
    NONE,
    OTHER,
    STOP,
    TOOLS,
    Draft,
    Logprob,
    Reading,
    drafts,
)

FINISH = {
    None: NONE,
    "": NONE,
    "stop": STOP,
    "eos": STOP,  # Together
    "length": LENGTH,
    "model_length": LENGTH,  # Mistral
    "tool_calls": TOOLS,
    "function_call": TOOLS,
    "content_filter": FILTERED,
}

_TIERS = {"default": "standard"}


def read(clients: sdks.Clients, *, stream: bool) -> Reading:
    """What the SDK reads out of an answer."""
    if not stream:
        completion = sdks.openai_completion(clients).to_dict(mode="json", warnings=False)
        return _reading([completion], "message", failed=False)
    streamed = sdks.openai_chunks(clients)
    chunks = [chunk.to_dict(mode="json", warnings=False) for chunk in streamed.items]
    return _reading(chunks, "delta", failed=streamed.error is not None)


def _reading(documents: list[dict[str, Any]], key: str, *, failed: bool) -> Reading:
    found: dict[int, Draft] = defaultdict(Draft)
    usage = None
    for document in documents:
        for choice in document.get("choices") or ():
            _read_choice(found[choice.get("index") or 0], choice, key)
        if report := document.get("usage") or (document.get("x_groq") or {}).get("usage"):
            usage = _usage(report)
    # Azure's first chunk has neither id nor model; a later one does.
    whole = [document for document in documents if document.get("id")] or documents or [{}]
    tier = next((d["service_tier"] for d in documents if d.get("service_tier")), None)
    return Reading(
        drafts(found),
        usage,
        id=whole[0].get("id"),
        model=whole[0].get("model"),
        created=whole[0].get("created"),
        service_tier=_TIERS.get(tier or "", tier),
        failed=failed,
    )


def _read_choice(draft: Draft, choice: dict[str, Any], key: str) -> None:
    said = choice.get(key) or {}
    _read_content(draft, said.get("content"))
    draft.refusal += said.get("refusal") or ""
    # Some say their reasoning under both names.
    draft.reasoning += said.get("reasoning_content") or said.get("reasoning") or ""
    for position, call in enumerate(said.get("tool_calls") or ()):
        index = call.get("index")
        _read_call(draft, position if index is None else index, call)
    if legacy := said.get("function_call"):
        _read_call(draft, 0, {"function": legacy})
    for annotation in said.get("annotations") or ():
        if annotation.get("type") == "url_citation":
            cited = annotation["url_citation"]
            draft.citations.append((cited.get("url"), cited.get("title") or None))
    if audio := said.get("audio"):
        draft.transcript += audio.get("transcript") or ""
        if audio.get("data"):
            draft.media.append(("audio", audio["data"]))
    for image in said.get("images") or ():
        draft.media.append(_data_url(image["image_url"]["url"]))
    logprobs = choice.get("logprobs") or {}
    for token in _of_dicts(logprobs.get("content")):
        top = [(t["token"], round(t["logprob"], 9)) for t in token.get("top_logprobs") or ()]
        draft.logprobs.append(Logprob(token["token"], round(token["logprob"], 9), tuple(top)))
    if finish := FINISH.get(choice.get("finish_reason"), OTHER):
        draft.finish = finish if finish != NONE else draft.finish


def _read_content(draft: Draft, content: object) -> None:
    if isinstance(content, str):
        draft.text += content
    for part in _of_dicts(content):  # Mistral's reasoning models
        draft.text += part.get("text") or ""
        for thought in _of_dicts(part.get("thinking")):
            draft.reasoning += thought.get("text") or ""


def _read_call(draft: Draft, index: int, call: dict[str, Any]) -> None:
    known = draft.call(index)
    # Cerebras gives several calls one index; their ids tell them apart.
    while call.get("id") and known.get("id", call["id"]) != call["id"]:
        index += 1
        known = draft.call(index)
    function = call.get("function") or call.get("custom") or {}
    known["id"] = call.get("id") or known.get("id", "")
    if (signature := uncarry(call.get("id") or "")[1]) is not None:
        draft.signatures.append(signature.value)
    known["name"] += function.get("name") or ""
    known["arguments"] += function.get("arguments") or function.get("input") or ""


def _data_url(url: str) -> tuple[str, str]:
    head, _, data = url.partition(";base64,")
    return head.removeprefix("data:"), data


def _of_dicts(value: object) -> Iterable[dict[str, Any]]:
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []


def _usage(report: dict[str, Any]) -> Usage:
    details = report.get("prompt_tokens_details") or {}
    # DeepSeek, Mistral and Together have names of their own for it.
    other = ("prompt_cache_hit_tokens", "num_cached_tokens", "cached_tokens")
    cached = [details.get("cached_tokens"), *(report.get(name) for name in other)]
    output = report["completion_tokens"]
    reasoning = (report.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    # xAI counts its reasoning beside the completion, and its total says so.
    if reasoning and report.get("total_tokens") == report["prompt_tokens"] + output + reasoning:
        output += reasoning
    return Usage(
        input_tokens=report["prompt_tokens"],
        cached_input_tokens=next((v for v in cached if v is not None), 0),
        cache_write_tokens=details.get("cache_write_tokens") or 0,
        output_tokens=output,
        reasoning_tokens=reasoning,
    ).clamped()


def pointed_at(body: bytes, *, stream: bool) -> list[tuple[str, str]]:
    """Of each source its address and the part of the answer's text that it points at."""
    canned = sdks.canned(body, stream=stream)
    if stream:
        completion = sdks.openai_accumulated(sdks.openai_chunks(canned).items)
    else:
        completion = sdks.openai_completion(canned)
    return [
        (
            annotation.url_citation.url,
            (choice.message.content or "")[
                annotation.url_citation.start_index : annotation.url_citation.end_index
            ],
        )
        for choice in completion.choices
        for annotation in choice.message.annotations or ()
    ]
