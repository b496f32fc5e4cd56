"""Whole messages: what a stream of events adds up to, as the official SDKs put it together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from engine.protocols.anthropic.figures import merge_usage
from engine.protocols.anthropic.values import read_arguments


def whole_message(documents: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The message that a whole stream makes, as the SDKs put it together."""
    message: dict[str, Any] = {}
    texts: list[str] = []
    for document in documents:
        match document["type"]:
            case "message_start":
                message = document["message"]
            case "content_block_start":
                message["content"].append(dict(document["content_block"]))
                texts = []
            case "content_block_delta":
                _add(message["content"][-1], document["delta"], texts)
            case "content_block_stop":
                _join(message["content"][-1], texts)
                texts = []
            case "message_delta":
                usage = merge_usage(message["usage"], document["usage"])
                beside = {k: v for k, v in document.items() if k not in ("type", "delta", "usage")}
                message |= document["delta"] | {"usage": usage} | beside
    return message


def _add(block: dict[str, Any], delta: dict[str, Any], texts: list[str]) -> None:
    match delta:
        case {"type": "text_delta", "text": str(text)}:
            texts.append(text)
        case {"type": "thinking_delta", "thinking": str(text)}:
            texts.append(text)
        case {"type": "input_json_delta", "partial_json": str(text)}:
            texts.append(text)
        case {"type": "signature_delta", "signature": signature}:
            block["signature"] = signature
        case {"type": "citations_delta", "citation": citation}:
            block["citations"] = [*(block.get("citations") or ()), citation]
        case {"type": "compaction_delta"}:
            block |= {name: value for name, value in delta.items() if name != "type"}


def _join(block: dict[str, Any], texts: list[str]) -> None:
    text = "".join(texts)
    match block:
        case {"type": "text" | "thinking" as name}:
            block[name] += text
        case {"input": _} if text.strip():
            block["input"] = read_arguments(text)
