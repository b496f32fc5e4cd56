"""Canonical turns as items of `input`."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.capabilities import Capabilities
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
from engine.protocols.codec import InexpressibleError
from engine.protocols.openai_responses.marks import NAME, own
from engine.protocols.openai_shared import call_id_of

# OpenAI refuses longer ids of calls here.
_CALL_ID_MAX_CHARS = 64


@dataclass(slots=True)
class ItemWriter:
    """Writes the turns of one conversation in order.

    Attributes:
        dropped: names of what was left out.
    """

    capabilities: Capabilities
    dropped: set[str] = field(default_factory=set)
    _items: list[dict[str, Any]] = field(default_factory=list)

    def write(self, turns: Sequence[Turn]) -> list[dict[str, Any]]:
        """All items.

        Raises:
            InexpressibleError: what this protocol or model cannot be told.
        """
        for index, turn in enumerate(turns):
            if turn.name is not None:
                self.dropped.add("turns.name")
            match turn.role:
                case "system":
                    takes = self.capabilities.system is not False
                    if not takes:
                        self.dropped.add("turns.system")
                    self._message("system" if takes else "user", turn.parts)
                case "user":
                    self._user(turn)
                case "assistant":
                    self._assistant(turn)
                    if index == len(turns) - 1 and self.capabilities.prefill is False:
                        raise InexpressibleError(
                            "turns",
                            "This model cannot go on with an answer that has been begun: the last "
                            "message must not be the assistant's.",
                        )
        return self._items

    def _user(self, turn: Turn) -> None:
        """Results first, as they have to follow their calls; then what else the user says."""
        rest: list[Part] = []
        for part in turn.parts:
            if isinstance(part, ToolResult):
                self._items.append(self._result(part))
            elif isinstance(part, NativePart):
                self._items.append(_own_item(part))
            else:
                rest.append(part)
        if rest or not turn.parts:
            self._message("user", rest)

    def _assistant(self, turn: Turn) -> None:
        said: list[Part] = []
        for part in turn.parts:
            if isinstance(part, (Text, Refusal)):
                said.append(part)
                continue
            if said:
                self._message("assistant", said)
                said = []
            match part:
                case Reasoning():
                    self._reasoning(part)
                case ToolCall():
                    self._items.append(self._call(part))
                case NativePart():
                    self._items.append(_own_item(part))
                case _:
                    raise _unknown(part)
        if said or not turn.parts:
            self._message("assistant", said)

    def _message(self, role: str, parts: Sequence[Part]) -> None:
        content = [self._part(part, role) for part in parts]
        match content:
            case [] | [{"type": "input_text" | "output_text"}]:
                text = content[0]["text"] if content else ""
                self._items.append({"role": role, "content": text})
            case _:
                self._items.append({"role": role, "content": content})

    def _reasoning(self, part: Reasoning) -> None:
        """Thinking goes back to whom it came from, and to nobody else."""
        if part.signature is None or part.signature.issuer != NAME:
            self.dropped.add("turns.reasoning")
            return
        summary = [{"type": "summary_text", "text": part.text}] if part.text else []
        encrypted = part.signature.value
        item = {"type": "reasoning", "summary": summary, "encrypted_content": encrypted}
        self._items.append(item)

    def _call(self, call: ToolCall) -> dict[str, Any]:
        if call.signature is not None:
            self.dropped.add("turns.reasoning")
        if call.cache is not None:
            self.dropped.add("cache")
        if call.native is not None and call.native.fields.get("type") == "custom":
            raise InexpressibleError("turns", "This model's provider has no such calls.")
        return {
            "type": "function_call",
            "call_id": call_id_of(call.id, _CALL_ID_MAX_CHARS),
            "name": call.name,
            "arguments": call.arguments or "{}",
        }

    def _result(self, result: ToolResult) -> dict[str, Any]:
        parts = list(result.content)
        if result.is_error:
            self.dropped.add("turns.is_error")
            parts = _as_error(parts)
        if result.cache is not None:
            self.dropped.add("cache")
        content = [self._part(part, "user") for part in parts]
        output: str | list[dict[str, Any]] = content
        if not content:
            output = ""
        elif len(content) == 1 and content[0]["type"] == "input_text":
            output = content[0]["text"]
        call_id = call_id_of(result.call_id, _CALL_ID_MAX_CHARS)
        return {"type": "function_call_output", "call_id": call_id, "output": output}

    def _part(self, part: Part, role: str) -> dict[str, Any]:
        kind = "output_text" if role == "assistant" else "input_text"
        match part:
            case Text(text=text):
                if part.cache is not None:
                    self.dropped.add("cache")
                if part.signature is not None:
                    self.dropped.add("turns.reasoning")
                return {"type": kind, "text": text}
            case Refusal(text=text) if role == "assistant":
                return {"type": "refusal", "refusal": text}
            case Refusal(text=text):
                return {"type": kind, "text": text}
            case Media():
                if part.cache is not None:
                    self.dropped.add("cache")
                return self._media(part, kind)
            case _:
                raise _unknown(part)

    def _media(self, media: Media, text_kind: str) -> dict[str, Any]:
        text = media.text
        if text is None and media.mime_type == "text/plain" and media.data is not None:
            text = _plain_text(media.data)
        if text is not None:
            if media.name is not None:
                self.dropped.add("turns.title")
            return {"type": text_kind, "text": text}
        match media.kind:
            case "image":
                if media.detail not in (None, "low", "high", "auto"):
                    self.dropped.add("detail")
                detail = media.detail if media.detail in ("low", "high") else "auto"
                if media.file_id is not None:
                    return {"type": "input_image", "file_id": media.file_id, "detail": detail}
                url = _url_of(media, "image/png")
                return {"type": "input_image", "image_url": url, "detail": detail}
            case "document" if media.file_id is not None:
                return {"type": "input_file", "file_id": media.file_id}
            case "document" if media.url is not None:
                return {"type": "input_file", "file_url": media.url}
            case "document":
                name = media.name or "document.pdf"
                data = _url_of(media, "application/pdf")
                return {"type": "input_file", "filename": name, "file_data": data}
            case kind:
                raise InexpressibleError(
                    "turns",
                    f"This model's provider takes no {kind}.",
                    code=f"{kind}_not_supported_by_model",
                )


def _own_item(part: NativePart) -> dict[str, Any]:
    item = own(part.native).get("item")
    if item is None:
        raise _unknown(part)
    return dict(item)


def _as_error(parts: list[Text | Media]) -> list[Text | Media]:
    """A failure in words, as this protocol has no mark for it."""
    match parts:
        case [Text(text=text), *rest]:
            begun = text.lower().startswith("error")
            return parts if begun else [Text(f"Error: {text}"), *rest]
        case _:
            return [Text("Error"), *parts]


def _url_of(media: Media, otherwise: str) -> str:
    if media.url is not None:
        return media.url
    return f"data:{media.mime_type or otherwise};base64,{media.data or ''}"


def _plain_text(data: str) -> str | None:
    try:
        return base64.b64decode(data, validate=True).decode()
    except (binascii.Error, ValueError):
        return None


def _unknown(part: Part) -> InexpressibleError:
    what = part.label if isinstance(part, NativePart) else f"{type(part).__name__.lower()} there"
    return InexpressibleError("turns", f"This model's provider cannot be told of {what}.")
