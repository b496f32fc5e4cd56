"""Our own examples in all three protocols, translated: `golden/requests/*/*.translated.json`.

`PARSHALL_GOLDEN=write` writes them anew, to be reviewed as a diff.
"""

from __future__ import annotations

import functools
import json
import os
from typing import Any, cast

import pytest

from engine.events import Protocol
from tests.golden_requests import GOLDEN, TRANSLATED, case_names, load_case
from tests.requests.comparing import differences, names_something
from tests.requests.reading import read_said
from tests.requests.translating import TYPICAL, Refused, Target, Translated, call_of, translate
from tests.schemas import PROBLEMS

O3 = Target("openai_chat", "o3")
GPT_4O = Target("openai_chat", "gpt-4o")
GPT_AUDIO = Target("openai_chat", "gpt-4o-audio-preview")
SONNET_4 = Target("anthropic", "claude-sonnet-4-0")
HAIKU_35 = Target("anthropic", "claude-3-5-haiku-latest")
OPUS_47 = Target("anthropic", "claude-opus-4-7")
FLASH_20 = Target("gemini", "gemini-2.0-flash")
FLASH_3 = Target("gemini", "gemini-3-flash-preview")

# Models that differ from the typical ones in what a case is about.
BESIDE: dict[str, tuple[Target, ...]] = {
    "audio": (GPT_AUDIO,),
    "json-schema": (SONNET_4, GPT_4O),
    "json-mode": (OPUS_47,),
    "prefill": (OPUS_47,),
    "reasoning-": (GPT_4O, O3, HAIKU_35, OPUS_47, FLASH_20, FLASH_3),
    "sampling": (O3, OPUS_47),
    "signatures": (FLASH_3, OPUS_47),
    "stop-many": (O3,),
    "tools-parallel": (FLASH_3,),
}


def targets(name: str) -> list[Target]:
    protocol, _, case = name.partition("/")
    beside = [t for prefix, found in BESIDE.items() if case.startswith(prefix) for t in found]
    return [target for target in [*TYPICAL.values(), *beside] if target.protocol != protocol]


@functools.cache
def outcome(name: str, target: Target) -> Translated | Refused:
    protocol = cast(Protocol, name.partition("/")[0])
    return translate(call_of(protocol, load_case(name)), target)


CASES = [(name, target) for name in case_names() for target in targets(name)]


@pytest.mark.parametrize(("name", "target"), CASES, ids=[f"{n}-{t.model}" for n, t in CASES])
def test_an_example_is_accepted_or_rightly_refused(name: str, target: Target) -> None:
    protocol, document = name.partition("/")[0], load_case(name)
    result = outcome(name, target)
    if isinstance(result, Refused):
        assert names_something(result, protocol, document), result
        return
    assert PROBLEMS[target.protocol](result.body) == []
    source, said = read_said(protocol, document), read_said(target.protocol, result.body)
    assert differences(source, said) == []


@pytest.mark.parametrize("name", case_names())
def test_examples_are_translated_as_reviewed(name: str) -> None:
    path = GOLDEN / f"{name}{TRANSLATED}"
    found = {target.model: as_json(outcome(name, target)) for target in targets(name)}
    text = json.dumps(found, indent=2, ensure_ascii=False) + "\n"
    if os.environ.get("PARSHALL_GOLDEN") == "write":
        path.write_text(text)
    assert text == path.read_text()


def as_json(result: Translated | Refused) -> dict[str, Any]:
    match result:
        case Translated(body, dropped):
            return {"dropped": list(dropped), "body": body}
        case Refused(code, field, message):
            return {"refused": {"code": code, "field": field, "message": message}}
