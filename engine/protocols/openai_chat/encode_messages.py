"""Canonical turns as messages."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Sequence
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
from engine.protocols.openai_chat.calls import NAME

# OpenAI refuses longer ids of tool calls.
_CALL_ID_MAX_CHARS = 40

# The two formats that there are, by the names that each goes by.
_AUDIO_FORMATS = {
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/vnd.wave": "wav",
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
    "audio/mpeg3": "mp3",
}


@dataclass(slots=True)
class MessageWriter:
    """Writes the turns of one conversation in order.

    Attributes:
        dropped: names of what was left out.
    """

    capabilities: Capabilities
    dropped: set[str] = field(default_factory=set)

    def write(self, turns: Sequence[Turn]) -> list[dict[str, Any]]:
        """All messages.

        Raises:
            InexpressibleError: what this protocol or model cannot be told.
        """
        messages: list[dict[str, Any]] = []
        for index, turn in enumerate(turns):
            match turn.role:
                case "system":
                    messages.append(self._system(turn))
                case "user":
                    messages.extend(self._user(turn))
                case "assistant":
                    messages.extend(self._assistant(turn))
                    if index == len(turns) - 1 and self.capabilities.prefill is False:
                        raise InexpressibleError(
                            "turns",
                            "This model cannot go on with an answer that has been begun: the last "
                            "message must not be the assistant's.",
                        )
        return messages

    def _system(self, turn: Turn) -> dict[str, Any]:
        if self.capabilities.system is False:
            self.dropped.add("turns.system")
        role = "user" if self.capabilities.system is False else "system"
        return _named({"role": role, "content": self._content(turn.parts)}, turn)

    def _user(self, turn: Turn) -> list[dict[str, Any]]:
        """Results first, each in a message of its own, as they have to follow their calls; then
        what else the user says. Media of results have no place there and go with the latter."""
        messages = []
        rest: list[Part] = []
        for part in turn.parts:
            if isinstance(part, ToolResult):
                messages.append(self._result(part))
                rest.extend(self._media_of(part))
            else:
                rest.append(part)
        if rest or not messages:
            messages.append(_named({"role": "user", "content": self._content(rest)}, turn))
        return messages

    def _result(self, result: ToolResult) -> dict[str, Any]:
        texts = [part for part in result.content if isinstance(part, Text)]
        texts += [
            Text(part.text)
            for part in result.content
            if isinstance(part, Media) and part.text is not None
        ]
        if result.is_error:
            self.dropped.add("turns.is_error")
            texts = _as_error(texts)
        if result.cache is not None:
            self.dropped.add("cache")
        return {
            "role": "tool",
            "tool_call_id": call_id_of(result.call_id),
            "content": self._content(texts),
        }

    def _media_of(self, result: ToolResult) -> Iterable[Part]:
        media = [p for p in result.content if isinstance(p, Media) and p.text is None]
        if media:
            self.dropped.add("turns.tool_results.media")
            yield Text(f"What the call {call_id_of(result.call_id)} has given beside its text:")
        yield from media

    def _assistant(self, turn: Turn) -> list[dict[str, Any]]:
        message: dict[str, Any] = {"role": "assistant", "content": None}
        texts: list[Text] = []
        calls = []
        refusals = []
        for part in turn.parts:
            match part:
                case Text():
                    texts.append(part)
                case Reasoning():
                    self.dropped.add("turns.reasoning")
                case Refusal(text=text):
                    refusals.append(text)
                case ToolCall():
                    calls.append(self._call(part))
                case _:
                    raise _unknown(part)
        if refusals:
            message["refusal"] = "".join(refusals)
        if calls:
            message["tool_calls"] = calls
        if texts:
            message["content"] = self._content(texts)
        elif not calls and not refusals:
            if turn.parts:  # nothing but thinking
                return []
            message["content"] = ""
        return [_named(message, turn)]

    def _call(self, call: ToolCall) -> dict[str, Any]:
        if call.signature is not None:
            self.dropped.add("turns.reasoning")
        if call.cache is not None:
            self.dropped.add("cache")
        call_id = call_id_of(call.id)
        native = call.native
        if native and native.protocol == NAME and native.fields.get("type") == "custom":
            body = {"name": call.name, "input": call.arguments}
            return {"id": call_id, "type": "custom", "custom": body}
        body = {"name": call.name, "arguments": call.arguments or "{}"}
        return {"id": call_id, "type": "function", "function": body}

    def _content(self, parts: Sequence[Part]) -> str | list[dict[str, Any]]:
        """One text is a string, as every server takes it."""
        if not parts:
            return ""
        written = [self._part(part) for part in parts]
        if len(written) == 1 and written[0]["type"] == "text":
            text: str = written[0]["text"]
            return text
        return written

    def _part(self, part: Part) -> dict[str, Any]:
        match part:
            case Text(text=text):
                if part.cache is not None:
                    self.dropped.add("cache")
                if part.signature is not None:
                    self.dropped.add("turns.reasoning")
                return {"type": "text", "text": text}
            case Refusal(text=text):
                return {"type": "text", "text": text}
            case Media():
                if part.cache is not None:
                    self.dropped.add("cache")
                return self._media(part)
            case _:
                raise _unknown(part)

    def _media(self, media: Media) -> dict[str, Any]:
        if media.text is not None:
            if media.name is not None:
                self.dropped.add("turns.title")
            return {"type": "text", "text": media.text}
        match media.kind:
            case "image":
                image = {"url": _url_of(media, "image/png")}
                if media.detail in ("low", "high", "auto"):
                    image["detail"] = media.detail
                elif media.detail is not None:
                    self.dropped.add("detail")
                return {"type": "image_url", "image_url": image}
            case "audio":
                return {"type": "input_audio", "input_audio": _audio(media)}
            case "document":
                return self._document(media)
            case "video":
                if "video" not in (self.capabilities.media or ()):
                    raise InexpressibleError(
                        "turns",
                        "This model's provider takes no video.",
                        code="video_not_supported_by_model",
                    )
                return {"type": "video_url", "video_url": {"url": _url_of(media, "video/mp4")}}

    def _document(self, media: Media) -> dict[str, Any]:
        if media.file_id is not None:
            return {"type": "file", "file": {"file_id": media.file_id}}
        if media.data is None:
            raise InexpressibleError(
                "turns", "This model's provider takes documents by content only, not by address."
            )
        if media.mime_type == "text/plain" and (text := _plain_text(media.data)) is not None:
            if media.name is not None:
                self.dropped.add("turns.title")
            return {"type": "text", "text": text}
        file = {"file_data": _url_of(media, "application/pdf")}
        file["filename"] = media.name or "document.pdf"
        return {"type": "file", "file": file}


def call_id_of(call_id: str) -> str:
    """The id of a call within OpenAI's bound; the same for a call and its result."""
    if len(call_id) <= _CALL_ID_MAX_CHARS:
        return call_id
    return f"call_{hashlib.blake2s(call_id.encode(), digest_size=16).hexdigest()}"


