"""Work of clients that has no exchange yet, and so none that could be ended when the gateway stops:
bodies that arrive or are parsed, media that are fetched, prompts that are counted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from engine.errors import ShutdownError


class Preliminaries:
    """What is under way of it."""

    def __init__(self) -> None:
        self._scopes: set[trio.CancelScope] = set()
        self._ended = False

    def check(self) -> None:
        """For what does not wait. Raises ShutdownError once all is ended."""
        if self._ended:
            raise ShutdownError

    @contextmanager
    def refused_at_end(self) -> Iterator[trio.CancelScope]:
        """Give up the block when all is ended. Who gives the scope a deadline sees from it whether
        that has passed.

        Raises:
            ShutdownError: all is ended.
        """
        self.check()
        with trio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                yield scope
            finally:
                self._scopes.discard(scope)
        if scope.cancelled_caught:
            self.check()

    def end(self) -> None:
        """Refuse them all, from now on too."""
        self._ended = True
        for scope in self._scopes:
            scope.cancel()
