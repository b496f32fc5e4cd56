"""The verbatim relay: bytes pass untouched, and any split of them gives the same result."""

from __future__ import annotations

import random
import re

import orjson
import pytest

from engine.errors import UpstreamError
from engine.events import Call, Usage
from engine.metering.tokens import counter_for
from engine.protocols.codec import ClientRequest, Identity
from engine.protocols.registry import codec_of
from engine.relay import Relay, RelaySettings, open_relay
from tests import recordings

COUNT = counter_for("o200k_base")
CODEC = codec_of("openai_chat")


def a_request(*, usage: bool = True, stream: bool = True, n: int = 1) -> ClientRequest:
    document = {
        "model": "m",
        "messages": [{"role": "user", "content": "x"}],
        "stream": stream,
        "n": n,
    }
    if usage:
        document["stream_options"] = {"include_usage": True}
    return CODEC.parse_request(Call(body=orjson.dumps(document), key=None))


def a_relay(request: ClientRequest, *, done_required: bool = True) -> Relay:
    return open_relay(
        RelaySettings(
            client=CODEC,
            provider=CODEC,
            request=request,
            count=COUNT,
            identity=Identity("req_1", "m", 0),
            end_marker=done_required,
            body_max_bytes=1_000_000,
        )
    )


def event(**document: object) -> bytes:
    return b"data: " + orjson.dumps(document) + b"\n\n"


def word(text: str, **more: object) -> bytes:
    return event(id="c1", model="m", choices=[{"index": 0, "delta": {"content": text}}], **more)


def run(relay: Relay, pieces: list[bytes]) -> bytes:
    out = b"".join(relay.feed(piece) for piece in pieces) + relay.end_of_input()
    assert relay.error is None
    return out + relay.finish()


def split(data: bytes, seed: int) -> list[bytes]:
    chance = random.Random(seed)
    pieces = []
    while data:
        size = chance.choice([1, 2, 5, 30, 200, 4_000])
        pieces.append(data[:size])
        data = data[size:]
    return pieces


def without_usage(body: bytes) -> bytes:
    """The allowed edits, written another way: whole lines, by hand."""
    kept = []
    for block in re.split(rb"(?<=\n\n)", body):
        if block.startswith(b"data: {"):
            document = orjson.loads(block[6:])
            if document.get("usage") and not document["choices"]:
                continue
            if "usage" in document and document["usage"] is None:
                block = re.sub(rb',\s*"usage"\s*:\s*null', b"", block, count=1)
                assert "usage" not in orjson.loads(block[6:])
        kept.append(block)
    return b"".join(kept)


STREAMS = recordings.names("openai-chat", stream=True, status=200)
WHOLE_STREAMS = [name for name in STREAMS if isinstance(name, str)] or STREAMS


@pytest.mark.parametrize("name", WHOLE_STREAMS)
def test_a_recorded_stream_passes_untouched(name: str) -> None:
    recording = recordings.load(name)
    if b"[DONE]" not in recording.body:
        pytest.skip("written by hand, without its end")
    reported = None
    for seed in range(4):
        relay = a_relay(a_request())
        assert run(relay, split(recording.body, seed)) == recording.body, f"seed {seed}"
        relay_without = a_relay(a_request(usage=False))
        assert run(relay_without, split(recording.body, seed)) == without_usage(recording.body)
        assert relay.meter.received_tokens() == relay_without.meter.received_tokens()
        assert reported in (None, relay.meter.reported), "one result for all splits"
        reported = relay.meter.reported
    usages = [
        document["usage"]
        for line in recording.body.splitlines()
        if line.startswith(b"data: {") and (document := orjson.loads(line[6:])).get("usage")
    ]
    assert (reported is not None) == bool(usages)
    if reported is not None:
        assert reported.output_tokens == usages[-1]["completion_tokens"]
        assert reported.input_tokens == usages[-1]["prompt_tokens"]


@pytest.mark.parametrize("name", recordings.names("openai-chat", stream=False, status=200))
def test_a_recorded_answer_passes_untouched(name: str) -> None:
    recording = recordings.load(name)
    relay = a_relay(a_request(stream=False))
    assert run(relay, split(recording.body, 1)) == recording.body
    assert relay.meter.reported is not None


