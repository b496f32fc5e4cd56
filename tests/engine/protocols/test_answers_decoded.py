"""Every recorded answer, decoded: it says what the provider's own SDK reads, however it is cut."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.events import Finish, UsageReport
from engine.protocols.registry import codec_of
from tests import recordings
from tests.answers import canonical, sdk
from tests.answers.reading import Choice, Reading
from tests.answers.recorded import answers, protocol_of
from tests.answers.translating import begin_of, decode_stream, split

SEEDS = (2,)
BYTE_BY_BYTE_MAX = 2_000


def comparable(read: Reading) -> Reading:
    """Without what the canonical form leaves to `native`: sources without an address, signatures
    of what only one protocol knows, the service tier. google-genai drops `finishMessage`."""
    choices = tuple(
        replace(
            choice,
            citations=tuple(sorted(set(choice.citations) - {(None, None)}, key=str)),
            signatures=(),
            explanation=None,
        )
        for choice in read.choices
    )
    return replace(read, choices=choices or (Choice(),), service_tier=None)


@pytest.mark.parametrize("name", answers())
def test_says_what_the_sdk_reads(name: str) -> None:
    recording = recordings.load(name)
    protocol = protocol_of(name)
    if recording.stream:
        stream = decode_stream(codec_of(protocol), [recording.body])
        events, failed = stream.events, stream.error is not None
    else:
        events, failed = tuple(codec_of(protocol).decode_response(recording.body)), False
        ending = [isinstance(event, Finish | UsageReport) for event in events]
        assert ending == sorted(ending), "the ending comes last"
    begin_of(events)
    decoded = canonical.read(events, failed=failed)
    original = sdk.recorded(name)
    assert comparable(decoded) == comparable(original)
    for mine, theirs in zip(decoded.choices, original.choices, strict=False):
        assert set(mine.signatures) <= set(theirs.signatures)
        assert mine.signatures or not theirs.signatures or not mine.calls


@pytest.mark.parametrize("name", answers(stream=True))
def test_any_split_gives_the_same_events(name: str) -> None:
    recording = recordings.load(name)
    codec = codec_of(protocol_of(name))
    whole = decode_stream(codec, [recording.body])
    seeds = (1, *SEEDS) if len(recording.body) <= BYTE_BY_BYTE_MAX else SEEDS
    for seed in seeds:
        split_up = decode_stream(codec, split(recording.body, seed))
        assert split_up.events == whole.events, f"seed {seed}"
        assert repr(split_up.error) == repr(whole.error), f"seed {seed}"
        assert split_up.done == whole.done, f"seed {seed}"
