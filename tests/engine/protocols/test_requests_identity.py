"""Canonical → protocol → canonical is the identity on what the protocol can say; and what one can
say is said to any model of another, or refused."""

from __future__ import annotations

from typing import cast

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.capabilities import Capabilities
from engine.capability_table import capabilities_of
from engine.conversation import Conversation
from engine.events import Call, Protocol
from engine.protocols.codec import InexpressibleError, UpstreamTarget
from engine.protocols.registry import codec_of
from tests.conversations import conversations, normal
from tests.golden_requests import PROTOCOLS
from tests.schemas import PROBLEMS

# One style of reasoning a protocol has to be told: the same question is spelled by the model.
STYLES: dict[str, Capabilities] = {
    "openai_chat": Capabilities(reasoning="effort"),
    "openai_responses": Capabilities(reasoning="effort"),
    "anthropic": Capabilities(),
    "gemini": Capabilities(reasoning="budget"),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(data=st.data())
@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
def test_what_is_said_is_read_again(protocol: str, data: st.DataObject) -> None:
    conversation = data.draw(conversations(protocol))
    stream = data.draw(st.booleans())
    codec = codec_of(protocol)

    encoded = codec.encode_request(
        conversation, UpstreamTarget("a-model", STYLES[protocol], stream)
    )

    in_url = ("a-model", stream) if protocol == "gemini" else (None, None)
    call = Call(encoded.body, None, cast(Protocol, protocol), model=in_url[0], stream=in_url[1])
    request = codec.parse_request(call)
    assert request.stream == stream
    assert encoded.dropped == ()
    again = codec.decode_request(request)
    assert normal(protocol, again) == normal(protocol, conversation)


MODELS = {
    "openai_chat": ("gpt-4o", "gpt-4o-audio-preview", "gpt-5", "o1-mini", "llama-3.1-8b", "other"),
    "openai_responses": ("gpt-4o", "gpt-5", "o3", "o1-mini", "grok-4", "other"),
    "anthropic": ("claude-3-haiku", "claude-sonnet-4-5", "claude-opus-4-7", "claude-2.1", "other"),
    "gemini": ("gemini-2.0-flash", "gemini-2.5-pro", "gemini-3-pro-preview", "gemma-3-4b", "other"),
}


@given(data=st.data())
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
def test_any_request_is_sound_for_any_model_or_refused(data: st.DataObject) -> None:
    conversation: Conversation = data.draw(st.sampled_from(PROTOCOLS).flatmap(conversations))
    protocol = data.draw(st.sampled_from(PROTOCOLS))
    model = data.draw(st.sampled_from(MODELS[protocol]))
    target = UpstreamTarget(model, capabilities_of(protocol, model), data.draw(st.booleans()))
    try:
        encoded = codec_of(protocol).encode_request(conversation, target)
    except InexpressibleError:
        return
    assert PROBLEMS[protocol](orjson.loads(encoded.body)) == []
