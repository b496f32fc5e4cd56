"""Logs as JSON lines on one stream, written by a thread of their own.

A reader that stalls (a pager, a full pipe) must not stop the event loop: lines wait in a bounded
queue and are dropped, and counted, past it. What is logged never holds a prompt, a key or the
message of an unforeseen exception, which might quote one.
"""

from __future__ import annotations

import logging
import threading
import traceback
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TextIO

import orjson

OUR_LOGGERS = ("parshall", "engine", "bench")
LINES_MAX = 10_000
FLUSH_INTERVAL_S = 0.1
FLUSH_TIMEOUT_S = 2.0


def fault_trace(error: BaseException) -> str:
    """Type and place of an exception and of those in its group; without its message."""
    if isinstance(error, BaseExceptionGroup):
        return "\n".join(fault_trace(member) for member in error.exceptions)
    frames = "".join(traceback.format_tb(error.__traceback__))
    return f"{type(error).__qualname__}\n{frames}".rstrip()


class JsonFormatter(logging.Formatter):
    """One JSON object a record: time, level, logger, message, and the record's `fields`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        at = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, object] = {
            "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[1] is not None:
            line["trace"] = fault_trace(record.exc_info[1])
        return orjson.dumps(line, default=repr).decode()


class LineWriter(logging.Handler):
    """Hands lines to a thread that writes them in batches."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self.dropped_lines = 0
        self._stream = stream
        self._lines: deque[str] = deque()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._write_batches, name="logs", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record. Never waits."""
        if len(self._lines) >= LINES_MAX:
            self.dropped_lines += 1
            return
        try:
            self._lines.append(self.format(record))
        except Exception:  # noqa: BLE001 - logging's own contract for handlers
            self.handleError(record)

    def close(self) -> None:
        """Write what waits, for at most `FLUSH_TIMEOUT_S`."""
        self._closing.set()
        self._thread.join(FLUSH_TIMEOUT_S)
        super().close()

    def _write_batches(self) -> None:
        while not self._closing.wait(FLUSH_INTERVAL_S):
            self._write_waiting()
        self._write_waiting()

    def _write_waiting(self) -> None:
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        if self.dropped_lines and not self._lines:
            dropped, self.dropped_lines = self.dropped_lines, 0
            lines.append(f'{{"level":"warning","message":"{dropped} log lines were dropped"}}')
        if lines:
            try:
                self._stream.write("\n".join(lines) + "\n")
                self._stream.flush()
            except (OSError, ValueError):  # nobody reads any more: there is nowhere to say so
                return


@contextmanager
def logging_to(stream: TextIO, level: str) -> Iterator[None]:
    """Log as JSON lines for the block: ours from `level` on, of libraries only warnings.

    Libraries' debug lines hold headers, and so keys.
    """
    handler = LineWriter(stream)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    ours = [logging.getLogger(name) for name in OUR_LOGGERS]
    before = [(logger, logger.level) for logger in (root, *ours)]
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    for logger in ours:
        logger.setLevel(level.upper())
    try:
        yield
    finally:
        root.removeHandler(handler)
        for logger, level_before in before:
            logger.setLevel(level_before)
        handler.close()
