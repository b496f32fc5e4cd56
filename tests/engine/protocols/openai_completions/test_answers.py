"""Answers of legacy completions: verbatim, decoded, and made of other protocols' events."""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai.types import Completion

from engine.errors import UpstreamError, UpstreamRejectedError
from engine.events import (
    Begin,
    Call,
    Event,
    Finish,
    FinishReason,
    LogprobsDelta,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    TokenLogprob,
    Usage,
    UsageReport,
)
from engine.protocols.codec import ClientRequest, Identity, VerbatimDecoder
from engine.protocols.openai_completions import CODEC
from engine.wire.sse import EventSplitter, event_data
from tests import recordings

IDENTITY = Identity("req_1", "m", 1)
ANY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)


def asking(*, usage: bool = True, stream: bool = True, **fields: Any) -> ClientRequest:
    document: dict[str, Any] = {"model": "m", "prompt": "x", "stream": stream, **fields}
    if stream:
        document["stream_options"] = {"include_usage": usage}
    return CODEC.parse_request(Call(orjson.dumps(document), None))


def documents(body: bytes) -> list[dict[str, Any]]:
    found = (event_data(frame) for frame in EventSplitter().feed(body))
    return [orjson.loads(data) for data in found if data and data != b"[DONE]"]


def relayed(decoder: VerbatimDecoder, pieces: list[bytes]) -> tuple[list[Event], bytes]:
    """The events and what the client gets."""
    events: list[Event] = []
    out: list[bytes] = []
    for piece in pieces:
        for frame in decoder.split(piece):
            events.extend(decoder.decode(frame))
            out.append(decoder.client_frame(frame))
    events.extend(decoder.end_of_input())
    return events, b"".join([*out, decoder.end_frame()])


def pieces_of(body: bytes, seed: int) -> list[bytes]:
    """The body cut anywhere."""
    chance = random.Random(seed)
    cuts = sorted(chance.choices(range(len(body) + 1), k=chance.randint(1, 40)))
    return [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]


STREAMS = recordings.names("openai-completions", stream=True, status=200)
WHOLE = recordings.names("openai-completions", stream=False, status=200)


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("seed", range(4))
def test_recorded_streams_pass_byte_for_byte(name: str, seed: int) -> None:
    body = recordings.load(name).body
    whole, _ = relayed(CODEC.open_verbatim(asking(), end_marker=True), [body])
    decoder = CODEC.open_verbatim(asking(), end_marker=True)
    events, sent = relayed(decoder, pieces_of(body, seed))
    assert sent == body
    assert events == whole
    assert decoder.done
    assert decoder.error is None


@pytest.mark.parametrize("name", STREAMS)
def test_recorded_streams_are_read(name: str) -> None:
    body = recordings.load(name).body
    events, sent = relayed(CODEC.open_verbatim(asking(usage=False), end_marker=True), [body])
    chunks = documents(body)
    text = "".join(choice["text"] for chunk in chunks for choice in chunk["choices"])
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == text
    assert isinstance(events[0], Begin)
    assert (events[0].id, events[0].created) == (chunks[0]["id"], chunks[0]["created"])
    [finish] = [event for event in events if isinstance(event, Finish)]
    assert (
        finish.reason.value
        == chunks[-2 if chunks[-1].get("usage") else -1]["choices"][0]["finish_reason"]
    )
    reported = [event.usage for event in events if isinstance(event, UsageReport)]
    assert [usage.output_tokens for usage in reported] == [
        chunk["usage"]["completion_tokens"] for chunk in chunks if chunk.get("usage")
    ]
    assert not any("usage" in chunk for chunk in documents(sent)), "nobody asked for it"
    assert [chunk["choices"] for chunk in documents(sent)] == [
        chunk["choices"] for chunk in chunks if chunk["choices"]
    ]


def merged(body: bytes) -> dict[str, Any]:
    """A stream as the whole answer it comes to."""
    whole: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    for chunk in documents(body):
        whole |= {name: value for name, value in chunk.items() if name != "choices"}
        for piece in chunk["choices"]:
            choice = choices.setdefault(piece["index"], piece | {"text": ""})
            choice["text"] += piece["text"]
            choice["finish_reason"] = piece["finish_reason"] or choice["finish_reason"]
    return whole | {"choices": [choices[index] for index in sorted(choices)]}


