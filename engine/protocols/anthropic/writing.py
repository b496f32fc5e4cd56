"""Canonical turns as Anthropic's messages.

Only the user and the assistant speak in turns: system turns are hoisted. Results of tools come
first in the user's message that answers the calls, and no text may be empty.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from engine.conversation import (
    Media,
    NativePart,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
    Turn,
)
from engine.protocols.anthropic.marks import PROTOCOL, cache_control, own_fields, plain_id
from engine.protocols.anthropic.values import read_arguments
from engine.protocols.codec import InexpressibleError

Block = dict[str, Any]

IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})

# How base64 of these begins, for images that come without their type.
_BEGINNINGS = (
    ("/9j/", "image/jpeg"),
    ("iVBORw0KGgo", "image/png"),
    ("R0lGOD", "image/gif"),
    ("UklGR", "image/webp"),
    ("JVBERi0", "application/pdf"),
)

_TEXT_TYPES = ("text/", "application/json", "application/xml")


@dataclass(slots=True)
class Written:
    """`system` and `messages`, and what was left out, by names of `Conversation`'s."""

    system: list[Block] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)

    def drop(self, name: str) -> None:
        """Something was harmlessly left out."""
        if name not in self.dropped:
            self.dropped.append(name)


def write_turns(turns: tuple[Turn, ...]) -> Written:
    """`system` and `messages`.

    Raises:
        InexpressibleError: a part that Anthropic does not know; its field is `turns[i].parts[j]`.
    """
    written = Written()
    merged: list[tuple[str, list[Block]]] = []
    for at, turn in enumerate(turns):
        if turn.name is not None:
            written.drop("turns.name")
        path = f"turns[{at}]"
        if turn.role == "system":
            if merged:
                written.drop("turns.system")
            written.system.extend(_system(turn, path, written))
            continue
        write = _write_user if turn.role == "user" else _write_assistant
        blocks = [
            block
            for index, part in enumerate(turn.parts)
            for block in write(part, f"{path}.parts[{index}]", written)
        ]
        if merged and merged[-1][0] == turn.role:
            merged[-1][1].extend(blocks)
        elif blocks:
            merged.append((turn.role, blocks))
    if merged and merged[-1][0] == "assistant":
        _trim_prefill(merged[-1][1], written)
    written.messages.extend(
        {"role": role, "content": _results_first(blocks) if role == "user" else blocks}
        for role, blocks in merged
        if blocks
    )
    return written


def _system(turn: Turn, path: str, written: Written) -> Iterator[Block]:
    for index, part in enumerate(turn.parts):
        if not isinstance(part, Text):
            raise InexpressibleError(
                f"{path}.parts[{index}]", "This model takes only text in system messages."
            )
        yield from _text(part, written)


def _results_first(blocks: list[Block]) -> list[Block]:
    results = [block for block in blocks if block["type"] == "tool_result"]
    return results + [block for block in blocks if block["type"] != "tool_result"]


def _trim_prefill(blocks: list[Block], written: Written) -> None:
    """The beginning of an answer must not end in whitespace."""
    last = blocks[-1] if blocks else {}
    if last.get("type") != "text" or last["text"] == (trimmed := last["text"].rstrip()):
        return
    written.drop("turns.trailing_whitespace")
    if trimmed:
        blocks[-1] = last | {"text": trimmed}
    else:
        blocks.pop()


def _write_user(part: Part, path: str, written: Written) -> Iterator[Block]:
    match part:
        case Text():
            yield from _text(part, written)
        case Media():
            yield _media(part, path, written)
        case ToolResult():
            yield _result(part, path, written)
        case NativePart():
            yield _native(part, path)
        case _:
            raise InexpressibleError(path, "This does not belong into a user's message.")


def _write_assistant(part: Part, path: str, written: Written) -> Iterator[Block]:
    match part:
        case Text():
            yield from _text(part, written)
        case Refusal(text=text):
            yield from _text(Text(text), written)
        case ToolCall():
            yield _call(part, written)
        case Reasoning():
            yield from _reasoning(part, written)
        case NativePart():
            yield _native(part, path)
        case Media(kind=kind):
            raise InexpressibleError(
                path, f"This model's provider takes no {kind} in messages of the assistant."
            )
        case _:
            raise InexpressibleError(path, "This does not belong into an assistant's message.")


def _text(part: Text, written: Written) -> Iterator[Block]:
    if part.signature is not None and part.signature.issuer != PROTOCOL:
        written.drop("turns.reasoning")
    if part.text:
        block = {"type": "text", "text": part.text} | own_fields(part.native)
        yield block | cache_control(part.cache)


def _native(part: NativePart, path: str) -> Block:
    block = own_fields(part.native).get("block")
    if not isinstance(block, dict):
        raise InexpressibleError(
            path, f"'{part.label}' cannot be translated to this model's provider."
        )
    return block


