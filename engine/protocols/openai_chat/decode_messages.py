"""Messages as canonical turns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from engine.conversation import (
    CacheHint,
    Media,
    Native,
    Part,
    Reasoning,
    Refusal,
    Role,
    Text,
    ToolCall,
    ToolResult,
    Turn,
    Unexpressed,
)
from engine.protocols import carried
from engine.protocols.fields import dict_of, dicts, text_of
from engine.protocols.openai_chat.calls import NAME
from engine.protocols.openai_chat.parsing import kind_of
from engine.protocols.openai_values import wrong

# What a client sends back of an answer, and what no model needs to see again.
_ANSWER_FIELDS = frozenset({"annotations", "audio", "reasoning_details", "parsed"})
_MESSAGE_FIELDS = frozenset(
    {
        "role",
        "content",
        "name",
        "refusal",
        "tool_calls",
        "tool_call_id",
        "function_call",
        "reasoning_content",
        "reasoning",
        "images",
    }
)

AUDIO_FORMATS = {
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "flac": "audio/flac",
    "opus": "audio/opus",
    "ogg": "audio/ogg",
    "aac": "audio/aac",
    "m4a": "audio/mp4",
    "webm": "audio/webm",
    "pcm16": "audio/L16",
}
"""`input_audio.format` and what it is; OpenAI itself takes the first two."""


@dataclass(slots=True)
class MessageReader:
    """Reads the messages of one request in order.

    Attributes:
        unexpressed: what has no place in the canonical form.
    """

    unexpressed: list[Unexpressed] = field(default_factory=list)
    _legacy_calls: dict[str, str] = field(default_factory=dict)
    """The last call of each function, by name: `function` messages do not say which they answer."""

    def read(self, messages: list[dict[str, Any]]) -> tuple[Turn, ...]:
        """All turns, adjacent ones of one side merged.

        Raises:
            InvalidRequestError: a message OpenAI would refuse.
        """
        sides: list[tuple[Role, str | None, list[Part]]] = []
        for index, message in enumerate(messages):
            turn = self._read_message(message, f"messages[{index}]")
            if sides and sides[-1][:2] == (turn.role, turn.name):
                sides[-1][2].extend(turn.parts)
            else:
                sides.append((turn.role, turn.name, list(turn.parts)))
        return tuple(Turn(role, tuple(parts), name) for role, name, parts in sides)

    def _read_message(self, message: dict[str, Any], path: str) -> Turn:
        role = message["role"]
        for name, value in message.items():
            if value and name not in _MESSAGE_FIELDS:
                harmless = role == "assistant" and name in _ANSWER_FIELDS
                self.unexpressed.append(Unexpressed(f"{path}.{name}", harmless))
        match role:
            case "assistant":
                parts = self._read_assistant(message, path)
            case "tool":
                return Turn("user", (self._read_result(message, path),))
            case "function":
                return Turn("user", (self._read_legacy_result(message, path),))
            case _:
                parts = tuple(self._read_content(message.get("content"), path, required=True))
        side: Role = "user" if role == "user" else "assistant" if role == "assistant" else "system"
        return Turn(side, parts, _text(message, "name", path) or None)

    def _read_assistant(self, message: dict[str, Any], path: str) -> tuple[Part, ...]:
        parts: list[Part] = []
        thinking = text_of(message.get("reasoning_content")) or text_of(message.get("reasoning"))
        if thinking:
            parts.append(Reasoning(thinking))
        content = message.get("content")
        calls = message.get("tool_calls")
        if content or not (calls or message.get("function_call") or message.get("refusal")):
            parts.extend(self._read_content(content, path, required=False))
        for index, image in enumerate(dicts(message.get("images"))):
            parts.extend(_read_part(image, f"{path}.images[{index}]"))
        if refusal := _text(message, "refusal", path):
            parts.append(Refusal(refusal))
        if calls is not None and not isinstance(calls, list):
            raise wrong(f"{path}.tool_calls", "must be an array")
        for index, call in enumerate(calls or ()):
            parts.append(_read_call(call, f"{path}.tool_calls[{index}]"))
        if legacy := message.get("function_call"):
            parts.append(self._read_legacy_call(legacy, path))
        return tuple(parts)

    def _read_legacy_call(self, function: object, path: str) -> ToolCall:
        fields = dict_of(function)
        name = _text(fields, "name", f"{path}.function_call")
        if not name:
            raise wrong(f"{path}.function_call.name", "must be the name of a function")
        call_id = f"call_of_{path.removeprefix('messages[').removesuffix(']')}"
        self._legacy_calls[name] = call_id
        arguments = _text(fields, "arguments", f"{path}.function_call")
        return ToolCall(call_id, name, arguments, native=Native(NAME, {"type": "function_call"}))

    def _read_legacy_result(self, message: dict[str, Any], path: str) -> ToolResult:
        name = _text(message, "name", path)
        call_id = self._legacy_calls.get(name)
        if call_id is None:
            raise wrong(f"{path}.name", "must name a function that the assistant has called")
        content = tuple(self._read_result_content(message.get("content"), path))
        return ToolResult(call_id, content, name=name)

    def _read_result(self, message: dict[str, Any], path: str) -> ToolResult:
        call_id = _text(message, "tool_call_id", path)
        if not call_id:
            raise wrong(f"{path}.tool_call_id", "must be the id of a tool call")
        content = tuple(self._read_result_content(message.get("content"), path))
        return ToolResult(carried.uncarry(call_id)[0], content)

    def _read_result_content(self, content: object, path: str) -> Iterator[Text | Media]:
        for part in self._read_content(content, path, required=False):
            if isinstance(part, (Text, Media)):
                yield part

    def _read_content(self, content: object, path: str, *, required: bool) -> Iterator[Part]:
        if isinstance(content, str):
            yield Text(content)
            return
        if content is None and not required:
            return
        if not isinstance(content, list):
            raise wrong(f"{path}.content", "must be a string or an array of content parts")
        for index, part in enumerate(content):
            at = f"{path}.content[{index}]"
            if isinstance(part, str):
                yield Text(part)
                continue
            if not isinstance(part, dict):
                raise wrong(at, "must be an object with a 'type'")
            read = list(_read_part(part, at))
            if not read:
                self.unexpressed.append(Unexpressed(f"{at}.type", harmless=False))
            yield from read


def _read_part(part: dict[str, Any], path: str) -> Iterator[Part]:
    """One content part; nothing for a type that is not known."""
    cache = _cache(part)
    match part.get("type"):
        case "text" | "input_text" | "output_text":
            yield Text(_text(part, "text", path), cache=cache)
        case "refusal":
            yield Refusal(_text(part, "refusal", path))
        case "image_url":
            value = part.get("image_url")
            fields = {"url": value} if isinstance(value, str) else dict_of(value)
            detail = text_of(fields.get("detail")) or None
            yield _from_url("image", fields, f"{path}.image_url", detail=detail, cache=cache)
        case "video_url":
            yield _from_url(
                "video", dict_of(part.get("video_url")), f"{path}.video_url", cache=cache
            )
        case "input_audio":
            audio = dict_of(part.get("input_audio"))
            kind = _text(audio, "format", f"{path}.input_audio") or "wav"
            mime_type = AUDIO_FORMATS.get(kind, f"audio/{kind}")
            data = _text(audio, "data", f"{path}.input_audio")
            yield Media("audio", mime_type, data=data, cache=cache)
        case "file":
            yield _read_file(dict_of(part.get("file")), f"{path}.file", cache)
        case "thinking":  # Mistral
            thinking = part.get("thinking")
            texts = [text_of(inner.get("text")) for inner in dicts(thinking)]
            yield Reasoning(text_of(thinking) or "".join(texts))


def _read_file(file: dict[str, Any], path: str, cache: CacheHint | None) -> Media:
    name = _text(file, "filename", path) or None
    data = _text(file, "file_data", path)
    if not data and (file_id := _text(file, "file_id", path)):
        return Media("document", file_id=file_id, name=name, cache=cache)
    if not data:
        raise wrong(f"{path}.file_data", "must be the file's content")
    if data.startswith("data:"):
        mime_type, data = _split_data_url(data, f"{path}.file_data")
    else:
        mime_type = "text/plain" if name and name.endswith(".txt") else "application/pdf"
    return Media(kind_of(mime_type), mime_type, data=data, name=name, cache=cache)


def _from_url(
    kind: Any,
    fields: dict[str, Any],
    path: str,
    *,
    detail: str | None = None,
    cache: CacheHint | None,
) -> Media:
    url = _text(fields, "url", path)
    if not url:
        raise wrong(f"{path}.url", "must be an address or a data: URL")
    if url.startswith("data:"):
        mime_type, data = _split_data_url(url, f"{path}.url")
        return Media(kind, mime_type, data=data, detail=detail, cache=cache)
    return Media(kind, url=url, detail=detail, cache=cache)


def _split_data_url(url: str, path: str) -> tuple[str, str]:
    """Media type and base64 of a `data:` URL."""
    head, comma, data = url.partition(",")
    mime_type, _, encoding = head.removeprefix("data:").rpartition(";")
    if not comma or encoding.strip() != "base64":
        raise wrong(path, "must hold base64: data:<media type>;base64,<data>")
    return mime_type.partition(";")[0].strip().lower() or "text/plain", data


def _cache(part: dict[str, Any]) -> CacheHint | None:
    """A breakpoint of OpenAI's, or of Anthropic's as several gateways take it."""
    for name in ("prompt_cache_breakpoint", "cache_control"):
        if isinstance(hint := part.get(name), dict):
            return CacheHint(text_of(hint.get("ttl")) or None)
    return None


def _read_call(call: object, path: str) -> ToolCall:
    fields = dict_of(call)
    call_id = _text(fields, "id", path)
    custom = fields.get("type") == "custom"
    body = dict_of(fields.get("custom" if custom else "function"))
    inner = f"{path}.{'custom' if custom else 'function'}"
    name = _text(body, "name", inner)
    if not call_id or not name:
        raise wrong(path if name else f"{inner}.name", "must have an 'id' and name a tool")
    plain, signature = carried.uncarry(call_id)
    return ToolCall(
        plain,
        name,
        _text(body, "input" if custom else "arguments", inner),
        signature,
        native=Native(NAME, {"type": "custom"}) if custom else None,
    )


def _text(fields: dict[str, Any], name: str, path: str) -> str:
    value = fields.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise wrong(f"{path}.{name}", "must be a string")
    return value