@pytest.mark.parametrize("name", STREAMS)
def test_recorded_streams_written_anew(name: str) -> None:
    body = recordings.load(name).body
    told = any(chunk.get("usage") for chunk in documents(body))
    events, _ = relayed(CODEC.open_verbatim(asking(), end_marker=True), [body])
    encoder = CODEC.open_encoder(asking(usage=told), IDENTITY)
    out = b"".join([*map(encoder.encode, events), encoder.finish()])
    assert Completion.model_validate(merged(out)) == Completion.model_validate(merged(body))


@pytest.mark.parametrize("name", WHOLE)
def test_recorded_answers_written_anew(name: str) -> None:
    body = recordings.load(name).body
    if orjson.loads(body).get("object") != "text_completion":
        pytest.skip("another endpoint's")
    events = CODEC.decode_response(body)
    written = CODEC.encode_response(events, asking(stream=False), IDENTITY)
    assert Completion.model_validate_json(written) == Completion.model_validate_json(body)
    assert isinstance(events[-1], UsageReport)


@pytest.mark.parametrize("name", recordings.names("openai-completions", status=400))
def test_recorded_errors(name: str) -> None:
    recording = recordings.load(name)
    error = CODEC.read_error(400, recording.body)
    told, said = orjson.loads(CODEC.encode_error(error)), orjson.loads(recording.body)
    for field in ("message", "type", "param"):
        assert told["error"][field] == said["error"][field]


def test_an_error_in_a_stream() -> None:
    decoder = CODEC.open_verbatim(asking(), end_marker=True)
    frame = b'data: {"error":{"message":"busy","type":"server_error","code":null}}\n\n'
    assert relayed(decoder, [frame]) == ([], b"")
    assert isinstance(decoder.error, UpstreamRejectedError)
    out = CODEC.encode_stream_error(decoder.error)
    assert orjson.loads(out[6:])["error"]["message"] == "busy"


def test_a_stream_that_breaks_off() -> None:
    decoder = CODEC.open_verbatim(asking(), end_marker=True)
    relayed(decoder, [b'data: {"id":"a","choices":[{"text":"x","index":0}]}\n\n'])
    assert isinstance(decoder.error, UpstreamError)
    decoder = CODEC.open_verbatim(asking(), end_marker=False)
    relayed(decoder, [b'data: {"id":"a","choices":[{"text":"x","index":0}]}\n\n'])
    assert (decoder.error, decoder.done) == (None, True)


@pytest.mark.parametrize("usage", [False, True])
def test_a_stream_that_is_cut(usage: bool) -> None:
    request = asking(usage=usage, prompt=["a", "b"], n=2)
    decoder = CODEC.open_verbatim(request, end_marker=True)
    chunk = b'data: {"id":"a","choices":[{"text":"","index":1,"finish_reason":"stop"}]}\n\n'
    relayed(decoder, [chunk])
    encoder = CODEC.open_encoder(request, IDENTITY)
    assert encoder.encode(Finish(FinishReason.STOP, 1)) == b""
    for out, ended in (
        (decoder.cut(Usage(3, output_tokens=4)), {}),
        (encoder.cut(Usage(3, output_tokens=4)), {1: "stop"}),
    ):
        assert out.endswith(b"data: [DONE]\n\n")
        chunks = documents(out)
        reasons = {c["index"]: c["finish_reason"] for chunk in chunks for c in chunk["choices"]}
        assert reasons == {0: "length", 2: "length", 3: "length"} | ended
        assert [chunk["usage"]["total_tokens"] for chunk in chunks if chunk.get("usage")] == (
            [7] if usage else []
        )


