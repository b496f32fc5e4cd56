"""Requests with a value of the wrong kind anywhere end in a 400 or in a request that is sound.

`--long` tries every value at every place; else three of them are drawn by a seed.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any, cast

import pytest

from engine.errors import InvalidRequestError, NotFoundError
from engine.events import Call, Protocol
from engine.protocols.registry import codec_of
from tests.golden_requests import case_names, load_case
from tests.requests.translating import TYPICAL, Translated, translate
from tests.schemas import PROBLEMS

VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1.5, 10**30, "", "x", [], {}, [None], [{}], ["x"], {"x": 1}, [[]],
)  # fmt: skip
DRAWN = 3
# What is the provider's to judge: schemas of tools, and whether data is what it is said to be.
LEFT_TO_THE_PROVIDER = (".input_schema", "inlineData.data", "responseModalities")

Path = tuple[str | int, ...]


def places(value: object, path: Path = ()) -> Iterator[Path]:
    """Every value in a document, as the keys that lead there."""
    yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from places(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from places(item, (*path, index))


def planted(document: Any, path: Path, value: object) -> object:
    """A copy with another value at a place; what is beside the path is shared."""
    if not path:
        return value
    changed = copy.copy(document)
    changed[path[0]] = planted(document[path[0]], path[1:], value)
    return changed


def hostile(name: str, every: bool) -> Iterator[tuple[Path, object, object]]:
    document = load_case(name)
    chance = random.Random(name)
    for path in places(document):
        for value in VALUES if every else chance.sample(VALUES, DRAWN):
            yield path, value, planted(document, path, value)


def call_of(protocol: str, document: object) -> Call:
    body = json.dumps(document).encode()
    if protocol == "gemini":
        return Call(body, None, "gemini", model="public-name", stream=False)
    return Call(body, None, cast(Protocol, protocol))


@pytest.mark.parametrize("name", case_names())
def test_a_wrong_value_is_refused_or_does_no_harm(
    name: str, request: pytest.FixtureRequest
) -> None:
    protocol = name.partition("/")[0]
    every: bool = request.config.getoption("--long")
    for path, value, document in hostile(name, every):
        call = call_of(protocol, document)
        for target in TYPICAL.values():
            if target.protocol == protocol:
                continue
            try:
                result = translate(call, target)
            except Exception as error:
                raise AssertionError(f"{path} = {value!r} to {target.model}") from error
            if isinstance(result, Translated):
                problems = PROBLEMS[target.protocol](result.body)
                ours = [p for p in problems if not any(mark in p for mark in LEFT_TO_THE_PROVIDER)]
                assert ours == [], (path, value, target)


@pytest.mark.parametrize("name", case_names())
def test_a_wrong_value_is_refused_or_relayed(name: str, request: pytest.FixtureRequest) -> None:
    protocol = name.partition("/")[0]
    codec = codec_of(protocol)
    for path, value, document in hostile(name, request.config.getoption("--long")):
        try:
            parsed = codec.parse_request(call_of(protocol, document))
            assert all(isinstance(text, str) for text in codec.prompt_texts(parsed))
            assert codec.prompt_overhead_tokens(parsed) >= 0
            json.loads(codec.encode_verbatim(parsed, "a-model", 16))
        except (InvalidRequestError, NotFoundError):
            continue
        except Exception as error:
            raise AssertionError(f"{path} = {value!r}") from error
