"""What a model has written for a provider's own tools, out of their items: it is output like text.

What the tools gave back is not: outputs of code, found documents, listed tools.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

from engine.protocols.fields import dict_of


def generated_text(kind: str, item: Mapping[str, Any]) -> str:
    """The generated text of an item; empty for what holds none.

    >>> generated_text("web_search_call", {"action": {"type": "search", "query": "rain"}})
    'rain'
    """
    reader = _READERS.get(kind)
    return "" if reader is None else "\n".join(filter(None, map(_text, reader(item))))


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, (dict, list)) or not value:
        return ""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        return ""


def _fields(*names: str) -> Callable[[Mapping[str, Any]], Iterator[Any]]:
    def read(item: Mapping[str, Any]) -> Iterator[Any]:
        yield from (item.get(name) for name in names)

    return read


def _search(item: Mapping[str, Any]) -> Iterator[Any]:
    action = dict_of(item.get("action"))
    yield action.get("query") or action.get("queries")
    yield from (action.get("url"), action.get("pattern"), item.get("arguments"))


def _commands(item: Mapping[str, Any]) -> Iterator[Any]:
    action = dict_of(item.get("action"))
    commands = action.get("commands") or action.get("command")
    yield from commands if isinstance(commands, list) else (commands,)


def _patch(item: Mapping[str, Any]) -> Iterator[Any]:
    operation = dict_of(item.get("operation"))
    yield from (operation.get("path"), operation.get("diff"))


_READERS: dict[str, Callable[[Mapping[str, Any]], Iterator[Any]]] = {
    "web_search_call": _search,
    "x_search_call": _fields("arguments"),
    "file_search_call": _fields("queries"),
    "code_interpreter_call": _fields("code", "arguments"),
    "image_generation_call": _fields("revised_prompt", "prompt"),
    "mcp_call": _fields("name", "arguments"),
    "mcp_approval_request": _fields("name", "arguments"),
    "tool_search_call": _fields("arguments"),
    "computer_call": _fields("action", "actions"),
    "local_shell_call": _commands,
    "shell_call": _commands,
    "apply_patch_call": _patch,
    "program": _fields("code"),
}
