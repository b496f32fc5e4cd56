"""Canonical turns as contents."""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from engine.capabilities import Capabilities
from engine.conversation import (
    Media,
    NativePart,
    Part,
    Reasoning,
    Refusal,
    Signature,
    Text,
    ToolCall,
    ToolResult,
    Turn,
)
from engine.protocols.codec import InexpressibleError
from engine.protocols.gemini.arguments import arguments_object
from engine.protocols.gemini.signatures import PROTOCOL, SKIP_VALIDATOR, is_invented, own_fields

_ROLES = {"user": "user", "assistant": "model"}


class ContentWriter:
    """Writes the turns of one conversation.

    Attributes:
        dropped: what was harmlessly left out, as names of `Conversation`'s.
    """

    def __init__(self, turns: Sequence[Turn], capabilities: Capabilities) -> None:
        self.dropped: dict[str, None] = {}
        self._turns = turns
        self._names = {
            part.id: part.name
            for turn in turns
            for part in turn.parts
            if isinstance(part, ToolCall)
        }
        self._ids_told = {call_id for call_id in self._names if not is_invented(call_id)}
        self._signs = capabilities.reasoning == "level"
        self._system_taken = capabilities.system is not False

    def write(self) -> dict[str, Any]:
        """`contents`, and `systemInstruction` where there is one.

        Raises:
            InexpressibleError: a part that Gemini does not know, or nothing to answer.
        """
        contents: list[dict[str, Any]] = []
        system: list[dict[str, Any]] = []
        current = _current_turn(self._turns)
        for index, turn in enumerate(self._turns):
            if turn.role == "system":
                if contents:
                    self._drop("turns.system")
                system += self._system(turn, index)
                continue
            if turn.name is not None:
                self._drop("turns.name")
            parts = self._parts(turn, index, validated=self._signs and index > current)
            if not parts:
                continue
            role = _ROLES[turn.role]
            if contents and contents[-1]["role"] == role:
                contents[-1]["parts"] += parts
            else:
                contents.append({"role": role, "parts": parts})
        if not system and not contents:
            raise InexpressibleError("turns", "There is nothing to answer.")
        if not contents:  # Gemini answers instructions alone, but wants a content
            contents = [{"role": "user", "parts": [{"text": ""}]}]
        if not system:
            return {"contents": contents}
        if not self._system_taken:
            raise InexpressibleError("turns.system", "This model takes no system messages.")
        return {"contents": contents, "systemInstruction": {"parts": system}}

    def _drop(self, name: str) -> None:
        self.dropped[name] = None

    def _system(self, turn: Turn, index: int) -> list[dict[str, Any]]:
        found = []
        for position, part in enumerate(turn.parts):
            if not isinstance(part, Text):
                raise InexpressibleError(
                    f"turns[{index}].parts[{position}]", "System messages hold text only."
                )
            self._hints(part)
            if part.text:
                found.append({"text": part.text})
        return found

    def _parts(self, turn: Turn, index: int, *, validated: bool) -> list[dict[str, Any]]:
        """The parts of a turn. In the current turn Gemini 3 validates the signature of the first
        call of each step, so what another model called gets the validator's escape."""
        found: list[dict[str, Any]] = []
        called = False
        for position, part in enumerate(turn.parts):
            self._hints(part)
            written = self._part(part, f"turns[{index}].parts[{position}]")
            if written is None:
                continue
            if isinstance(part, ToolCall):
                if validated and not called:
                    written.setdefault("thoughtSignature", SKIP_VALIDATOR)
                called = True
            found.append(written)
        return found

    def _hints(self, part: Part) -> None:
        if getattr(part, "cache", None) is not None:
            self._drop("cache")
        if isinstance(part, Media):
            for name in ("name", "detail"):
                if getattr(part, name) is not None:
                    self._drop(name if name == "detail" else "turns.title")

    def _part(self, part: Part, field: str) -> dict[str, Any] | None:
        match part:
            case Text():
                signed = self._signed(part.signature)
                return {"text": part.text} | signed if part.text or signed else None
            case Media():
                return encode_media(part)
            case ToolCall():
                return self._call(part)
            case ToolResult():
                return self._result(part, field)
            case Reasoning():
                signed = self._signed(part.signature)
                if not signed:
                    self._drop("turns.reasoning")
                    return None
                return {"text": part.text, "thought": True} | signed
            case Refusal():
                return {"text": part.text} if part.text else None
            case NativePart():
                kept = own_fields(part.native)
                if kept is None:
                    raise InexpressibleError(
                        field, f"'{part.label}' cannot be translated to this model's provider."
                    )
                return dict(kept["part"])

    def _signed(self, signature: Signature | None) -> dict[str, Any]:
        own = signature is not None and signature.issuer == PROTOCOL
        return {"thoughtSignature": signature.value} if signature is not None and own else {}

    def _call(self, call: ToolCall) -> dict[str, Any]:
        arguments = arguments_object(call.arguments)
        function: dict[str, Any] = {"name": call.name, "args": arguments}
        if call.id in self._ids_told:
            function = {"id": call.id} | function
        return {"functionCall": function} | self._signed(call.signature)

    def _result(self, result: ToolResult, field: str) -> dict[str, Any]:
        name = result.name or self._names.get(result.call_id)
        if not name:
            raise InexpressibleError(
                field, f"The tool result of '{result.call_id[:64]}' has no call before it."
            )
        kept = own_fields(result.native) or {}
        text = "\n".join(part.text for part in result.content if isinstance(part, Text))
        media = [encode_media(part) for part in result.content if isinstance(part, Media)]
        for part in result.content:
            self._hints(part)
        response: dict[str, Any] = {
            "name": name,
            "response": {"error" if result.is_error else "result": text},
        } | kept
        if media:
            response["parts"] = media
        if not is_invented(result.call_id):
            response = {"id": result.call_id} | response
        return {"functionResponse": response}


