"""What of an answer its provider keeps, to be named by later requests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

from engine.owned import Kept
from engine.protocols.fields import dict_of, dicts, text_of, write_json

_ITEMS_MAX: Final = 4_096
_FILE: Final = "container_file_citation"


def kept_of(response: Mapping[str, Any]) -> tuple[Kept, ...]:
    """The response, its conversation, what it consists of, and what its code has made; the response
    is the first. Nothing where it says that it is not kept."""
    response_id = text_of(response.get("id"))
    if not response_id or response.get("store") is False:
        return ()
    conversation_id = text_of(dict_of(response.get("conversation")).get("id"))
    kept = [Kept(response_id, "response", conversation_id or None)]
    if conversation_id:
        kept.append(Kept(conversation_id, "conversation"))
    for item in islice(dicts(response.get("output")), _ITEMS_MAX):
        kept += _of_item(item, conversation_id or response_id)
    return tuple(dict.fromkeys(kept))


def _of_item(item: dict[str, Any], parent_id: str) -> Iterator[Kept]:
    if item_id := text_of(item.get("id")):
        yield Kept(item_id, "item", parent_id, len(write_json(item)))
    if container_id := text_of(item.get("container_id")):
        yield Kept(container_id, "container")
    for part in dicts(item.get("content")):
        for cited in dicts(part.get("annotations")):
            container_id, file_id = (
                text_of(cited.get("container_id")),
                text_of(cited.get("file_id")),
            )
            if cited.get("type") == _FILE and container_id and file_id:
                yield Kept(container_id, "container")
                yield Kept(file_id, "container_file", container_id)
