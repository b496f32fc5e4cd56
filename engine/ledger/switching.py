"""The interpreter's switch interval, shortened while a journal's thread runs.

A thread that wants the interpreter lock asks for it only after waiting one whole interval without
a change of owner. With Python's default of 5 ms, an event loop that lets go for a moment at every
system call never keeps it that long at a stretch, so the other thread is neither served nor asks:
commits were seen to wait for seconds. The other way round, a group being built on the thread would
stop the loop for 5 ms.
"""

from __future__ import annotations

import sys
import threading

_lock = threading.Lock()
_wanted_s: list[float] = []
_original_s = 0.0


def shorten_switch_interval(interval_s: float) -> None:
    """Use this interval, if it is shorter than what is in use, until it is given back."""
    global _original_s  # noqa: PLW0603 - the interval is the process's
    with _lock:
        if not _wanted_s:
            _original_s = sys.getswitchinterval()
        _wanted_s.append(interval_s)
        sys.setswitchinterval(min(_original_s, *_wanted_s))


def restore_switch_interval(interval_s: float) -> None:
    """Give an interval back; the last one restores what was in use before the first."""
    with _lock:
        _wanted_s.remove(interval_s)
        sys.setswitchinterval(min([_original_s, *_wanted_s]))
