"""Lines of files, a little at a time: after each `_SLICE_BYTES` of work others have their turn."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import trio

from engine.wire.lines import Line, LineSplitter

_SLICE_BYTES: Final = 32 * 1024
_LINE_WORK_BYTES: Final = 4 * 1024
"""A line is so much work beside its bytes."""


class Lines:
    """The lines of what comes in `pieces`; whoever made those closes them.

    Attributes:
        size_bytes: of what has come.
    """

    def __init__(self, pieces: AsyncIterator[bytes], line_max_bytes: int) -> None:
        self._pieces = pieces
        self._splitter = LineSplitter(line_max_bytes)
        self._ready: list[Line] = []
        self._ended = False
        self.size_bytes = 0
        self._work_bytes = 0

    def __aiter__(self) -> Lines:
        return self

    async def __anext__(self) -> Line:
        """Raises whatever the pieces raise."""
        while not self._ready:
            if self._ended:
                raise StopAsyncIteration
            piece = await anext(self._pieces, None)
            self._ended = piece is None
            self.size_bytes += len(piece or b"")
            found = self._splitter.finish() if piece is None else self._splitter.feed(piece)
            self._ready = found[::-1]
        line = self._ready.pop()
        self._work_bytes += len(line.data) + _LINE_WORK_BYTES
        if self._work_bytes >= _SLICE_BYTES:
            self._work_bytes = 0
            await trio.lowlevel.checkpoint()
        return line
