"""Every recorded answer as the client of another protocol gets it, read by that client's SDK."""

from __future__ import annotations

import functools

import pytest

from engine.events import ToolCallBegin
from engine.protocols.registry import codec_of
from tests import recordings
from tests.answers import gemini, losses, openai_chat, sdk
from tests.answers.across import Comparison, compare
from tests.answers.recorded import PROTOCOLS, answers, names, protocol_of
from tests.answers.translating import decode_stream, translate


@functools.cache
def compared(name: str, target: str) -> Comparison:
    """A recording translated and read; once, for the test of it and for the table."""
    recording = recordings.load(name)
    source = protocol_of(name)
    translated = translate(source, target, recording.body, stream=recording.stream)
    read = sdk.read(target, translated, stream=recording.stream)
    return compare(sdk.recorded(name), read, target)


def pairs() -> list[object]:
    """Of each recording its name and each protocol that is not its own."""
    return [
        pytest.param(name, target, id=f"{name}-{target}")
        for name in names()
        for target in PROTOCOLS
        if target != protocol_of(name)
    ] or [pytest.param("", "", marks=pytest.mark.skip(reason="no recordings"))]


@pytest.mark.parametrize(("name", "target"), pairs())
def test_says_the_same(name: str, target: str) -> None:
    assert compared(name, target).wrong == []


@pytest.mark.parametrize("source", PROTOCOLS)
def test_the_table_of_losses(source: str) -> None:
    """What other protocols could not say of the recordings; `PARSHALL_GOLDEN=write` writes it."""
    recorded = names(source)
    if not recorded:
        pytest.skip("no recordings")
    lost = {
        target: {name: compared(name, target).lost for name in recorded}
        for target in PROTOCOLS
        if target != source
    }
    losses.check(source, lost)


@pytest.mark.parametrize("target", ["openai_chat", "anthropic"])
@pytest.mark.parametrize("name", answers("gemini", holding=b"thoughtSignature"))
def test_signatures_of_calls_are_carried(name: str, target: str) -> None:
    """Every signature on a call comes back with the call's id."""
    recording = recordings.load(name)
    codec = codec_of("gemini")
    if recording.stream:
        events = decode_stream(codec, [recording.body]).events
    else:
        events = tuple(codec.decode_response(recording.body))
    calls = [event for event in events if isinstance(event, ToolCallBegin)]
    body = translate("gemini", target, recording.body, stream=recording.stream)
    got = sdk.read(target, body, stream=recording.stream)
    signed = {call.signature.value for call in calls if call.signature is not None}
    assert signed <= {signature for choice in got.choices for signature in choice.signatures}


@pytest.mark.parametrize("name", answers("gemini", holding=b"groundingSupports"))
def test_grounding_points_at_its_text(name: str) -> None:
    """Gemini counts bytes of a part, OpenAI characters of the answer."""
    recording = recordings.load(name)
    body = translate("gemini", "openai_chat", recording.body, stream=recording.stream)
    told = openai_chat.pointed_at(body, stream=recording.stream)
    segments = gemini.grounded(recording.body, stream=recording.stream)
    pointed = {text for _, text in told if text}
    assert pointed == {text for text in segments if text}