def _current_turn(turns: Sequence[Turn]) -> int:
    """The index of the turn in which the user last said something. In doubt, which is where there
    are media only or results beside the text, an earlier one: more calls count as current then.
    """
    for index in range(len(turns) - 1, -1, -1):
        kinds = {type(part) for part in turns[index].parts}
        if turns[index].role == "user" and Text in kinds and ToolResult not in kinds:
            return index
    return -1


def encode_media(media: Media) -> dict[str, Any]:
    """A blob inline, or the address of a file."""
    if media.url is None:
        if media.text is not None:
            data = base64.b64encode(media.text.encode("utf-8", "replace")).decode()
            return _inline(media.mime_type or "text/plain", data)
        return _inline(media.mime_type or _guessed(media.name, media.kind), media.data or "")
    if media.url[:5].lower() == "data:":
        head, _, body = media.url[5:].partition(",")
        mime_type = head.split(";")[0].strip() or media.mime_type or "text/plain"
        if head.lower().endswith(";base64"):
            return _inline(mime_type, body)
        return _inline(mime_type, base64.b64encode(unquote_to_bytes(body)).decode())
    mime_type = media.mime_type or mimetypes.guess_type(urlsplit(media.url).path)[0] or ""
    return {"fileData": {"fileUri": media.url} | ({"mimeType": mime_type} if mime_type else {})}


def _inline(mime_type: str, data: str) -> dict[str, Any]:
    return {"inlineData": {"mimeType": mime_type, "data": data}}


_KINDS = {
    "image": "image/png",
    "audio": "audio/wav",
    "video": "video/mp4",
    "document": "application/pdf",
}


def _guessed(name: str | None, kind: str) -> str:
    """The type of a blob whose type was not said."""
    return (mimetypes.guess_type(name)[0] if name else None) or _KINDS[kind]
