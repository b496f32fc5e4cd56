"""Frames between the gateway and its helper: what is said, and what never comes of it."""

from __future__ import annotations

import os
import pickle
from typing import Any

import pytest

from engine.capabilities import Capabilities
from engine.demand import Demand
from engine.errors import InvalidRequestError
from engine.events import Call
from engine.job import JobSource
from engine.parsing import frames
from engine.parsing.facts import Wanted
from engine.parsing.helper import start_helper
from engine.parsing.jobs import Count

SOURCE = JobSource("job_1", "acct_1", "film", "films", "sora-2", "0" * 16, "video_9", {"clips": 1})


@pytest.mark.parametrize(
    "head",
    [
        frames.Parse(Call(b"", None, "openai", "embed"), Wanted(frozenset({"a"}))),
        frames.Parse(Call(b"", None, "openai_videos", "video", source=SOURCE)),
        Count("o200k_base", Capabilities(media=frozenset({"image"}))),
        frames.IsRefused("No.", "invalid_request", None),
        Demand(1, 2, 3, {"images": 1}, {"characters": 2}, "high"),
    ],
    ids=lambda head: type(head).__name__,
)
def test_values_of_ours_arrive(head: Any) -> None:
    packed = frames.pack(head, 0)
    assert frames.unpack(packed[frames.PREFIX.size :]) == head


class Calls:
    """Pickled, it asks whoever reads it to call something."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._called = (function, arguments)

    def __reduce__(self) -> Any:
        return self._called


HOSTILE = {
    "a command": pickle.dumps(Calls(os.system, "true")),
    "code": pickle.dumps(Calls(eval, "1")),
    "a function of ours": pickle.dumps(Calls(start_helper, 1, ())),
    "a class of ours that does something": pickle.dumps(Calls(InvalidRequestError, "x")),
    "something through a module of ours": b"cengine.parsing.helper\nos.system\n(S'true'\ntR.",
    "what a module of ours has imported": b"cengine.parsing.helper\nHelperLostError\n(tR.",
    "what is not loaded": b"cengine.no_such_module\nX\n(tR.",
    "no pickle": b"{}",
    "nothing": b"",
}


@pytest.mark.parametrize("packed", HOSTILE.values(), ids=HOSTILE)
def test_whatever_else_a_helper_says_is_no_frame(packed: bytes) -> None:
    with pytest.raises(frames.FrameError):
        frames.unpack(packed)
