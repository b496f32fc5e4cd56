"""The codec of runs: bounds that are sent, ids that are named, streams as they were recorded."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engine.conversation import FileStandIn
from engine.errors import InvalidRequestError
from engine.events import Begin, Call, Event, JobAccepted, TextDelta
from engine.job import JobState
from engine.protocols.openai_runs import CODEC
from engine.protocols.openai_runs.codec import COMPLETION_TOKENS, PROMPT_TOKENS
from engine.protocols.openai_runs.naming import names_in
from engine.protocols.openai_runs.reading import report_of
from engine.protocols.openai_runs.streams import RunsDecoder
from tests.recordings import RECORDINGS, load

STREAM = "openai-assistants/ruby-openai--runs-streamed-create.json"
OWN = frozenset({"asst_0a1b2c", "thread_0a1b2c"})


def call(held: frozenset[str] = OWN, at: bool = True, **changes: Any) -> Call:
    """A run of an assistant whose model is known."""
    return Call(
        body=orjson.dumps({"assistant_id": "asst_0a1b2c", **changes}),
        key=None,
        protocol="openai",
        operation="run",
        at={"thread_id": "thread_0a1b2c"} if at else {},
        held=held,
        model="guide" if held else None,
    )


def sent(request: Call, limit: int | None = None) -> dict[str, Any]:
    """What a provider gets."""
    parsed = CODEC.parse_request(request)
    document: dict[str, Any] = orjson.loads(CODEC.encode_verbatim(parsed, "gpt-4o", limit))
    return document


def test_a_run_is_bounded_and_bound_to_the_model_that_is_paid() -> None:
    assert sent(call()) == {
        "assistant_id": "asst_0a1b2c",
        "model": "gpt-4o",
        "max_prompt_tokens": PROMPT_TOKENS,
        "max_completion_tokens": COMPLETION_TOKENS,
    }
    own = call(max_prompt_tokens=4_000, max_completion_tokens=500, model="other")
    assert CODEC.parse_request(own).model == "other"
    told = sent(own, 300)
    assert (told["max_prompt_tokens"], told["max_completion_tokens"]) == (4_000, 300)
    assert sent(own, 900)["max_completion_tokens"] == 500
    demand = CODEC.parse_request(own).demand
    assert demand is not None
    assert (demand.input_tokens, demand.output_tokens) == (4_000, 500)


def test_where_it_goes_is_in_its_path_and_whose_that_is_is_asked() -> None:
    request = CODEC.parse_request(call())
    assert request.path == "/threads/thread_0a1b2c/runs"
    assert [(ref.object_id, ref.kind) for ref in request.refs] == [
        ("thread_0a1b2c", "thread"),
        ("asst_0a1b2c", "assistant"),
    ]
    assert CODEC.parse_request(call(at=False)).path == "/threads/runs"
    assert CODEC.parse_request(call(held=frozenset())).model == ""  # nobody is asked yet


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"assistant_id": None}, "assistant_id"),
        ({"max_prompt_tokens": 5}, "max_prompt_tokens"),
        ({"max_completion_tokens": "many"}, "max_completion_tokens"),
        ({"model": 5}, "model"),
        ({"stream": "yes"}, "stream"),
    ],
)
def test_what_the_gateway_relies_on_is_checked(changes: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        CODEC.parse_request(call(**changes))
    assert caught.value.param == param


def test_an_assistant_whose_model_is_not_known_needs_one() -> None:
    unknown = Call(body=b'{"assistant_id": "asst_0a1b2c"}', key=None, operation="run", held=OWN)
    with pytest.raises(InvalidRequestError) as caught:
        CODEC.parse_request(unknown)
    assert caught.value.param == "model"


NAMING: dict[str, Any] = {
    "assistant_id": "asst_0a1b2c",
    "instructions": "See file-0a1b2c and asst_999999.",
    "metadata": {"file_id": "file-0a1b2c"},
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"x": "vs_0a1b2c"}}}],
    "strange": {"deep": ["run_0a1b2c3d"]},
    "thread": {
        "messages": [
            {
                "role": "user",
                "content": [{"type": "image_file", "image_file": {"file_id": "file-1"}}],
                "attachments": [{"file_id": "file-2", "tools": [{"type": "file_search"}]}],
            }
        ],
        "tool_resources": {
            "code_interpreter": {"file_ids": ["file-3"]},
            "file_search": {"vector_store_ids": ["vs_1"]},
        },
    },
}


def test_whatever_looks_like_an_id_is_one_but_for_words() -> None:
    refs, files = names_in(NAMING)
    assert [(ref.object_id, ref.kind, ref.path) for ref in refs] == [
        ("asst_0a1b2c", "assistant", "assistant_id"),
        ("run_0a1b2c3d", "run", "strange.deep[0]"),
        ("vs_1", "vector_store", "thread.tool_resources.file_search.vector_store_ids[0]"),
    ]
    assert [(place.use.written, place.use.path) for place in files] == [
        ("file-1", "thread.messages[0].content[0].image_file.file_id"),
        ("file-2", "thread.messages[0].attachments[0].file_id"),
        ("file-3", "thread.tool_resources.code_interpreter.file_ids[0]"),
    ]


def test_files_are_named_as_the_provider_has_them() -> None:
    held = {
        f"file-{n}": FileStandIn("text/csv", f"{n}.csv", 1, held=f"file-THEIRS{n}")
        for n in (1, 2, 3)
    }
    request = call(thread=NAMING["thread"])
    found = names_in(sent(Call(**{**_fields(request), "files": held})))[1]
    assert [place.use.written for place in found] == [
        "file-THEIRS1", "file-THEIRS2", "file-THEIRS3",
    ]  # fmt: skip


def _fields(request: Call) -> dict[str, Any]:
    names = ("body", "key", "protocol", "operation", "at", "held", "model")
    return {name: getattr(request, name) for name in names}


def test_a_body_that_is_too_deep_is_refused() -> None:
    deep: Any = "x"
    for _ in range(40):
        deep = [deep]
    with pytest.raises(InvalidRequestError):
        names_in({"a": deep})


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("queued", "submitted"),
        ("requires_action", "running"),
        ("cancelling", "running"),
        ("incomplete", "succeeded"),
        ("expired", "expired"),
        ("cancelled", "cancelled"),
        ("failed", "failed"),
    ],
)
def test_how_a_run_stands(status: str, state: JobState) -> None:
    usage = {
        "prompt_tokens": 30,
        "completion_tokens": 4,
        "prompt_token_details": {"cached_tokens": 10},
    }
    error = {"code": "server_error", "message": "Sorry."}
    report = report_of({"status": status, "usage": usage, "last_error": error})
    assert report is not None
    assert report.state == state
    if state in ("submitted", "running"):
        assert report.usage is None
    else:
        assert report.usage is not None
        assert (report.usage.input_tokens, report.usage.cached_input_tokens) == (30, 10)
    assert (report.error is not None) is (state == "failed")


def test_an_answer_in_one_piece_is_taken() -> None:
    run = {"id": "run_1", "object": "thread.run", "thread_id": "thread_1", "status": "queued"}
    (taken, _) = CODEC.decode_response(orjson.dumps(run))
    assert isinstance(taken, JobAccepted)
    assert (taken.provider_job_id, taken.report.state) == ("thread_1/run_1", "submitted")
    kept = CODEC.kept_in(orjson.dumps(run))
    assert {(each.object_id, each.kind) for each in kept} == {
        ("run_1", "run"),
        ("thread_1", "thread"),
    }
    with pytest.raises(ValueError, match="not a run"):
        CODEC.decode_response(b'{"object": "thread"}')


def decoded(body: bytes, size: int) -> tuple[list[Event], RunsDecoder]:
    """The events of a stream that comes in pieces of a size."""
    decoder, found = RunsDecoder(), list[Event]()
    for at in range(0, len(body), size):
        for frame in decoder.split(body[at : at + size]):
            found += decoder.decode(frame)
    found += decoder.end_of_input()
    return found, decoder


@pytest.mark.skipif(not (RECORDINGS / STREAM).exists(), reason="no recordings")
@pytest.mark.parametrize("size", [1, 2, 3, 7, 100, 4_096, 10**6])
def test_a_recorded_stream_is_read_alike_however_it_is_split(size: int) -> None:
    body = load(STREAM).body
    found, decoder = decoded(body, size)
    begin = found[0]
    assert isinstance(begin, Begin)
    assert begin.id == "thread_Dl8eQUIWtqdWfqieBQqepx4D/run_JfK0BhNia1HnH28fIxropXLn"
    assert all(isinstance(each, TextDelta) for each in found[1:])
    assert (decoder.done, decoder.error) == (True, None)
    assert found == decoded(body, len(body))[0]
    kinds = {each.kind for each in decoder.kept()}
    assert kinds == {"thread", "run", "run_step", "message"}


def test_a_run_that_fails_is_no_fault_of_its_stream() -> None:
    run = {"id": "run_1", "object": "thread.run", "thread_id": "thread_1", "status": "failed"}
    run["last_error"] = {"code": "server_error", "message": "Sorry."}  # type: ignore[assignment]
    body = b"event: thread.run.failed\ndata: " + orjson.dumps(run) + b"\n\n"
    _, decoder = decoded(body + b"event: done\ndata: [DONE]\n\n", 50)
    assert (decoder.done, decoder.error) == (True, None)
    told = b'event: error\ndata: {"error": {"message": "Sorry.", "type": "server_error"}}\n\n'
    _, decoder = decoded(told, 50)
    assert decoder.error is not None
    _, decoder = decoded(body, 50)
    assert decoder.error is not None  # it broke off before its end
