"""Every recorded answer, decoded and encoded again by its own protocol's codec: for the official
SDK it is the same object."""

from __future__ import annotations

import warnings

import pytest

from engine.protocols.codec import ClientRequest
from engine.protocols.registry import codec_of
from tests import recordings
from tests.answers import objects, sdk
from tests.answers.recorded import answers, protocol_of
from tests.answers.translating import IDENTITY, client_request, decode_stream, encode_stream
from tests.recordings import Recording

# Parts of the names of answers that their hosts write in ways that the SDK's helper trips over or
# makes nonsense of. What goes out is what OpenAI would have written: only the readings are equal.
NOT_AS_OPENAI_WRITES = (
    "azure-chat-completion-streamed",  # a choice without a delta
    "cererebras-structured-output-tools.1",  # two calls of one index
    "tool-calls-without-id",
    "mistral-reasoning",  # Mistral's content in lists
    "mistral-v1-chat-completions-post-20aaaaf3",
    "mistral-v1-chat-completions-post-ccfa08da",
    "mistral-model-thinking-part",
    "wire-contract-mistral-small-thinking-high",
    "mistral-tool-call",  # Mistral's calls without an index
    "instrumentor-t-35e22e",
    "instrumentor-t-eda578",
    "openrouter-streaming-reasoning",  # lists in deltas without an index
    "openrouter-web-search-annotations-stream",
    "perplexity-citations.json",  # the last chunk is no chunk by its `object`
    "perplexity-text.json",
)


def encoded_again(recording: Recording) -> bytes:
    """Through canonical events and back."""
    codec = codec_of(protocol_of(recording.name))
    request = request_for(recording)
    if not recording.stream:
        return codec.encode_response(codec.decode_response(recording.body), request, IDENTITY)
    decoded = decode_stream(codec, [recording.body])
    return encode_stream(codec, decoded.events, request, error=decoded.error)


def request_for(recording: Recording) -> ClientRequest:
    """Of a client that asked for usage if there is any."""
    protocol = protocol_of(recording.name)
    wanted = b'"usage"' in recording.body
    return client_request(protocol, stream=recording.stream, usage=wanted)


@pytest.mark.parametrize("name", answers())
def test_is_the_same_object(name: str) -> None:
    recording = recordings.load(name)
    protocol = protocol_of(name)
    body = encoded_again(recording)
    if any(part in name for part in NOT_AS_OPENAI_WRITES):
        assert sdk.read(protocol, body, stream=recording.stream) == sdk.recorded(name)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the provider's own words
        original = objects.parsed(protocol, recording.body, stream=recording.stream)
    assert objects.parsed(protocol, body, stream=recording.stream) == original
