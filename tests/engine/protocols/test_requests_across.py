"""Every recorded request, translated to the other two protocols: accepted or rightly refused.

What is dropped and refused stands in `golden/requests/recordings`; `PARSHALL_GOLDEN=write` writes
it anew.
"""

from __future__ import annotations

import functools
import os
from typing import Any, cast

import pytest

from engine.events import Protocol
from tests import recordings
from tests.answers.recorded import protocol_of
from tests.golden_requests import GOLDEN, PROTOCOLS
from tests.recordings import RECORDINGS
from tests.requests.comparing import differences, names_something
from tests.requests.reading import read_said
from tests.requests.recorded import requests_of
from tests.requests.translating import TYPICAL, Refused, Translated, call_of, translate
from tests.schemas import PROBLEMS

PAIRS = [(a, b) for a in PROTOCOLS for b in PROTOCOLS if a != b]


@functools.cache
def outcome(name: str, target: str) -> Translated | Refused:
    request = recordings.load(name).request
    assert request is not None
    source = cast(Protocol, protocol_of(name))
    return translate(call_of(source, request, stream="stream" in name), TYPICAL[target])


def cases() -> list[Any]:
    found = [(name, b) for a, b in PAIRS for name in requests_of(a)]
    if found:
        return found
    return [pytest.param("", "", marks=pytest.mark.skip(reason=f"no recordings at {RECORDINGS}"))]


@pytest.mark.parametrize(("name", "target"), cases())
def test_a_recorded_request_is_accepted_or_rightly_refused(name: str, target: str) -> None:
    request = recordings.load(name).request
    assert request is not None
    result = outcome(name, target)
    if isinstance(result, Refused):
        assert names_something(result, protocol_of(name), request), result
        return
    assert PROBLEMS[target](result.body) == []
    source, said = read_said(protocol_of(name), request), read_said(target, result.body)
    assert differences(source, said) == []


def row(name: str, target: str) -> str:
    match outcome(name, target):
        case Translated(_, dropped):
            return f"{name}\tdropped: {', '.join(sorted(dropped)) or '-'}"
        case Refused(code, field, _):
            return f"{name}\trefused: {code} {field or ''}".rstrip()


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason=f"no recordings at {RECORDINGS}")
@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_what_is_lost_of_recorded_requests_is_as_reviewed(source: str, target: str) -> None:
    path = GOLDEN / "recordings" / f"{source}-to-{target}.tsv"
    table = "".join(f"{row(name, target)}\n" for name in requests_of(source))
    if os.environ.get("PARSHALL_GOLDEN") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(table)
    assert table == path.read_text()
