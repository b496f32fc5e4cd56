"""A gateway that is slower than it was, on purpose."""

from __future__ import annotations

from typing import Final

SLOWED_US: Final = 100

SLOWED: Final = f"""
import functools, time
from engine.relay import StreamRelay

def spin(data):
    until_ns = time.thread_time_ns() + {SLOWED_US * 1000} * data.count(b"data: ")
    while time.thread_time_ns() < until_ns:
        pass

def feed(self, data, feed=StreamRelay.feed):
    spin(data)
    return feed(self, data)

def pass_by(self, data, pass_by=StreamRelay.pass_by):
    passed = pass_by(self, data)
    if passed is not None:  # else it is fed
        spin(data)
    return passed

StreamRelay.feed, StreamRelay.pass_by = feed, pass_by
"""
"""For `PeerRow.prelude`: so much more CPU for each event that is relayed."""