def test_the_terminal_event_is_held_back() -> None:
    relay = a_relay(a_request())
    body = word("a") + b"data: [DONE]\n\n"
    assert relay.feed(body) == word("a")
    assert relay.terminal
    assert relay.finish() == b"data: [DONE]\n\n"


def test_an_incomplete_event_is_held_back() -> None:
    relay = a_relay(a_request())
    assert relay.feed(word("a") + word("b")[:-1]) == word("a")
    assert relay.pending_bytes == len(word("b")) - 1
    assert relay.feed(b"\n") == word("b")


@pytest.mark.parametrize("rest", [b"", b'data: {"choices"'])
def test_an_end_without_done_is_a_fault_where_the_provider_sends_one(rest: bytes) -> None:
    relay = a_relay(a_request())
    relay.feed(word("a") + rest)
    relay.end_of_input()
    assert isinstance(relay.error, UpstreamError)


def test_an_end_without_done_is_an_end_where_it_may_be_missing() -> None:
    relay = a_relay(a_request(), done_required=False)
    assert run(relay, [word("a")]) == word("a")


def test_an_error_event_is_not_relayed() -> None:
    relay = a_relay(a_request())
    assert relay.feed(word("a") + event(error={"message": "overloaded", "type": "t"})) == word("a")
    assert relay.error is not None
    assert relay.error.message == "overloaded"
    assert relay.feed(word("b")) == b""
    failed = orjson.loads(relay.fail(relay.error).removeprefix(b"data: "))
    assert failed["error"]["message"] == "overloaded"


def test_what_is_no_json_is_a_fault() -> None:
    relay = a_relay(a_request())
    relay.feed(b"data: {broken\n\n")
    assert isinstance(relay.error, UpstreamError)


def test_comments_and_unknown_events_pass() -> None:
    relay = a_relay(a_request())
    noise = b": PROCESSING\n\nevent: ping\n\n"
    assert relay.feed(noise + word("a")) == noise + word("a")


def test_the_output_limit_stops_before_the_event_that_exceeds_it() -> None:
    relay = a_relay(a_request())
    relay.output_limit = 3
    words = [word(" word") for _ in range(6)]
    assert relay.feed(b"".join(words)) == b"".join(words[:3])
    assert relay.exhausted
    assert relay.meter.received_tokens() == 3
    relay.output_limit = 5
    assert relay.feed(b"") == b"".join(words[3:5])
    relay.output_limit = None
    assert relay.feed(b"data: [DONE]\n\n") == words[5]
    assert relay.terminal


def test_a_cut_ends_every_open_choice_for_length_with_usage_if_asked() -> None:
    relay = a_relay(a_request(n=2))
    relay.feed(
        word("a") + event(id="c1", choices=[{"index": 1, "delta": {}, "finish_reason": "stop"}])
    )
    ending = relay.cut(Usage(input_tokens=4, output_tokens=1)).split(b"\n\n")
    finish, usage = (orjson.loads(line[6:]) for line in ending[:2])
    assert finish["choices"] == [{"index": 0, "delta": {}, "finish_reason": "length"}]
    assert finish["id"] == usage["id"] == "c1"
    assert usage["usage"]["completion_tokens"] == 1
    assert ending[2:] == [b"data: [DONE]", b""]
    assert b"usage" not in a_relay(a_request(usage=False)).cut(Usage())


def test_a_unary_answer_over_the_bound_is_refused() -> None:
    relay = a_relay(a_request(stream=False))
    relay.feed(b"x" * 1_000_001)
    assert isinstance(relay.error, UpstreamError)
    assert relay.end_of_input() == b""


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error":{"message":"x"}}'])
def test_a_unary_answer_that_is_none_is_a_fault(body: bytes) -> None:
    relay = a_relay(a_request(stream=False))
    relay.feed(body)
    assert relay.end_of_input() == b""
    assert isinstance(relay.error, UpstreamError)
