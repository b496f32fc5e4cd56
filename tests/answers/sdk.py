"""The reader of each protocol."""

from __future__ import annotations

import functools

from tests import recordings
from tests.answers import anthropic, gemini, openai_chat, openai_responses, sdks
from tests.answers.reading import Reading, unfinished
from tests.answers.recorded import protocol_of

_READERS = {
    "openai_chat": openai_chat.read,
    "openai_responses": openai_responses.read,
    "anthropic": anthropic.read,
    "gemini": gemini.read,
}


def read(protocol: str, body: bytes, *, stream: bool) -> Reading:
    """What a protocol's official SDK reads out of an answer."""
    if protocol == "gemini":
        responses, failed = gemini.parse(body, stream=stream)
        answer = gemini.reading_of(responses, failed=failed)
    else:
        answer = _READERS[protocol](sdks.canned(body, stream=stream), stream=stream)
    return unfinished(answer) if answer.failed else answer


def ask(protocol: str, clients: sdks.Clients, *, stream: bool) -> Reading:
    """What the SDK reads out of the answer of whatever its client is connected to."""
    answer = _READERS[protocol](clients, stream=stream)
    return unfinished(answer) if answer.failed else answer


@functools.cache
def recorded(name: str) -> Reading:
    """What the provider's own SDK reads out of a recorded answer."""
    recording = recordings.load(name)
    return read(protocol_of(name), recording.body, stream=recording.stream)
