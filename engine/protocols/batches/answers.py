"""Lines of an output or error file: what came of one request each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from engine.owned import Kept
from engine.protocols.batches.endpoints import Endpoint
from engine.protocols.costs import find_object
from engine.protocols.fields import dict_of, load_exact, load_object
from engine.usage import Usage

ANSWER_MAX_BYTES: Final = 64 * 1024 * 1024
"""Of a line: 2,048 vectors are 40 MB. A longer one is passed on unread."""
_PARSED_MAX_BYTES: Final = 64 * 1024
"""Of what holds numbers alone: more is skimmed."""
_BODY_DEPTH: Final = 3
"""`usage` stands in `body`, which stands in `response`, which stands in the line."""
_MODEL: Final = re.compile(rb'"model"\s*:\s*("[^"\\]*")')
_FILE: Final = re.compile(rb'("file_id"\s*:\s*")(file-[A-Za-z0-9_-]{1,200})"')
_OK: Final = re.compile(rb'"status_code"\s*:\s*2\d\d\b')


@dataclass(frozen=True, slots=True)
class AnswerLine:
    """Attributes:
    data: the line as the client gets it, without its end.
    answered: the request was carried out.
    usage: what the answer says that it consumed; None: nothing.
    kept: what of it its provider keeps.
    """

    data: bytes = field(repr=False)
    answered: bool
    usage: Usage | None
    kept: tuple[Kept, ...] = ()


def read_answer(data: bytes, endpoint: Endpoint, model: str) -> AnswerLine:
    """A line; `model` is what the client calls the model, and what its file calls it.

    Raises:
        ValueError: it is no such line.
    """
    if endpoint.holds is not None and len(data) > _PARSED_MAX_BYTES:
        return _skimmed(data, endpoint, model)
    said = load_exact(data)
    if not isinstance(said, dict):
        raise ValueError("not a JSON object")
    response = dict_of(said.get("response"))
    body = dict_of(response.get("body"))
    if "model" in body:
        body["model"] = model
    answered = _is_ok(response.get("status_code")) and not said.get("error")
    usage = endpoint.read_usage(body) if answered else None
    kept = endpoint.kept(body) if answered and endpoint.kept is not None else ()
    try:
        return AnswerLine(orjson.dumps(said), answered, usage, kept)
    except orjson.JSONEncodeError as error:  # nested deeper than can be written
        raise ValueError("too deep") from error


def _skimmed(data: bytes, endpoint: Endpoint, model: str) -> AnswerLine:
    """Without parsing the numbers. No text of the line but ids can hold a quoted name unescaped."""
    opening = re.search(rb'"%b"\s*:\s*\[' % str(endpoint.holds).encode(), data)
    if opening is None or not data.endswith(b"}"):
        raise ValueError("not such an answer")
    head, tail = (
        (0, opening.start()),
        (max(opening.end(), len(data) - _PARSED_MAX_BYTES), len(data)),
    )
    usage = find_object(data, b"usage", _BODY_DEPTH)
    body: dict[str, Any] = {} if usage is None else {"usage": load_object(usage)}
    answered = any(_OK.search(data, *around) for around in (head, tail))
    for around in (tail, head):
        if (named := _MODEL.search(data, *around)) is not None:
            start, end = named.span(1)
            data = data[:start] + orjson.dumps(model) + data[end:]
            break
    return AnswerLine(data, answered, endpoint.read_usage(body) if answered else None)


def files_named(data: bytes) -> frozenset[str]:
    """What a line calls files, by the provider's ids.

    >>> files_named(b'{"file_id": "file-0123456", "name": "file-1"}')
    frozenset({'file-0123456'})
    """
    if b'"file_id"' not in data:
        return frozenset()
    return frozenset(found[2].decode() for found in _FILE.finditer(data))


def name_files(data: bytes, names: Mapping[str, str]) -> bytes:
    """The line with other names of its files, where there are any."""

    def named(found: re.Match[bytes]) -> bytes:
        name = found[2].decode()
        return found[1] + names.get(name, name).encode() + b'"'

    return _FILE.sub(named, data)


def _is_ok(status: object) -> bool:
    return isinstance(status, int) and 200 <= status < 300
