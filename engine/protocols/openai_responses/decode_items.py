"""Items of `input` as canonical turns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from engine.conversation import (
    CacheHint,
    Media,
    NativePart,
    Part,
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
from engine.protocols.openai_responses.marks import native, read_reasoning
from engine.protocols.openai_shared import kind_of, split_data_url
from engine.protocols.openai_values import wrong

# What an answer's items hold beside what a model is told again.
_ITEM_FIELDS: dict[str, frozenset[str]] = {
    "message": frozenset({"type", "id", "status", "role", "content", "phase"}),
    "function_call": frozenset(
        {"type", "id", "status", "call_id", "name", "arguments", "caller", "parsed_arguments"}
    ),
    "function_call_output": frozenset({"type", "id", "status", "call_id", "output", "caller"}),
}


@dataclass(slots=True)
class ItemReader:
    """Reads the items of one request in order.

    Attributes:
        unexpressed: what has no place in the canonical form.
    """

    unexpressed: list[Unexpressed] = field(default_factory=list)
    _turns: list[Turn] = field(default_factory=list)

    def read(self, instructions: str | None, items: str | list[dict[str, Any]]) -> tuple[Turn, ...]:
        """All turns, the instructions first, adjacent ones of one side merged.

        Raises:
            InvalidRequestError: an item OpenAI would refuse.
        """
        if instructions:
            self._add("system", (Text(instructions),))
        if isinstance(items, str):
            self._add("user", (Text(items),))
        else:
            for index, item in enumerate(items):
                self._read_item(item, f"input[{index}]")
        return tuple(self._turns)

    def _add(self, role: Role, parts: tuple[Part, ...]) -> None:
        last = self._turns[-1] if self._turns else None
        if last is not None and last.role == role:
            self._turns[-1] = Turn(role, last.parts + parts)
        else:
            self._turns.append(Turn(role, parts))

    def _read_item(self, item: dict[str, Any], path: str) -> None:
        kind = item.get("type") or "message"
        for name, value in item.items():
            if value and kind in _ITEM_FIELDS and name not in _ITEM_FIELDS[kind]:
                self.unexpressed.append(Unexpressed(f"{path}.{name}", harmless=False))
        match kind:
            case "message":
                role = item["role"]
                side: Role = role if role in ("user", "assistant") else "system"
                content = item.get("content")
                self._add(side, tuple(self._read_content(content, f"{path}.content")))
            case "function_call":
                self._add("assistant", (_read_call(item, path),))
            case "function_call_output":
                self._add("user", (self._read_result(item, path),))
            case "reasoning":
                text = _visible(item)
                encrypted = text_of(item.get("encrypted_content"))
                if text or encrypted:
                    self._add("assistant", (read_reasoning(text, encrypted),))
            case _:
                side = "user" if str(kind).endswith(("_output", "_response")) else "assistant"
                self._add(side, (NativePart(native({"item": item}), str(kind)),))

    def _read_result(self, item: dict[str, Any], path: str) -> ToolResult:
        call_id = text_of(item.get("call_id"))
        if not call_id:
            raise wrong(f"{path}.call_id", "must be the id of a call")
        parts = self._read_content(item.get("output"), f"{path}.output")
        content = tuple(part for part in parts if isinstance(part, (Text, Media)))
        return ToolResult(carried.uncarry(call_id)[0], content)

    def _read_content(self, content: object, path: str) -> Iterator[Part]:
        if isinstance(content, str):
            yield Text(content)
            return
        if not isinstance(content, list):
            raise wrong(path, "must be a string or an array of content parts")
        for index, part in enumerate(content):
            at = f"{path}[{index}]"
            if not isinstance(part, dict):
                raise wrong(at, "must be an object with a 'type'")
            read = _read_part(part, at)
            if read is None:
                self.unexpressed.append(Unexpressed(f"{at}.type", harmless=False))
            else:
                yield read


def _read_part(part: dict[str, Any], path: str) -> Part | None:
    """One content part; None for a type that is not known."""
    cache = CacheHint() if isinstance(part.get("prompt_cache_breakpoint"), dict) else None
    match part.get("type"):
        case "input_text" | "output_text" | "text" | "summary_text":
            return Text(_text(part, "text", path), cache=cache)
        case "refusal":
            return Refusal(_text(part, "refusal", path))
        case "input_image":
            return _read_image(part, path, cache)
        case "input_file":
            return _read_file(part, path, cache)
        case "input_audio":
            audio = dict_of(part.get("input_audio"))
            kind = text_of(audio.get("format")) or "wav"
            mime_type = "audio/mpeg" if kind == "mp3" else f"audio/{kind}"
            data = _text(audio, "data", f"{path}.input_audio")
            return Media("audio", mime_type, data=data, cache=cache)
        case _:
            return None


def _read_image(part: dict[str, Any], path: str, cache: CacheHint | None) -> Media:
    url = part.get("image_url")
    url = url if isinstance(url, str) else text_of(dict_of(url).get("url"))
    detail = text_of(part.get("detail")) or None
    detail = None if detail == "auto" else detail
    if not url and (file_id := _text(part, "file_id", path)):
        return Media("image", file_id=file_id, detail=detail, cache=cache)
    if not url:
        raise wrong(f"{path}.image_url", "must be an address or a data: URL")
    if url.startswith("data:"):
        mime_type, data = split_data_url(url, f"{path}.image_url")
        return Media("image", mime_type, data=data, detail=detail, cache=cache)
    return Media("image", url=url, detail=detail, cache=cache)


def _read_file(part: dict[str, Any], path: str, cache: CacheHint | None) -> Media:
    name = _text(part, "filename", path) or None
    if data := _text(part, "file_data", path):
        mime_type = "text/plain" if name and name.endswith(".txt") else "application/pdf"
        if data.startswith("data:"):
            mime_type, data = split_data_url(data, f"{path}.file_data")
        return Media(kind_of(mime_type), mime_type, data=data, name=name, cache=cache)
    url = _text(part, "file_url", path)
    if not url and (file_id := _text(part, "file_id", path)):
        return Media("document", file_id=file_id, name=name, cache=cache)
    if not url:
        raise wrong(f"{path}.file_data", "must be the file's content, or 'file_url' its address")
    return Media("document", "application/pdf", url=url, name=name, cache=cache)


def _visible(item: dict[str, Any]) -> str:
    """The text of a reasoning item: its summary, or what an open model has thought."""
    parts = [text_of(part.get("text")) for part in dicts(item.get("summary"))]
    if not any(parts):
        parts = [text_of(part.get("text")) for part in dicts(item.get("content"))]
    return "\n\n".join(filter(None, parts))


def _read_call(item: dict[str, Any], path: str) -> ToolCall:
    call_id, name = _text(item, "call_id", path), _text(item, "name", path)
    if not call_id or not name:
        raise wrong(f"{path}.{'call_id' if name else 'name'}", "must be there in a call")
    plain, signature = carried.uncarry(call_id)
    return ToolCall(plain, name, _text(item, "arguments", path), signature)


def _text(fields: dict[str, Any], name: str, path: str) -> str:
    value = fields.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise wrong(f"{path}.{name}", "must be a string")
    return value
