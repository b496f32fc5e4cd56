"""Ids in documents: where a body names things, and what an answer tells of. Pure.

Denied by default: in a request whatever looks like an id counts as one, wherever it stands, unless
what stands there is a client's or a model's own words. In an answer only what stands where a
provider names things makes something an account's, and what stands there counts in a request, too:
nothing that a client or a model has said elsewhere is taken for the provider's word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from engine.file_ids import is_file
from engine.owned import OwnedKind, is_id, kind_of
from engine.passing.table import IdKind

_WORDS: Final = frozenset(
    {
        "additional_instructions", "arguments", "call_id", "code", "content", "data", "delta",
        "description", "encrypted_content", "error", "file_data", "filename", "image_url", "input",
        "instructions", "logs", "message", "name", "obfuscation", "output", "prompt_cache_key",
        "query", "quote", "refusal", "result", "safety_identifier", "suffix", "summary", "text",
        "title", "tool_call_id", "url", "user", "value",
    }
)  # fmt: skip
"""Members whose texts are anybody's words. What stands deeper in them is looked at."""
_CLOSED: Final = frozenset(
    {"attributes", "enum", "json_schema", "metadata", "parameters", "schema"}
)
"""Members that are a client's own all through: nobody reads an id in them."""

_NAMES: Final[Mapping[str, IdKind]] = {
    "assistant_id": "assistant",
    "batch_id": "batch",
    "container": "container",
    "container_id": "container",
    "conversation": "conversation",
    "conversation_id": "conversation",
    "file_id": "file",
    "file_ids": "file",
    "input_file_id": "file",
    "message_id": "message",
    "previous_response_id": "response",
    "response_id": "response",
    "run_id": "run",
    "thread_id": "thread",
    "training_file": "file",
    "validation_file": "file",
    "vector_store_id": "vector_store",
    "vector_store_ids": "vector_store",
}
"""Members that name something, whatever it looks like."""
_MADE: Final = frozenset({"fine_tuned_model", "fine_tuned_model_checkpoint"})
_REFERENCE: Final = "item_reference"

_OBJECTS: Final[Mapping[str, OwnedKind]] = {
    "assistant": "assistant",
    "batch": "batch",
    "container": "container",
    "container.file": "container_file",
    "conversation": "conversation",
    "fine_tuning.job": "fine_tuning_job",
    "fine_tuning.job.checkpoint": "fine_tuning_checkpoint",
    "fine_tuning.job.event": "fine_tuning_event",
    "response": "response",
    "thread": "thread",
    "thread.message": "message",
    "thread.run": "run",
    "thread.run.step": "run_step",
    "vector_store": "vector_store",
    "vector_store.file_batch": "vector_store_file_batch",
    "vector_store.files_batch": "vector_store_file_batch",
}
"""What an object calls itself, and its id is of."""
_BY_FILE: Final = "vector_store.file"
"""Of these the id is the file's."""

_WORD: Final = re.compile(r"[A-Za-z0-9_.:-]+")

DEPTH_MAX: Final = 200


class Named(NamedTuple):
    """A place in a document that names something.

    Attributes:
        holder: the object or list that it stands in, at `at`.
        kind: what it has to name; None: what its beginning says, or any.
        path: as errors call it.
    """

    holder: Any
    at: str | int
    text: str
    kind: IdKind | None
    path: str


class Seen(NamedTuple):
    """An id in an answer; kind None: a message's or an item's, which look alike."""

    object_id: str
    kind: IdKind | None


class _Step(NamedTuple):
    up: _Step | None
    at: str | int

    @property
    def depth(self) -> int:
        count, step = 0, self.up
        while step is not None:
            count, step = count + 1, step.up
        return count


class _Text(NamedTuple):
    """A text of a document that is nobody's words, and where."""

    holder: Any
    at: str | int
    name: str
    text: str
    step: _Step | None


