"""Ids that live at the provider: on a shared key they would reach another tenant's data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from engine.errors import InvalidRequestError
from engine.protocols.codec import HeldIdError
from engine.protocols.fields import dict_of, is_held_uri, text_of

_TOP_LEVEL = ("previous_response_id", "conversation", "prompt", "container", "preset")
# OpenRouter's lists of models to try instead.
_OTHER_MODELS = ("models", "fallbacks")
# Whatever stands in these is the client's own: schemas, arguments, what a call came to as text.
_OPAQUE = frozenset(
    {"parameters", "schema", "arguments", "input_schema", "output_schema", "annotations", "summary"}
)
# Of items and tools, at any depth.
_ID_FIELDS = frozenset(
    {
        "file_id",
        "file_ids",
        "vector_store_ids",
        "container_id",
        "connector_id",
        "skill_id",
        "previous_response_id",
        "comparison_response_id",
    }
)
_URL_FIELDS = frozenset({"file_url", "image_url", "url", "file_data"})
# What a provider's search has found: the names of its sources, in what the model was told.
_FINDINGS = frozenset({"file_search_call"})
_DEPTH_MAX = 12


def refuse_held_ids(document: dict[str, Any], ours: frozenset[int] = frozenset()) -> None:
    """Refuse a request that names a stored response, prompt, file, container or the like; the
    objects `ours` name files of the gateway's.

    Raises:
        InvalidRequestError: with the path as its param.
    """
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
    if dict_of(document.get("prompt_cache_options")).get("comparison_response_id"):
        raise HeldIdError("prompt_cache_options.comparison_response_id")
    items = document.get("input")
    for index, item in enumerate(items if isinstance(items, list) else ()):
        if isinstance(item, dict):
            for path in _held_in_item(item, ours):
                raise HeldIdError(f"input[{index}].{path}")
    tools = document.get("tools")
    for index, tool in enumerate(tools if isinstance(tools, list) else ()):
        if isinstance(tool, dict):
            for path in _held(tool, "", _DEPTH_MAX, ours):
                raise HeldIdError(f"tools[{index}].{path}")


def _held_in_item(item: dict[str, Any], ours: frozenset[int]) -> Iterator[str]:
    kind = text_of(item.get("type"))
    if kind == "item_reference" or (not kind and "role" not in item and "id" in item):
        yield "id"
    elif kind == "image_generation_call" and not item.get("result"):
        yield "id"  # the image itself is with the provider
    elif kind not in _FINDINGS:
        yield from _held(item, "", _DEPTH_MAX, ours)


def _held(value: dict[str, Any], path: str, depth: int, ours: frozenset[int]) -> Iterator[str]:
    """Paths of ids in an object; `container` is one if it is a string."""
    for name, inner in value.items():
        at = f"{path}{name}"
        if name in _OPAQUE or not inner or (name == "file_id" and id(value) in ours):
            continue
        is_id = name in _ID_FIELDS or (name == "container" and isinstance(inner, str))
        if is_id or (name in _URL_FIELDS and is_held_uri(text_of(inner))):
            yield at
        elif isinstance(inner, dict) and depth:
            yield from _held(inner, f"{at}.", depth - 1, ours)
        elif isinstance(inner, list) and depth:
            for index, item in enumerate(inner):
                if isinstance(item, dict):
                    yield from _held(item, f"{at}[{index}].", depth - 1, ours)
