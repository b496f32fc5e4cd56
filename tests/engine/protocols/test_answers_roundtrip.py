"""Canonical events to a protocol's bytes and back are what they were, as far as it can say them."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from engine.events import (
    Begin,
    Event,
    Finish,
    FinishReason,
    ToolCallBegin,
    ToolCallDelta,
    Usage,
    UsageReport,
)
from engine.protocols.registry import codec_of
from tests.answers import sdk
from tests.answers.recorded import PROTOCOLS
from tests.answers.translating import (
    IDENTITY,
    client_request,
    decode_stream,
    encode_stream,
    has_broken_arguments,
    split,
)
from tests.events import answers, normal

EXAMPLES = 40

roundtrip = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@roundtrip
@given(data=st.data())
def test_a_stream(protocol: str, data: st.DataObject) -> None:
    events = data.draw(answers(protocol))
    codec = codec_of(protocol)
    body = encode_stream(codec, events, client_request(protocol, stream=True))
    pieces = split(body, data.draw(st.integers(0, 1_000), label="split seed"))
    decoded = decode_stream(codec, pieces, end_marker=True)
    assert decoded.error is None
    assert decoded.done
    assert normal(protocol, decoded.events) == normal(protocol, events)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@roundtrip
@given(data=st.data())
def test_a_whole_answer(protocol: str, data: st.DataObject) -> None:
    events = data.draw(answers(protocol))
    codec = codec_of(protocol)
    body = codec.encode_response(events, client_request(protocol, stream=False), IDENTITY)
    assert normal(protocol, codec.decode_response(body)) == normal(protocol, events)


def _encoded(protocol: str, events: Sequence[Event], *, stream: bool) -> bytes:
    request = client_request(protocol, stream=stream)
    codec = codec_of(protocol)
    if stream:
        return encode_stream(codec, events, request)
    return codec.encode_response(events, request, IDENTITY)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("target", PROTOCOLS)
@pytest.mark.parametrize("source", PROTOCOLS)
@settings(roundtrip, max_examples=12)
@given(data=st.data())
def test_every_sdk_reads_whatever_another_protocol_can_say(
    source: str, target: str, stream: bool, data: st.DataObject
) -> None:
    events = data.draw(answers(source))
    body = _encoded(target, events, stream=stream)
    assume(not (stream and target == "anthropic" and has_broken_arguments(events)))
    read = sdk.read(target, body, stream=stream)
    assert not read.failed
    usage = next(event.usage for event in events if hasattr(event, "usage") and event.usage)
    assert read.usage is not None
    assert read.usage.output_tokens == usage.output_tokens
    assert read.usage.input_tokens == usage.input_tokens
    assert all(choice.finish != "none" for choice in read.choices)


# Each with what a client reads, whose protocol has objects.
ARGUMENTS = {
    '{"wei": 123456789012345678901234567890}': {"wei": 123456789012345678901234567890},
    '{"low": -99999999999999999999, "id": 18446744073709551615}': {
        "low": -99999999999999999999,
        "id": 18446744073709551615,
    },
    "": {},
    " \n": {},
    "[1]": None,
    '"text"': None,
    "}{": None,
}


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("target", ["anthropic", "gemini"])
@pytest.mark.parametrize("written", ARGUMENTS)
def test_odd_arguments(written: str, target: str, stream: bool) -> None:
    """Integers are kept to the digit; what is no object is wrapped in one."""
    events: list[Event] = [Begin("id", "m"), ToolCallBegin(0, "call_1", "f")]
    events += [ToolCallDelta(0, character) for character in written]
    events += [Finish(FinishReason.TOOL_CALLS), UsageReport(Usage(1, 0, 0, 1, 0))]
    body = _encoded(target, events, stream=stream)
    [call] = sdk.read(target, body, stream=stream).choices[0].calls
    expected = ARGUMENTS[written]
    if expected is not None:
        assert call.arguments == expected
        decoded = (
            decode_stream(codec_of(target), [body]).events
            if stream
            else codec_of(target).decode_response(body)
        )
        back = "".join(e.arguments for e in decoded if isinstance(e, ToolCallDelta))
        assert json.loads(back or "{}") == expected
    else:
        assert list(call.arguments) == ["arguments"]
