"""Canonical events to a protocol's bytes and back are what they were, as far as it can say them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from engine.events import Event
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

EXAMPLES = 60

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
