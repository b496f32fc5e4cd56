"""Contents as canonical turns."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, Final

from engine.conversation import (
    Media,
    NativePart,
    Part,
    Reasoning,
    Role,
    Signature,
    Text,
    ToolCall,
    ToolResult,
    Turn,
    Unexpressed,
)
from engine.errors import InvalidRequestError
from engine.protocols.gemini.requests import media_kind
from engine.protocols.gemini.signatures import (
    invent_id,
    native,
    read_signature,
    standard_base64,
)
from engine.protocols.gemini.spelling import (
    dump_json,
    enum,
    get,
    get_dict,
    get_dicts,
    get_text,
    key_of,
    members,
)

_ROLES: Final[dict[str, Role]] = {
    "": "user",
    "USER": "user",
    "FUNCTION": "user",
    "MODEL": "assistant",
}

_DETAILS: Final = {
    "MEDIA_RESOLUTION_LOW": "low",
    "MEDIA_RESOLUTION_MEDIUM": "auto",
    "MEDIA_RESOLUTION_HIGH": "high",
}

_PLAIN = frozenset({"text", "thought", "thoughtSignature"})
_HARMLESS = frozenset({"partMetadata", "mediaResolution", "thoughtSignature", "thought"})
_ANSWERS = ("result", "output")


class ContentReader:
    """Reads the contents of one request, in order.

    Calls and results without an id are matched by the names of the functions, as Gemini does.
    """

    def __init__(self) -> None:
        self.unexpressed: list[Unexpressed] = []
        self._open = _OpenCalls()
        self._calls = 0

    def turns(self, prompt: dict[str, Any]) -> tuple[Turn, ...]:
        """System instruction and contents; adjacent contents of one role are one turn.

        Raises:
            InvalidRequestError: a role that is none, or instructions that are no content.
        """
        turns: list[tuple[Role, list[Part]]] = []
        system = get(prompt, "systemInstruction")
        match system:
            case str():
                parts = [{"text": system}]
            case dict():
                parts = get_dicts(system, "parts")
            case None:
                parts = []
            case _:
                raise InvalidRequestError(
                    "'systemInstruction' must be a content.", param="systemInstruction"
                )
        if texts := list(self._system(parts)):
            turns.append(("system", texts))
        for index, content in enumerate(get_dicts(prompt, "contents")):
            role = _ROLES.get(enum(get(content, "role")))
            if role is None:
                raise InvalidRequestError(
                    "Please use a valid role: user, model.", param=f"contents[{index}].role"
                )
            said = [
                part
                for position, raw in enumerate(get_dicts(content, "parts"))
                for part in self._part(raw, f"contents[{index}].parts[{position}]")
            ]
            said = _joined(said) if role == "assistant" else said
            if not said:
                continue
            if turns and turns[-1][0] == role:
                turns[-1][1].extend(said)
            else:
                turns.append((role, said))
        return tuple(Turn(role, tuple(parts)) for role, parts in turns)

    def _system(self, parts: list[dict[str, Any]]) -> Iterator[Part]:
        for index, part in enumerate(parts):
            if isinstance(text := part.get("text"), str):
                yield Text(text)
            elif part:
                raise InvalidRequestError(
                    "A system instruction holds text only.",
                    param=f"systemInstruction.parts[{index}]",
                )

    def _part(self, part: dict[str, Any], path: str) -> Iterator[Part]:
        signature, redacted = read_signature(get(part, "thoughtSignature"))
        text = part.get("text")
        if isinstance(text, str):
            self._beside(part, path, "text")
            if part.get("thought") is True:
                yield Reasoning(text, signature, redacted=redacted)
            elif text or signature is not None:
                yield Text(text, signature=signature)
        elif key_of(part, "functionCall") is not None:
            self._beside(part, path, "functionCall")
            yield self._call(get_dict(part, "functionCall"), signature)
        elif key_of(part, "functionResponse") is not None:
            self._beside(part, path, "functionResponse")
            yield self._result(get_dict(part, "functionResponse"), path)
        elif key_of(part, "inlineData") is not None or key_of(part, "fileData") is not None:
            self._beside(part, path, "inlineData", "fileData")
            yield self._media(part)
        elif label := next((name for name, _, _ in members(part) if name not in _PLAIN), None):
            yield NativePart(native(part=part), label)

    def _beside(self, part: dict[str, Any], path: str, *read: str) -> None:
        """What stands beside the data of a part and has no place."""
        for name, spelled, _ in members(part):
            if name not in read and name not in _PLAIN:
                self.unexpressed.append(Unexpressed(f"{path}.{spelled}", name in _HARMLESS))

    def _call(self, call: dict[str, Any], signature: Signature | None) -> ToolCall:
        name = get_text(call, "name") or ""
        call_id = get_text(call, "id") or invent_id("history", self._calls, name)
        self._calls += 1
        self._open.add(call_id, name)
        arguments = _json_text(call.get("args") or {})
        return ToolCall(call_id, name, arguments, signature)

    def _result(self, response: dict[str, Any], path: str) -> ToolResult:
        name = get_text(response, "name") or ""
        call_id = get_text(response, "id")
        found = self._open.take("id", call_id) if call_id else self._open.take("name", name)
        if found is not None:
            call_id, name = found[0], name or found[1]
        if call_id is None:
            raise InvalidRequestError(
                f"'{path}' is a result, but no call of this function is without one.", param=path
            )
        text, is_error = _answer(get(response, "response"))
        content: list[Text | Media] = [Text(text)]
        content += [self._media(part) for part in get_dicts(response, "parts")]
        kept = {
            key: value for key, _, value in members(response) if key not in ("id", "name", "parts")
        }
        return ToolResult(call_id, tuple(content), is_error, name or None, native=native(**kept))

    @staticmethod
    def _media(part: dict[str, Any]) -> Media:
        level = get_dict(part, "mediaResolution").get("level")
        detail = _DETAILS.get(enum(level))
        inline, file = get_dict(part, "inlineData"), get_dict(part, "fileData")
        mime_type = get_text(inline or file, "mimeType")
        name = get_text(inline or file, "displayName")
        uri = get_text(file, "fileUri")
        kind = media_kind(mime_type, uri)
        if uri is not None and not inline:
            return Media(kind, mime_type, url=uri, name=name, detail=detail)
        data = standard_base64(get_text(inline, "data") or "")
        return Media(kind, mime_type, data=data, name=name, detail=detail)


def _json_text(value: object) -> str:
    try:
        return dump_json(value).decode()
    except ValueError:
        raise InvalidRequestError("The body is nested too deeply (over 254 levels).") from None


def _answer(response: object) -> tuple[str, bool]:
    """The text of a function's response, and whether it is an error.

    Gemini's documentation has functions answer under `result` or `output`, or `error`.
    """
    if isinstance(response, dict) and len(response) == 1:
        ((name, value),) = response.items()
        if name in (*_ANSWERS, "error"):
            return value if isinstance(value, str) else _json_text(value), name == "error"
    return _json_text(response if response is not None else {}), False


def _joined(parts: list[Part]) -> list[Part]:
    """Pieces of one text, as chunks of a stream come back in a history, are one again."""
    found: list[Part] = []
    pieces: list[str] = []  # of the text found last
    for part in parts:
        match found[-1] if found else None, part:
            case Text(signature=None), Text(signature=None):
                pieces.append(part.text)
            case Reasoning(signature=None), Reasoning(redacted=False):
                pieces.append(part.text)
                found[-1] = Reasoning("", part.signature)
            case _:
                _join(found, pieces)
                found.append(part)
                pieces = [part.text] if isinstance(part, Text | Reasoning) else []
    _join(found, pieces)
    return found


def _join(found: list[Part], pieces: list[str]) -> None:
    if len(pieces) > 1:
        last = found[-1]
        text = "".join(pieces)
        found[-1] = Reasoning(text, last.signature) if isinstance(last, Reasoning) else Text(text)


class _OpenCalls:
    """Id and name of the calls that have no result yet, found by either, the oldest first."""

    def __init__(self) -> None:
        self._calls: list[tuple[str, str] | None] = []
        self._numbers: dict[tuple[str, str], deque[int]] = {}

    def add(self, call_id: str, name: str) -> None:
        """A call was made."""
        for key in (("id", call_id), ("name", name)):
            self._numbers.setdefault(key, deque()).append(len(self._calls))
        self._calls.append((call_id, name))

    def take(self, by: str, value: str) -> tuple[str, str] | None:
        """The call that a result answers; None if there is none."""
        numbers = self._numbers.get((by, value), deque[int]())
        while numbers:
            number = numbers.popleft()
            call, self._calls[number] = self._calls[number], None
            if call is not None:
                return call
        return None
