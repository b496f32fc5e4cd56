"""Counting the calls that the engine's code makes, and CPU time as a multiple of a fixed loop's."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Final

import engine

_ENGINE: Final = Path(engine.__file__).parent
_LOOP_METER: Final = str(_ENGINE / "load.py")
"""What measures the event loop is called as often as the loop turns, which is chance."""
_LOOP: Final = 60_000


class CallCounter:
    """Calls into functions of the engine, and of its functions into built-in ones."""

    def __init__(self) -> None:
        self.calls = 0
        self._ours: dict[CodeType, bool] = {}

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count those that this thread makes inside."""
        before = sys.getprofile()
        sys.setprofile(self._take)
        try:
            yield
        finally:
            sys.setprofile(before)

    def _take(self, frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        ours = self._ours.get(code)
        if ours is None:
            path = code.co_filename
            ours = path.startswith(f"{_ENGINE}/") and path != _LOOP_METER
            self._ours[code] = ours
        if ours and event in ("call", "c_call"):
            self.calls += 1


def cpu_multiples(works: dict[str, Callable[[], None]], repeats: int) -> dict[str, float]:
    """CPU time of each work by that of a fixed loop, the least of so many rounds of all.

    The least, since others on the machine only ever add to it.
    """
    least: dict[str, float] = {}
    for _ in range(repeats):
        for name, work in (("", _calibrate), *works.items()):
            started = time.process_time()
            work()
            took_s = time.process_time() - started
            least[name] = min(took_s, least.get(name, took_s))
    loop_s = least.pop("")
    return {name: took_s / loop_s for name, took_s in least.items()}


def _calibrate() -> None:
    """What a relay mostly does: calls, dictionaries, slices of bytes. Never change it."""
    seen: dict[int, bytes] = {}
    line = b'data: {"choices":[{"index":0,"delta":{"content":" word"}}]}\n\n'
    for number in range(_LOOP):
        seen[number & 255] = _cut(line, number & 31)


def _cut(line: bytes, at: int) -> bytes:
    return line[at : at + 16]
