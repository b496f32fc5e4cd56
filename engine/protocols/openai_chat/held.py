"""Ids that live at the provider: on a shared key they would reach another tenant's data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from engine.errors import InvalidRequestError
from engine.protocols.codec import HeldIdError
from engine.protocols.fields import dict_of, is_held_uri, text_of

_TOP_LEVEL = (
    "previous_response_id",
    "conversation",
    "container",
    "cached_content",
    "cachedContent",
    "assistant_id",
    "thread_id",
    "tool_resources",
    "file_ids",
    "vector_store_ids",
    "preset",  # OpenRouter: a model and a prompt that the operator has stored there
)
# OpenRouter's and others' lists of models to try instead.
_OTHER_MODELS = ("models", "fallbacks")
_SUSPECT = frozenset({*_TOP_LEVEL, *_OTHER_MODELS, "extra_body", "google"})
# Within a tool that the provider runs, at any of these names.
_TOOL_FIELDS = ("vector_store_ids", "file_ids", "container", "file_id", "connector_id")
# A container for the call alone is no id: `{"type": "auto"}`.
_OWN_TOOLS = frozenset({"function", "custom"})


def refuse_held_ids(document: dict[str, Any], ours: frozenset[int] = frozenset()) -> None:
    """Refuse a request that names a stored file, conversation, container or the like; the objects
    `ours` name files of the gateway's.

    Raises:
        InvalidRequestError: with the path as its param.
    """
    if not _SUSPECT.isdisjoint(document):
        _refuse_members(document)
    for index, message in enumerate(document["messages"]):
        for path in _held_in_message(message, ours):
            raise HeldIdError(f"messages[{index}].{path}")
    if isinstance(tools := document.get("tools"), list):
        for index, tool in enumerate(tools):
            for path in _held_in_tool(tool):
                raise HeldIdError(f"tools[{index}].{path}")


def _refuse_members(document: dict[str, Any]) -> None:
    for name in _TOP_LEVEL:
        if document.get(name):
            raise HeldIdError(name)
    for name in _OTHER_MODELS:
        if document.get(name):
            raise InvalidRequestError(
                f"'{name}' names other models than the one of the request, at other prices; "
                "the gateway has fallbacks of its own.",
                param=name,
            )
    google = dict_of(dict_of(document.get("extra_body")).get("google"))
    for source, path in (
        (google, "extra_body.google"),
        (dict_of(document.get("google")), "google"),
    ):
        for name in ("cached_content", "cachedContent"):
            if source.get(name):
                raise HeldIdError(f"{path}.{name}")


def _held_in_message(message: dict[str, Any], ours: frozenset[int]) -> Iterator[str]:
    if "audio" in message and dict_of(message["audio"]).get("id"):
        yield "audio.id"
    for name in ("content", "images"):
        if name not in message or not isinstance(parts := message[name], list):
            continue
        for index, part in enumerate(parts):
            if isinstance(part, dict) and part.get("type") != "text":
                yield from _held_in_part(part, f"{name}[{index}]", ours)


def _held_in_part(part: dict[str, Any], path: str, ours: frozenset[int]) -> Iterator[str]:
    if part.get("file_id"):
        yield f"{path}.file_id"
    for name, value in part.items():
        if isinstance(value, str):
            if name.endswith("url") and is_held_uri(value):
                yield f"{path}.{name}"
        elif isinstance(value, dict):
            if value.get("file_id") and id(value) not in ours:
                yield f"{path}.{name}.file_id"
            for inner in ("url", "file_url", "file_data", "file_uri"):
                if is_held_uri(text_of(value.get(inner))):
                    yield f"{path}.{name}.{inner}"


def _held_in_tool(tool: object) -> Iterator[str]:
    if not isinstance(tool, dict):
        return
    kind = text_of(tool.get("type", "function"))
    if kind in _OWN_TOOLS:
        return
    for source, path in ((tool, ""), (dict_of(tool.get(kind)), f"{kind}.")):
        for name in _TOOL_FIELDS:
            value = source.get(name)
            if isinstance(value, dict):
                yield from (f"{path}{name}.{inner}" for inner in _TOOL_FIELDS if value.get(inner))
            elif value:
                yield f"{path}{name}"
