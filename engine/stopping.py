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

    @contextmanager
    def refused_at_end(self) -> Iterator[None]:
        """Give up the block when all is ended.

        Raises:
            ShutdownError: then.
        """
        if self._ended:
            raise ShutdownError
        with trio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                yield
            finally:
                self._scopes.discard(scope)
        if scope.cancelled_caught:
            raise ShutdownError

    def end(self) -> None:
        """Refuse them all, from now on too."""
        self._ended = True
        for scope in self._scopes:
            scope.cancel()
