"""Bedrock's envelope and its streams: Anthropic's own JSON, any split the same, nothing forged."""

from __future__ import annotations

import itertools
import random
from base64 import b64encode
from typing import Any

import orjson
import pytest

from bench.simulate.event_stream import encode_chunk, encode_exception, encode_message
from engine.capability_table import capabilities_of
from engine.errors import UpstreamError
from engine.events import Call, TextDelta
from engine.metering.tokens import counter_for
from engine.protocols.codec import Identity, UpstreamTarget
from engine.protocols.quirks import Quirks
from engine.protocols.registry import codec_of
from engine.relay import Relay, RelaySettings, open_relay

CODEC = codec_of("anthropic")
BEDROCK = Quirks(hosting="bedrock", refuses=frozenset({"service_tier"}))
MODEL = "us.anthropic.claude-sonnet-4-20250514-v1:0"
METRICS = b'"amazon-bedrock-invocationMetrics":{"inputTokenCount":9,"outputTokenCount":2}'
EVENTS = [
    b'{"type":"message_start","message":{"id":"msg_1","content":[],"usage":{"input_tokens":9}}}',
    b'{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}',
    b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Gr\xc3\xbc\xc3\x9f"}}',
    b'{"type":"content_block_delta","index":0,  "delta":{"type":"text_delta","text":"\\u00e4\\n"}}',
    b'{"type":"content_block_stop","index":0}',
    b'{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}',
    b'{"type":"message_stop"}',
]
STREAM = b"".join(map(encode_chunk, EVENTS[:-1])) + encode_chunk(
    b'{"type":"message_stop",' + METRICS + b"}"
)


def a_call(**changes: Any) -> Call:
    document = {
        "model": "m",
        "max_tokens": 64,
        "messages": [{"role": "user", "content": "x"}],
        "stream": True,
    }
    headers = ((b"anthropic-beta", b"one-2025,two-2025"), (b"anthropic-beta", b" three "))
    return Call(
        body=orjson.dumps(document | changes), key=None, protocol="anthropic", headers=headers
    )


def a_relay(client: str = "anthropic", *, end_marker: bool = True) -> Relay:
    asked = orjson.loads(a_call().body)
    call = Call(body=orjson.dumps(asked), key=None, protocol="anthropic")
    if client == "openai_chat":
        call = Call(body=orjson.dumps(asked), key=None)
    codec = codec_of(call.protocol)
    return open_relay(
        RelaySettings(
            client=codec,
            provider=CODEC,
            request=codec.parse_request(call),
            count=counter_for("o200k_base"),
            identity=Identity("req_1", "m", 0),
            end_marker=end_marker,
            body_max_bytes=1_000_000,
            quirks=BEDROCK,
        )
    )


def relayed(relay: Relay, *pieces: bytes) -> bytes:
    return b"".join(relay.feed(piece) for piece in pieces) + relay.end_of_input()


def sse(event: bytes) -> bytes:
    kind: str = orjson.loads(event)["type"]
    return b"event: " + kind.encode() + b"\ndata: " + event + b"\n\n"


# -- the request -----------------------------------------------------------------------------------


def test_the_envelope_of_a_verbatim_request() -> None:
    request = CODEC.parse_request(a_call(top_k=3))
    body = orjson.loads(CODEC.encode_verbatim(request, MODEL, None, BEDROCK))
    assert body == {
        "anthropic_version": "bedrock-2023-05-31",
        "anthropic_beta": ["one-2025", "two-2025", "three"],
        "max_tokens": 64,
        "messages": [{"role": "user", "content": "x"}],
        "top_k": 3,
    }
    assert CODEC.provider_headers(a_call().headers, BEDROCK) == []


def test_the_envelope_of_a_translated_request() -> None:
    chat = codec_of("openai_chat")
    body = a_call(service_tier="auto").body
    conversation = chat.decode_request(chat.parse_request(Call(body=body, key=None)))
    target = UpstreamTarget(MODEL, capabilities_of("anthropic", MODEL), True, quirks=BEDROCK)
    encoded = CODEC.encode_request(conversation, target)
    assert orjson.loads(encoded.body) == {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 64,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}],
    }
    assert encoded.dropped == ("service_tier",)


@pytest.mark.parametrize(
    ("model", "stream", "path"),
    [
        (MODEL, False, f"/model/{MODEL}/invoke"),
        (MODEL, True, f"/model/{MODEL}/invoke-with-response-stream"),
        (
            "arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.anthropic.x",
            False,
            "/model/arn:aws:bedrock:eu-west-1:123456789012:inference-profile%2Feu.anthropic.x/invoke",
        ),
    ],
)
def test_paths(model: str, stream: bool, path: str) -> None:
    assert CODEC.path(model, "chat", stream=stream, array=False, quirks=BEDROCK) == path
    assert CODEC.path(model, "count_tokens", stream=False, array=False, quirks=BEDROCK) is None


# -- the stream ------------------------------------------------------------------------------------


def test_an_anthropic_client_gets_the_providers_own_json() -> None:
    relay = a_relay()
    body = relayed(relay, STREAM)
    assert relay.terminal
    assert body == b"".join(map(sse, EVENTS[:-2])), "the ending waits for the settlement"
    ending = b"".join(map(sse, EVENTS[-2:]))
    assert relay.finish() == ending, "what the call costs the operator is not in it"


