"""Tool calls as they stream in: whole or in fragments, with or without an index, an id, a type."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from engine.conversation import Native, Signature
from engine.events import Event, ToolCallBegin, ToolCallDelta
from engine.protocols.fields import dict_of, text_of

NAME = "openai_chat"


@dataclass(slots=True)
class _Call:
    """A call that is being told. It begins once its name is known; until then the rest waits."""

    index: int
    id: str = ""
    name: str = ""
    begun: bool = False
    waiting: str = ""
    native: dict[str, Any] = field(default_factory=dict)
    signature: Signature | None = None


class CallReader:
    """The calls of one choice."""

    def __init__(self, choice: int) -> None:
        self._choice = choice
        self._calls: list[_Call] = []
        self._by_key: dict[int | str, _Call] = {}
        self._last: _Call | None = None

    @property
    def any(self) -> bool:
        """A tool was called."""
        return bool(self._calls)

    def read(self, fragment: dict[str, Any], answer_id: str | None) -> Iterator[Event]:
        """A member of `tool_calls`."""
        custom = fragment.get("custom")
        body = custom if isinstance(custom, dict) else dict_of(fragment.get("function"))
        call = self._find(
            fragment.get("index"), text_of(fragment.get("id")), text_of(body.get("name"))
        )
        if not call.begun:
            if isinstance(custom, dict) or fragment.get("type") == "custom":
                call.native["type"] = "custom"
            extra = {
                key: value
                for key, value in fragment.items()
                if key not in _CALL_FIELDS and value is not None
            }
            call.native.update(extra)
            call.signature = call.signature or _google_signature(fragment)
        yield from self._tell(call, body.get("input" if custom else "arguments"), answer_id)

    def read_legacy(self, function_call: dict[str, Any], answer_id: str | None) -> Iterator[Event]:
        """`function_call`, of which an answer has one at most."""
        call = self._find("legacy", "", text_of(function_call.get("name")))
        call.native["type"] = "function_call"
        yield from self._tell(call, function_call.get("arguments"), answer_id)

    def _find(self, key: object, call_id: str, name: str) -> _Call:
        """The call that a fragment belongs to.

        The index decides; it is not repeated for another call, but some servers give every call
        index 0, and some give none: then an id or a name that is new begins a call.
        """
        call: _Call | None
        if isinstance(key, (int, str)) and not isinstance(key, bool):
            call = self._by_key.get(key)
            if call and call_id and name and call.id not in ("", call_id):
                call = None
        else:
            key = call_id or None
            call = self._by_key.get(key) if key else None if name else self._last
        if call is None:
            call = _Call(len(self._calls))
            self._calls.append(call)
        if key is not None:
            self._by_key[key] = call
        self._last = call
        call.id = call.id or call_id
        if not call.begun:
            call.name += name
        return call

    def _tell(self, call: _Call, arguments: object, answer_id: str | None) -> Iterator[Event]:
        text = arguments if isinstance(arguments, str) else ""
        if isinstance(arguments, (dict, list)):  # as Ollama's own API has them
            text = _dump(arguments)
        if call.begun:
            if text:
                yield ToolCallDelta(call.index, text, self._choice)
            return
        call.waiting += text
        if call.name:
            yield from self._begin(call, answer_id)

    def _begin(self, call: _Call, answer_id: str | None) -> Iterator[Event]:
        call.begun = True
        yield ToolCallBegin(
            call.index,
            call.id or _invented_id(answer_id, self._choice, call.index),
            call.name,
            self._choice,
            call.signature,
            Native(NAME, call.native) if call.native else None,
        )
        if call.waiting:
            yield ToolCallDelta(call.index, call.waiting, self._choice)
            call.waiting = ""

    def finish(self, answer_id: str | None) -> Iterator[Event]:
        """What still waits for its name."""
        for call in self._calls:
            if not call.begun:
                yield from self._begin(call, answer_id)


_CALL_FIELDS = frozenset({"index", "id", "type", "function", "custom"})


def _dump(value: object) -> str:
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        raise ValueError("arguments are nested too deeply") from None


def _google_signature(fragment: dict[str, Any]) -> Signature | None:
    """Gemini behind its own OpenAI-compatible endpoint."""
    google = dict_of(dict_of(fragment.get("extra_content")).get("google"))
    value = text_of(google.get("thought_signature"))
    return Signature("gemini", value) if value else None


def _invented_id(answer_id: str | None, choice: int, index: int) -> str:
    """An id for a call whose server gave none; the same for the same bytes."""
    digest = hashlib.blake2s(f"{answer_id} {choice} {index}".encode(), digest_size=9)
    return f"call_ps{digest.hexdigest()}"