def _reasoning(part: Reasoning, written: Written) -> Iterator[Block]:
    """Thinking goes back to whom it came from, and to nobody else."""
    signature = part.signature
    if signature is None or signature.issuer != PROTOCOL:
        written.drop("turns.reasoning")
    elif part.redacted:
        yield {"type": "redacted_thinking", "data": signature.value}
    else:
        yield {"type": "thinking", "thinking": part.text, "signature": signature.value}


def _call(part: ToolCall, written: Written) -> Block:
    if part.signature is not None and part.signature.issuer != PROTOCOL:
        written.drop("turns.reasoning")
    block = {
        "type": "tool_use",
        "id": plain_id(part.id),
        "name": part.name,
        "input": read_arguments(part.arguments),
    }
    return block | own_fields(part.native) | cache_control(part.cache)


def _result(part: ToolResult, path: str, written: Written) -> Block:
    block: Block = {"type": "tool_result", "tool_use_id": plain_id(part.call_id)}
    match part.content:
        case (Text(text=str(text), cache=None),) if text:
            block["content"] = text
        case content:
            inner = chain.from_iterable(
                _write_user(item, f"{path}.content[{index}]", written)
                for index, item in enumerate(content)
            )
            if blocks := list(inner):
                block["content"] = blocks
    if part.is_error:
        block["is_error"] = True
    return block | own_fields(part.native) | cache_control(part.cache)


def _media(part: Media, path: str, written: Written) -> Block:
    if part.kind in ("audio", "video"):
        raise unsupported(part.kind, path)
    if part.detail not in (None, "auto"):
        written.drop("turns.detail")
    own = own_fields(part.native)
    if "search_result" in own:
        return _search_result(part, own["search_result"])
    if part.kind == "image":
        block = {"type": "image", "source": _image_source(part, path)}
    else:
        block = {"type": "document", "source": _document_source(part, path)}
        if part.name:
            block["title"] = part.name
    return block | own | cache_control(part.cache)


def unsupported(kind: str, path: str) -> InexpressibleError:
    """The refusal of media that no model of this protocol takes."""
    advice = " Turn it into text at /v1/audio/transcriptions first." if kind == "audio" else ""
    return InexpressibleError(
        path, f"This model takes no {kind}.{advice}", code=f"{kind}_not_supported_by_model"
    )


def _search_result(part: Media, extras: dict[str, Any]) -> Block:
    content = [{"type": "text", "text": part.text}]
    block = {"type": "search_result", "title": part.name or "", "content": content}
    return block | extras | cache_control(part.cache)


def _file_source(file_id: str) -> Block:
    return {"type": "file", "file_id": file_id}


def _url_source(url: str, path: str) -> Block:
    if not url.lower().startswith(("https://", "http://")):
        raise InexpressibleError(path, "This model's provider fetches http and https URLs only.")
    return {"type": "url", "url": url}


def _type_of(part: Media) -> str | None:
    if part.mime_type is not None and part.mime_type not in ("", "application/octet-stream"):
        return part.mime_type.partition(";")[0].strip().lower()
    data = part.data or ""
    return next((kind for begin, kind in _BEGINNINGS if data.startswith(begin)), None)


def _image_source(part: Media, path: str) -> Block:
    if part.file_id is not None:
        return _file_source(part.file_id)
    if part.url is not None:
        return _url_source(part.url, path)
    media_type = "image/jpeg" if (said := _type_of(part)) == "image/jpg" else said
    if part.data is None or media_type not in IMAGE_TYPES:
        raise InexpressibleError(
            path,
            f"This model takes images of the types {', '.join(sorted(IMAGE_TYPES))} only.",
            code="images_not_supported_by_model",
        )
    return {"type": "base64", "media_type": media_type, "data": part.data}


def _document_source(part: Media, path: str) -> Block:
    if part.file_id is not None:
        return _file_source(part.file_id)
    if part.text is not None:
        return {"type": "text", "media_type": "text/plain", "data": part.text}
    if part.url is not None:
        return _url_source(part.url, path)
    media_type = _type_of(part) or ""
    if media_type == "application/pdf":
        return {"type": "base64", "media_type": media_type, "data": part.data}
    text = _decoded(part.data or "") if media_type.startswith(_TEXT_TYPES) else None
    if text is None:
        raise InexpressibleError(
            path,
            "This model takes documents as PDF or plain text only.",
            code="documents_not_supported_by_model",
        )
    return {"type": "text", "media_type": "text/plain", "data": text}


def _decoded(data: str) -> str | None:
    try:
        return base64.b64decode(data, validate=True).decode()
    except (binascii.Error, ValueError):
        return None
