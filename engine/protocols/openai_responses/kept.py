"""What of an answer its provider keeps, to be named by later requests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

import orjson

from engine.owned import Kept
from engine.protocols.fields import dict_of, dicts, text_of
from engine.protocols.openai_responses.usage import read_usage
from engine.usage import Usage

_ITEMS_MAX: Final = 4_096
_FILE: Final = "container_file_citation"
_BYTES_A_TOKEN: Final = 4
_ONCE_BYTES_A_TOKEN: Final = 2
"""What surely is no more than a token: of two kinds of doubt the client has the benefit."""
_SAID_ONCE: Final = ("instructions", "tools")
"""What a response that goes on from this one does not take over."""


def kept_of(response: Mapping[str, Any]) -> tuple[Kept, ...]:
    """The response, its conversation, what it consists of, and what its code has made; the response
    is the first. Nothing where it says that it is not kept."""
    response_id = text_of(response.get("id"))
    if not response_id or response.get("store") is False:
        return ()
    conversation_id = text_of(dict_of(response.get("conversation")).get("id"))
    usage = read_usage(dict(response))
    context_tokens = None if usage is None else carried_tokens(usage, response)
    kept = [Kept(response_id, "response", conversation_id or None, context_tokens)]
    if conversation_id:
        kept.append(Kept(conversation_id, "conversation", None, context_tokens))
    for item in islice(dicts(response.get("output")), _ITEMS_MAX):
        kept += _of_item(item, conversation_id or response_id)
    return tuple(dict.fromkeys(kept))


def carried_tokens(usage: Usage, said: Mapping[str, Any]) -> int:
    """What a prompt that goes on from an answer has before it: what was read and written for that
    one, but for thoughts, and for what every request says anew; it was asked for with what is
    `said`, as the answer repeats it."""
    once_bytes = sum(_size_bytes(once) for name in _SAID_ONCE if (once := said.get(name)))
    carried = usage.input_tokens + usage.output_tokens - usage.reasoning_tokens
    return max(0, carried - once_bytes // _ONCE_BYTES_A_TOKEN)


def _of_item(item: dict[str, Any], parent_id: str) -> Iterator[Kept]:
    if item_id := text_of(item.get("id")):
        yield Kept(item_id, "item", parent_id, _size_bytes(item) // _BYTES_A_TOKEN)
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


def _size_bytes(value: object) -> int:
    """As JSON; 0 of what is nested too deeply to be written again."""
    try:
        return len(orjson.dumps(value))
    except orjson.JSONEncodeError:
        return 0
