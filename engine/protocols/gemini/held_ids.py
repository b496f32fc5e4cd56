"""What lives at the provider: caches, uploaded files, stores of documents.

On a provider's key that many accounts share, such an id would reach another account's data.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from engine.protocols.codec import HeldIdError
from engine.protocols.fields import is_held_uri
from engine.protocols.gemini.spelling import get, get_dict, get_dicts, get_text, key_of

_OF_REQUEST = ("cachedContent", "continuationToken")
_OF_CONFIG = ("outputConfig",)
"""Vertex writes what it generates into a bucket of the operator's."""
_OF_TOOL = ("fileSearch", "retrieval")


def refuse_held_ids(
    document: dict[str, Any], at: str = "", ours: frozenset[int] = frozenset()
) -> None:
    """Look for ids of the provider's where they mean that; not in schemas, arguments or texts, nor
    in the objects `ours`, which name files of the gateway's.

    Raises:
        HeldIdError: there is one.
    """
    for name in _OF_REQUEST:
        if (key := key_of(document, name)) is not None:
            raise HeldIdError(at + key)
    config_key = key_of(document, "generationConfig")
    for name in _OF_CONFIG:
        if (key := key_of(get_dict(document, "generationConfig"), name)) is not None:
            raise HeldIdError(f"{at}{config_key}.{key}")
    for index, tool in enumerate(get_dicts(document, "tools")):
        for name in _OF_TOOL:
            if (key := key_of(tool, name)) is not None:
                raise HeldIdError(f"{at}tools[{index}].{key}")
    contents = [
        (f"contents[{index}]", content) for index, content in enumerate(_contents(document))
    ]
    system = get(document, "systemInstruction")
    if isinstance(system, dict):
        contents.append(("systemInstruction", system))
    for path, content in contents:
        for position, part in enumerate(get_dicts(content, "parts")):
            here = f"{at}{path}.parts[{position}]"
            _refuse_file(part, here, ours)
            results = get_dicts(get_dict(part, "functionResponse"), "parts")
            for index, inner in enumerate(results):
                response = f"{here}.{key_of(part, 'functionResponse')}"
                _refuse_file(inner, f"{response}.parts[{index}]", ours)


def _contents(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    contents = document.get("contents")
    for content in contents if isinstance(contents, list) else [contents]:
        yield content if isinstance(content, dict) else {}


def _refuse_file(part: dict[str, Any], path: str, ours: frozenset[int]) -> None:
    data = get_dict(part, "fileData")
    uri = get_text(data, "fileUri")
    if uri is not None and is_held_uri(uri) and id(data) not in ours:
        raise HeldIdError(f"{path}.{key_of(part, 'fileData')}.fileUri")
