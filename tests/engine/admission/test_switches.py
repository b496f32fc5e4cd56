"""What is off, and that whoever keeps what follows from it can tell when it changes."""

from __future__ import annotations

from engine.admission.switches import Switches


def test_off_and_on_again() -> None:
    switches = Switches()
    switches.turn("provider", "openai", off=True, reason="an outage")
    assert (len(switches), list(switches)) == (1, [("provider", "openai")])
    assert switches.reason("provider", "openai") == "an outage"
    switches.turn("provider", "openai", off=False)
    assert (len(switches), switches.reason("provider", "openai")) == (0, None)


def test_each_change_has_a_version_of_its_own() -> None:
    switches, seen = Switches(), set()
    for off in (True, True, False, True):
        seen.add(switches.version)
        switches.turn("model", "gpt-5", off=off)
    assert switches.version not in seen
    assert len(seen) == 4