@pytest.mark.parametrize("client", ["anthropic", "openai_chat"])
def test_any_split_gives_the_same_bytes(client: str) -> None:
    whole = a_relay(client)
    expected = relayed(whole, STREAM) + whole.finish()
    seed = random.randrange(2**32)
    choose = random.Random(seed)
    splits = [[at] for at in range(1, len(STREAM))]
    splits += [sorted(choose.sample(range(1, len(STREAM)), 9)) for _ in range(50)]
    for cuts in [*splits, list(range(1, len(STREAM)))]:
        relay = a_relay(client)
        edges = [0, *cuts, len(STREAM)]
        pieces = [STREAM[a:b] for a, b in itertools.pairwise(edges)]
        assert relayed(relay, *pieces) + relay.finish() == expected, (seed, cuts)
        assert relay.meter.received_tokens() == whole.meter.received_tokens()


def test_what_else_bedrock_adds_stays_with_the_operator() -> None:
    delta = b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}'
    quoted = delta[:-2] + rb'\"amazon-bedrock-x\":"}}'
    stream = encode_chunk(EVENTS[0]) + encode_chunk(delta + b',"amazon-bedrock-trace":{"a":1}}')
    body = relayed(a_relay(), stream + encode_chunk(quoted))
    assert body == sse(EVENTS[0]) + sse(delta + b"}") + sse(quoted)


def test_white_space_of_json_does_not_break_an_event() -> None:
    pretty = orjson.dumps(orjson.loads(EVENTS[0]), option=orjson.OPT_INDENT_2)
    body = relayed(a_relay(), encode_chunk(pretty) + encode_chunk(b'{"type":"a\\n\\ndata: b"}'))
    first, second, rest = body.split(b"\n\n")
    assert orjson.loads(first.removeprefix(b"event: message_start\ndata: ")) == orjson.loads(pretty)
    assert second == b'event: message\ndata: {"type":"a\\n\\ndata: b"}'
    assert rest == b""


def test_messages_of_a_kind_that_came_later_are_passed_over() -> None:
    first = encode_message({":message-type": "event", ":event-type": "initial-response"}, b"{}")
    relay = a_relay()
    assert relayed(relay, first + STREAM) + relay.finish() == b"".join(map(sse, EVENTS))
    assert relay.terminal


def failed(*messages: bytes, end_marker: bool = True) -> UpstreamError:
    """What a stream fails with behind its first delta, however it is split."""
    stream = b"".join(map(encode_chunk, EVENTS[:3])) + b"".join(messages)
    found = []
    for pieces in ([stream], [stream[i : i + 1] for i in range(len(stream))]):
        relay = a_relay(end_marker=end_marker)
        assert relayed(relay, *pieces) == b"".join(map(sse, EVENTS[:3]))
        assert not relay.terminal
        assert relay.error is not None
        assert b"message_stop" not in relay.fail(relay.error)
        found.append(relay.error)
    assert found[0].message == found[1].message
    return found[0]


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("throttlingException", 429),
        ("ThrottlingException", 429),
        ("serviceUnavailableException", 503),
        ("validationException", 400),
        ("modelStreamErrorException", 502),
        ("modelTimeoutException", 504),
        ("internalServerException", 500),
        ("somethingNewException", 500),
    ],
)
def test_an_exception_is_an_error_of_its_class(name: str, status: int) -> None:
    error = failed(encode_exception(name, "No arn:aws:iam::123456789012:user/me."), STREAM)
    assert error.status == status
    assert error.message == "No [resource]"


def test_a_prompt_that_is_too_long_has_the_code_that_clients_know() -> None:
    said = b'{"message":"Input is too long for requested model."}'
    error = CODEC.read_error(400, said)
    assert (error.status, error.code) == (400, "context_length_exceeded")


def test_an_error_without_a_name() -> None:
    headers = {":message-type": "error", ":error-code": "Boom", ":error-message": "It broke."}
    error = failed(encode_message(headers, b""))
    assert (error.status, error.message) == (500, "It broke.")


def test_a_model_may_report_its_own_error() -> None:
    event = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'
    assert failed(encode_chunk(event)).status == 529


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (STREAM[:-1] + b"\x00", None),
        (encode_chunk(EVENTS[3])[:-1] + b"\x00", "checksum of a message is wrong"),
        (b"\x00" * 40, "checksum of a message's length"),
        (encode_message({}, bytes(17 * 1024 * 1024))[:400], "longer than the bound"),
        (encode_chunk(b"no JSON"), "not JSON"),
        (encode_chunk(b"[]"), "not JSON"),
        (
            encode_message({":message-type": "event", ":event-type": "chunk"}, b'{"bytes":"?"}'),
            "not JSON",
        ),
        (encode_message({":message-type": "event", ":event-type": "chunk"}, b"{}"), "not JSON"),
        (encode_chunk(EVENTS[3])[:-1], "a message is cut off"),
        (b"", "broke off before its end"),
    ],
)
def test_what_cannot_be_read_is_the_providers_fault(message: bytes, problem: str | None) -> None:
    if problem is None:
        relay = a_relay()
        relayed(relay, message)
        assert relay.error is not None
        assert not relay.terminal
        return
    error = failed(message)
    assert problem in error.message
    assert (error.status, error.code) == (502, "upstream_error")


def test_half_a_message_is_no_end_even_where_none_is_marked() -> None:
    assert "cut off" in failed(encode_chunk(EVENTS[3])[:-1], end_marker=False).message


def test_the_payload_is_padded_as_it_likes() -> None:
    payload = orjson.dumps({"p": "abcdef", "bytes": b64encode(EVENTS[2]).decode(), "new": 1})
    message = encode_message({":message-type": "event", ":event-type": "chunk"}, payload)
    decoder = CODEC.open_decoder(end_marker=True, quirks=BEDROCK)
    events = [event for frame in decoder.split(message) for event in decoder.decode(frame)]
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["Grüß"]
