"""The garbage collector of a serving process."""

from __future__ import annotations

import gc
import weakref

from frontends.collecting import calm_collector


class Node:
    def __init__(self) -> None:
        self.itself = self


def test_what_start_up_made_is_not_walked_again() -> None:
    before = Node()
    thresholds = gc.get_threshold()

    with calm_collector():
        assert gc.get_freeze_count() > 1_000
        assert all(known is not before for known in gc.get_objects())
        assert gc.get_threshold()[0] > thresholds[0]

    assert gc.get_freeze_count() == 0
    assert gc.get_threshold() == thresholds


def test_garbage_is_found_all_the_same() -> None:
    with calm_collector():
        gone = weakref.ref(Node())
        kept = [Node() for _ in range(3 * gc.get_threshold()[0])]

    assert gone() is None
    assert len(kept) > 1
