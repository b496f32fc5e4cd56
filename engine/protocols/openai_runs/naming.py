"""What the body of a run names by id: things of the account's at the provider, and its files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from engine.conversation import FileUse
from engine.errors import InvalidRequestError
from engine.owned import HeldRef, OwnedKind, is_id, kind_of

_WORDS: Final = frozenset(
    {
        "additional_instructions", "content", "description", "image_url", "instructions", "model",
        "name", "role", "text", "type", "url",
    }
)  # fmt: skip
"""Members whose texts are anybody's words; what stands deeper in them is looked at."""
_CLOSED: Final = frozenset({"json_schema", "metadata", "parameters"})
"""Members that are a client's own all through."""
_NAMES: Final[Mapping[str, OwnedKind]] = {
    "assistant_id": "assistant",
    "thread_id": "thread",
    "vector_store_ids": "vector_store",
}
_FILES: Final = frozenset({"file_id", "file_ids"})
_is_file: Final = re.compile(r"file[-_](?=.{16}|[^0-9]*[0-9])[A-Za-z0-9_-]{6,}").fullmatch
"""Whether a text has the shape of a file's id; `file_search` is the name of a tool."""
_DEPTH_MAX: Final = 32


class FilePlace(NamedTuple):
    """Where a file of the gateway's is named."""

    holder: Any
    at: str | int
    use: FileUse


def names_in(document: dict[str, Any]) -> tuple[list[HeldRef], list[FilePlace]]:
    """The ids, and the files, of a body: denied by default, whatever looks like an id is one.

    Raises:
        InvalidRequestError: it is nested too deep.
    """
    refs, files = [], []
    for holder, at, name, text, path in _texts(document, "", "", _DEPTH_MAX):
        if name in _FILES or _is_file(text):
            files.append(FilePlace(holder, at, FileUse(text, path, by_id=True)))
        elif name in _NAMES or is_id(text):
            refs.append(HeldRef(text, _NAMES.get(name) or kind_of(text), path))
    return refs, files


def _texts(
    value: Any, name: str, path: str, depth: int
) -> Iterator[tuple[Any, str | int, str, str, str]]:
    if not depth:
        raise InvalidRequestError("The body is nested too deep.", param=path)
    places: Iterator[tuple[str | int, Any]] = iter(())
    if isinstance(value, dict):
        places = iter(value.items())
    elif isinstance(value, list):
        places = iter(enumerate(value))
    for at, inner in places:
        called = at if isinstance(at, str) else name
        if called in _CLOSED:
            continue
        here = f"{path}[{at}]" if isinstance(at, int) else f"{path}.{at}".removeprefix(".")
        if isinstance(inner, str):
            if called not in _WORDS and inner:
                yield value, at, called, inner, here
        elif isinstance(inner, dict | list):
            yield from _texts(inner, called, here, depth - 1)