def name_ids(document: object) -> list[Named]:
    """The places of a request's body that name something."""
    found = []
    for text in _texts(document):
        kind = _NAMES.get(text.name)
        if text.at == "id" and kind is None:
            kind = _of_reference(text.holder)
        shaped = _shape_of(text.text)
        if kind is None and shaped is None:
            continue
        if shaped == "item":
            shaped = None  # or a message: its row says what it is
        if kind == "container" and text.text == "auto":
            continue
        if kind == "file" and kind_of(text.text) == "container_file":
            kind = "container_file"
        found.append(
            Named(text.holder, text.at, text.text, kind or shaped, _path(text.step, text.at))
        )
    return found


def see_ids(document: object) -> list[Seen]:
    """The ids that an answer tells of, each once; of files also those that it only mentions."""
    found: dict[str, Seen] = {}
    for text in _texts(document):
        known = found.get(text.text)
        if known is not None and known.kind is not None:
            continue
        shaped = _shape_of(text.text)
        if shaped is None or not (shaped == "file" or _names_something(text)):
            continue
        kind: IdKind | None = shaped if shaped != "item" else None
        if text.at == "id" and isinstance(text.holder, dict):
            said = text.holder.get("object")
            if said == _BY_FILE:
                kind = "file"
            elif isinstance(said, str):
                kind = _OBJECTS.get(said, kind)
        found[text.text] = Seen(text.text, kind)
    return list(found.values())


def _names_something(text: _Text) -> bool:
    """Whether it stands where providers name things."""
    name = text.name
    return text.at == "id" or name in _NAMES or name.endswith(("_id", "_ids")) or name in _MADE


def query_kind(name: str, value: str, kinds: Mapping[str, IdKind]) -> IdKind | None:
    """What a parameter of a URL names; None: nothing. Whatever has an id in it counts as one: what
    a provider makes of the rest is unknown."""
    said = unquote(value)
    return kinds.get(name) or next(filter(None, map(_shape_of, _WORD.findall(said))), None)


def looks_like_id(text: str) -> bool:
    """Whether a text counts as an id where it is nobody's words."""
    return _shape_of(text) is not None


def _shape_of(text: str) -> IdKind | None:
    """What a text names by its looks; "item" is also what may be a message."""
    if is_file(text):
        return "file"
    if not is_id(text):
        return None
    return kind_of(text) or "item"


def _of_reference(holder: object) -> IdKind | None:
    if isinstance(holder, dict) and holder.get("type") == _REFERENCE:
        return "item"
    return None


def _texts(document: object) -> Iterator[_Text]:
    """In the order in which they stand. Raises RecursionError: it is too deep."""
    stack: list[tuple[Any, str, _Step | None]] = [(document, "", None)]
    while stack:
        node, name, step = stack.pop()
        inner: list[tuple[Any, str, _Step | None]] = []
        if isinstance(node, dict):
            for at, value in node.items():
                # An object in the place of an id has it as its own (`conversation: {"id": …}`).
                called = name if at == "id" and name in _NAMES else at
                if isinstance(value, str):
                    if called not in _WORDS and at not in _CLOSED:
                        yield _Text(node, at, called, value, step)
                elif isinstance(value, dict | list) and at not in _CLOSED:
                    inner.append((value, at, _Step(step, at)))
        elif isinstance(node, list):
            for index, value in enumerate(node):
                if isinstance(value, str):
                    if name not in _WORDS:
                        yield _Text(node, index, name, value, step)
                elif isinstance(value, dict | list):
                    inner.append((value, name, _Step(step, index)))
        stack += reversed(inner)
        if inner and inner[0][2] is not None and inner[0][2].depth > DEPTH_MAX:
            raise RecursionError("the document is too deep")


def _path(step: _Step | None, at: str | int) -> str:
    """As errors of OpenAI's call a place: `messages[0].attachments[1].file_id`."""
    places: list[str | int] = [at]
    while step is not None:
        places.append(step.at)
        step = step.up
    said = ""
    for place in reversed(places):
        said += f"[{place}]" if isinstance(place, int) else f".{place}"
    return said.removeprefix(".")