def _as_error(texts: list[Text]) -> list[Text]:
    """A failure in words, as this protocol has no mark for it."""
    if not texts:
        return [Text("Error")]
    if texts[0].text.lower().startswith("error"):
        return texts
    return [Text(f"Error: {texts[0].text}"), *texts[1:]]


def _named(message: dict[str, Any], turn: Turn) -> dict[str, Any]:
    return message | {"name": turn.name} if turn.name else message


def _url_of(media: Media, otherwise: str) -> str:
    if media.url is not None:
        return media.url
    return f"data:{media.mime_type or otherwise};base64,{media.data or ''}"


def _audio(media: Media) -> dict[str, str]:
    kind = _AUDIO_FORMATS.get((media.mime_type or "").partition(";")[0].lower())
    if media.data is None or kind is None:
        raise InexpressibleError(
            "turns", "This model's provider takes recordings by content only, as WAV or MP3."
        )
    return {"data": media.data, "format": kind}


def _plain_text(data: str) -> str | None:
    try:
        return base64.b64decode(data, validate=True).decode()
    except (binascii.Error, ValueError):
        return None


def _unknown(part: Part) -> InexpressibleError:
    what = part.label if isinstance(part, NativePart) else f"{type(part).__name__.lower()} there"
    return InexpressibleError("turns", f"This model's provider cannot be told of {what}.")
