"""What calls of a provider's own tools come to, beside the tokens in them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from engine.events import Call, Event, UsageReport
from engine.protocols.openai_responses.codec import CODEC
from engine.protocols.openai_responses.reading import AnswerReader
from engine.protocols.openai_responses.tools import called_units, sessions_of
from engine.usage import MoreUnit
from tests import recordings
from tests.answers.recorded import names

AUTO = {"type": "code_interpreter", "container": {"type": "auto"}}
LARGE = {"type": "code_interpreter", "container": {"type": "auto", "memory_limit": "16g"}}
THERE = {"type": "code_interpreter", "container": "cntr_there"}
SEARCH = {"type": "file_search_call", "status": "completed"}


def coded(container: str) -> dict[str, Any]:
    return {"type": "code_interpreter_call", "container_id": container, "status": "completed"}


@pytest.mark.parametrize(
    ("items", "tools", "units"),
    [
        ([], [AUTO], {}),
        ([SEARCH, SEARCH], [], {"file_searches": 2}),
        ([{**SEARCH, "status": "failed"}], [], {}),
        ([coded("cntr_1"), coded("cntr_1")], [AUTO], {"code_sessions": 1}),
        ([coded("cntr_1"), coded("cntr_2")], [AUTO], {"code_sessions": 2}),
        ([coded("cntr_1"), SEARCH], [LARGE], {"code_sessions": 16, "file_searches": 1}),
        ([coded("cntr_1")], None, {"code_sessions": 1}),
        ([coded("cntr_there"), coded("cntr_there")], [THERE], {}),
        ([coded("cntr_there"), coded("cntr_1")], [THERE, LARGE], {"code_sessions": 16}),
        ([coded("cntr_1")], [AUTO, LARGE], {"code_sessions": 1}),
    ],
)
def test_calls_are_charged_apiece_and_code_by_the_container(
    items: list[dict[str, Any]], tools: object, units: dict[str, int]
) -> None:
    assert called_units(items, {"tools": tools}) == units


@pytest.mark.parametrize(
    "named", [{"previous_response_id": "resp_1"}, {"conversation": {"id": "conv_1"}}, {}]
)
def test_code_may_go_on_in_a_container_that_was_paid_for(named: dict[str, Any]) -> None:
    said = {"tools": [AUTO], "previous_response_id": None, "conversation": None, **named}
    goes_on = bool(said["previous_response_id"] or said["conversation"])
    once, twice = [coded("cntr_1")], [coded("cntr_1"), coded("cntr_2")]
    assert called_units(once, said) == ({} if goes_on else {"code_sessions": 1})
    assert called_units(twice, said)["code_sessions"] == 2 - goes_on


REPEATS = {"model": "m", "tools": [AUTO], "input": [coded("cntr_1"), {"role": "user"}]}
REFERS = {**REPEATS, "input": [{"type": "item_reference", "id": "ci_0123456789"}]}


@pytest.mark.parametrize(
    ("asked", "items", "sessions"),
    [
        (REPEATS, [coded("cntr_1")], 0),
        (REPEATS, [coded("cntr_1"), coded("cntr_2")], 1),
        (REFERS, [coded("cntr_3")], 0),
        ({**REPEATS, "input": "Go on."}, [coded("cntr_1")], 1),
    ],
)
def test_a_container_in_what_a_request_repeats_was_paid_for(
    asked: dict[str, Any], items: list[dict[str, Any]], sessions: int
) -> None:
    """Whichever way it is answered."""
    call = Call(orjson.dumps(asked), None, "openai_responses", "chat")
    request = CODEC.parse_request(call)
    usage = {"input_tokens": 1, "output_tokens": 2}
    said = {"id": "resp_1", "status": "completed", "tools": [AUTO], "output": items, "usage": usage}
    assert sessions_in(CODEC.decode_answer(orjson.dumps(said), request)) == sessions
    decoder = CODEC.open_verbatim(request, end_marker=False)
    told: list[Event] = []
    for number, item in enumerate(items):
        done = {"type": "response.output_item.done", "output_index": number, "item": item}
        told += decoder.decode(b"data: " + orjson.dumps(done))
    told += decoder.decode(
        b"data: " + orjson.dumps({"type": "response.completed", "response": said})
    )
    assert sessions_in(told) == sessions


def sessions_in(events: Sequence[Event]) -> int:
    """That were reported last."""
    usages = [event.usage for event in events if isinstance(event, UsageReport)]
    return usages[-1].more.get("code_sessions", 0)


@pytest.mark.parametrize(
    ("tools", "sessions"), [(None, 0), ([AUTO], 1), ([LARGE, AUTO], 17), ([THERE], 0)]
)
def test_what_a_request_can_come_to(tools: object, sessions: int) -> None:
    assert sessions_of(tools) == sessions


def streamed(name: str) -> list[dict[str, Any]]:
    lines = recordings.load(name).body.splitlines()
    return [orjson.loads(line[6:]) for line in lines if line.startswith(b"data: {")]


def counted_apart(name: str) -> dict[str, int]:
    """By the words of the recorded answer alone, whichever way it came."""
    recording = recordings.load(name)
    if recording.stream:
        final = [each for each in streamed(name) if each["type"] == "response.completed"]
        output = final[-1]["response"]["output"]
    else:
        output = orjson.loads(recording.body)["output"]
    searches = sum(item["type"] == "file_search_call" for item in output)
    containers = {
        item.get("container_id") for item in output if item["type"] == "code_interpreter_call"
    }
    counts = {"file_searches": searches, "code_sessions": len(containers)}
    return {unit: count for unit, count in counts.items() if count}


def charged_recordings() -> list[str]:
    """Recorded answers with searches of files, or code."""
    kinds = re.compile(rb'"type":\s*"(file_search_call|code_interpreter_call)"')
    return [name for name in names("openai_responses") if kinds.search(recordings.load(name).body)]


@pytest.mark.parametrize("name", charged_recordings())
def test_recorded_answers_are_charged_for_their_tools(name: str) -> None:
    recording = recordings.load(name)
    reader = AnswerReader(natives=False)
    if recording.stream:
        events = [event for document in streamed(name) for event in reader.read(document)]
    else:
        events = reader.read_response(orjson.loads(recording.body))
    usages = [event.usage for event in events if isinstance(event, UsageReport)]
    found = usages[-1].more
    known: tuple[MoreUnit, ...] = ("file_searches", "code_sessions")
    assert {unit: found[unit] for unit in known if unit in found} == counted_apart(name) != {}