def test_logprobs_in_columns() -> None:
    tokens = (
        TokenLogprob("Añ", -0.5, (65, 195, 177), (TokenLogprob("Añ", -0.5), TokenLogprob("B", -2))),
        TokenLogprob("o", -0.25),
    )
    events: list[Event] = [
        TextDelta("Año"),
        LogprobsDelta(tokens),
        LogprobsDelta((TokenLogprob("!", -1.0),)),
    ]
    expected = {
        "tokens": ["Añ", "o", "!"],
        "token_logprobs": [-0.5, -0.25, -1.0],
        "top_logprobs": [{"Añ": -0.5, "B": -2}, {}, {}],
        "text_offset": [0, 2, 3],
    }
    written = CODEC.encode_response(events, asking(stream=False), IDENTITY)
    assert orjson.loads(written)["choices"][0]["logprobs"] == expected
    encoder = CODEC.open_encoder(asking(), IDENTITY)
    out = b"".join(map(encoder.encode, events))
    streamed = [c["logprobs"] for chunk in documents(out) for c in chunk["choices"]][1:]
    assert {name: streamed[0][name] + streamed[1][name] for name in expected} == expected
    read = CODEC.decode_response(written)
    [logprobs] = [event for event in read if isinstance(event, LogprobsDelta)]
    assert [(t.token, t.logprob, len(t.top)) for t in logprobs.tokens] == [
        ("Añ", -0.5, 2),
        ("o", -0.25, 0),
        ("!", -1.0, 0),
    ]


def test_what_other_protocols_say() -> None:
    usage = Usage(5, cached_input_tokens=2, output_tokens=9, reasoning_tokens=4)
    events: list[Event] = [
        Begin("msg_1", "up", 7),
        ReasoningDelta("hm"),
        TextDelta("So"),
        RefusalDelta(" no"),
        Finish(FinishReason.STOP_SEQUENCE),
        UsageReport(usage),
    ]
    encoder = CODEC.open_encoder(asking(), IDENTITY)
    out = b"".join([*map(encoder.encode, events), encoder.finish()])
    whole = orjson.loads(CODEC.encode_response(events, asking(stream=False), IDENTITY))
    assert merged(out) == whole
    assert (whole["id"], whole["model"], whole["created"]) == ("msg_1", "up", 7)
    [choice] = whole["choices"]
    assert (choice["text"], choice["finish_reason"]) == ("So no", "stop")
    assert whole["usage"]["completion_tokens_details"] == {"reasoning_tokens": 4}
    assert whole["usage"]["prompt_tokens_details"] == {"cached_tokens": 2}


def _is_encodable(value: object) -> bool:
    try:
        orjson.dumps(value)
    except TypeError:  # integers over 64 bits
        return False
    return True


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["id", "choices", "text", "index", "logprobs", "tokens", "token_logprobs", "usage",
             "top_logprobs", "finish_reason", "error", "object", "created", "prompt_tokens",
             "completion_tokens", "model", "prompt", "n", "best_of", "stop", "max_tokens"]
        ),
        inner,
        max_size=5,
    ),
    max_leaves=12,
)  # fmt: skip
ENCODABLE = JSONS.filter(_is_encodable)
FRAMES = st.lists(
    st.binary(max_size=60).map(lambda data: b"data: " + data + b"\n\n")
    | ENCODABLE.map(lambda value: b"data: " + orjson.dumps(value) + b"\n\n")
    | st.sampled_from([b": ping\n\n", b"event: error\ndata: {}\r\n\r\n", b"data: [DONE]\n\n"]),
    max_size=8,
)


@ANY
@given(
    data=st.binary(max_size=200) | FRAMES.map(b"".join),
    include_usage=st.booleans(),
    end_marker=st.booleans(),
)
def test_any_stream_passes_or_is_refused(
    data: bytes, include_usage: bool, end_marker: bool
) -> None:
    decoder = CODEC.open_verbatim(asking(usage=include_usage), end_marker=end_marker)
    events: list[Event] = []
    try:
        for frame in decoder.split(data):
            events += decoder.decode(frame)
            sent = decoder.client_frame(frame)
            assert not include_usage or sent == (b"" if decoder.error else frame)
        events += decoder.end_of_input()
    except ValueError:
        pass
    assert decoder.end_frame().strip() in data
    assert decoder.cut(Usage()).endswith(b"data: [DONE]\n\n")
    encoder = CODEC.open_encoder(asking(usage=include_usage), IDENTITY)
    out = b"".join([*map(encoder.encode, events), encoder.cut(Usage())])
    assert all(chunk["object"] == "text_completion" for chunk in documents(out))


@ANY
@given(body=st.binary(max_size=200) | ENCODABLE.map(orjson.dumps))
def test_any_answer_is_decoded_or_refused(body: bytes) -> None:
    try:
        events = CODEC.decode_response(body)
    except (ValueError, UpstreamRejectedError):
        return
    written = orjson.loads(CODEC.encode_response(events, asking(stream=False), IDENTITY))
    assert written["object"] == "text_completion"
