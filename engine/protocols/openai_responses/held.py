"""Things at the provider that a request names by id: on a shared key an id that somebody makes up
would reach another tenant's data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from engine.errors import InvalidRequestError
from engine.owned import HeldRef, OwnedKind
from engine.protocols.codec import HeldIdError
from engine.protocols.fields import dict_of, is_held_uri, text_of
from engine.protocols.openai_responses.marks import is_ours

_TOP_LEVEL: Final = ("prompt", "container", "preset")
# OpenRouter's lists of models to try instead.
_OTHER_MODELS: Final = ("models", "fallbacks")
# Whatever stands in these is the client's own: schemas, arguments, what a call came to as text.
_OPAQUE: Final = frozenset(
    {"parameters", "schema", "arguments", "input_schema", "output_schema", "annotations", "summary"}
)
# Of items and tools, at any depth: what accounts can have.
_OWNED: Final[dict[str, OwnedKind]] = {
    "vector_store_ids": "vector_store",
    "container_id": "container",
    "container": "container",
    "previous_response_id": "response",
    "comparison_response_id": "response",
}
_FILES: Final = frozenset({"file_id", "file_ids"})
# And what they cannot.
_NOBODYS: Final = _FILES | {"connector_id", "skill_id"}
_URL_FIELDS: Final = frozenset({"file_url", "image_url", "url", "file_data"})
# What a provider's search has found: the names of its sources, in what the model was told.
_FINDINGS: Final = frozenset({"file_search_call"})
_DEPTH_MAX: Final = 12


def refs_of(document: dict[str, Any], ours: frozenset[int] = frozenset()) -> tuple[HeldRef, ...]:
    """The stored responses, items, containers and the like that a request names. The objects `ours`
    name files of the gateway's.

    Raises:
        HeldIdError: it names what no account can have, a prompt of the operator's or the like.
        InvalidRequestError: it names other models than its own, or something that is no id.
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
    refs = list(_of_request(document))
    items = document.get("input")
    for index, item in enumerate(items if isinstance(items, list) else ()):
        if isinstance(item, dict):
            refs += _in_item(item, f"input[{index}].", ours)
    tools = document.get("tools")
    for index, tool in enumerate(tools if isinstance(tools, list) else ()):
        if isinstance(tool, dict):
            refs += _within(tool, f"tools[{index}].", _DEPTH_MAX, ours)
    return tuple(refs)


def thoughts_of(document: dict[str, Any]) -> tuple[HeldRef, ...]:
    """The thoughts of earlier answers that a request does not hold, but names: their provider reads
    them where it keeps them."""
    items = document.get("input")
    return tuple(
        HeldRef(item_id, "item", f"input[{index}].id")
        for index, item in enumerate(items if isinstance(items, list) else ())
        if isinstance(item, dict)
        and item.get("type") == "reasoning"
        and not (item.get("encrypted_content") or item.get("content"))
        and (item_id := text_of(item.get("id")))
        and not is_ours(item_id)
    )


def _of_request(document: dict[str, Any]) -> Iterator[HeldRef]:
    if before := document.get("previous_response_id"):
        yield from _named(before, "response", "previous_response_id")
    conversation = document.get("conversation")
    if isinstance(conversation, dict):
        yield from _named(conversation.get("id"), "conversation", "conversation.id")
    elif conversation:
        yield from _named(conversation, "conversation", "conversation")
    options = dict_of(document.get("prompt_cache_options"))
    if compared := options.get("comparison_response_id"):
        path = "prompt_cache_options.comparison_response_id"
        yield from _named(compared, "response", path)


def _named(value: object, kind: OwnedKind, path: str) -> Iterator[HeldRef]:
    """The ids that a value is."""
    for index, each in enumerate(value if isinstance(value, list) else (value,)):
        at = f"{path}[{index}]" if isinstance(value, list) else path
        if not isinstance(each, str) or not each:
            raise InvalidRequestError(f"'{at}' must be an id.", param=at)
        yield HeldRef(each, kind, at)


def _in_item(item: dict[str, Any], path: str, ours: frozenset[int]) -> Iterator[HeldRef]:
    kind = text_of(item.get("type"))
    if kind == "item_reference" or (not kind and "role" not in item and "id" in item):
        yield from _named(item.get("id"), "item", f"{path}id")
    elif kind == "image_generation_call" and not item.get("result"):
        yield from _named(item.get("id"), "item", f"{path}id")  # who has it has the image
    elif kind not in _FINDINGS:
        yield from _within(item, path, _DEPTH_MAX, ours)


def _within(
    value: dict[str, Any], path: str, depth: int, ours: frozenset[int]
) -> Iterator[HeldRef]:
    """The ids in an object; `container` is one if it is a string."""
    for name, inner in value.items():
        at = f"{path}{name}"
        if name in _OPAQUE or not inner or (name in _FILES and id(value) in ours):
            continue
        kind = _OWNED.get(name)
        if kind is not None and not (name == "container" and isinstance(inner, dict)):
            yield from _named(inner, kind, at)
        elif name in _NOBODYS or (name in _URL_FIELDS and is_held_uri(text_of(inner))):
            raise HeldIdError(at)
        elif isinstance(inner, dict) and depth:
            yield from _within(inner, f"{at}.", depth - 1, ours)
        elif isinstance(inner, list) and depth:
            for index, item in enumerate(inner):
                if isinstance(item, dict):
                    yield from _within(item, f"{at}[{index}].", depth - 1, ours)
