"""Every recorded answer as the client of another protocol gets it, read by that client's SDK."""

from __future__ import annotations

import functools

import pytest

from tests import recordings
from tests.answers import losses, sdk
from tests.answers.across import Comparison, compare
from tests.answers.recorded import PROTOCOLS, names, protocol_of
from tests.answers.translating import translate


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
