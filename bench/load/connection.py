"""Connections of the load: what HTTP says, put on a wire and given to exchanges."""

from __future__ import annotations

import functools
import socket
import time
from collections.abc import Callable
from typing import Final

from bench.load.exchange import Exchange
from bench.load.http1 import Http1Reader, request_bytes
from bench.load.http2 import WINDOW_MAX_BYTES, Http2Session, block_of
from bench.load.wire import SLOW_BUFFER_BYTES, SLOW_TICK_S, Loop, Wire

UNREADABLE: Final = "unreadable"
"""What an answer counts as that is not HTTP, or has a line without an end."""
LOST: Final = ("cut", "reset")
"""How a kept connection ends that the server has closed in the meantime."""


class Http1Connection:
    """One exchange at a time.

    `on_idle` is called when it may take another. `on_stale` is called with one that was lost
    before anything of an answer came, since the server had closed the kept connection meanwhile.
    """

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        *,
        on_idle: Callable[[Http1Connection], None],
        on_stale: Callable[[Exchange], None],
        bytes_per_s: int = 0,
    ) -> None:
        self._wire = Wire(loop, sock, self, bytes_per_s=bytes_per_s)
        self._kept = not bytes_per_s
        self._on_idle = on_idle
        self._on_stale = on_stale
        self._reader = Http1Reader()
        self._exchange: Exchange | None = None
        self._uses = 0

    @property
    def closed(self) -> bool:
        """Whether it takes no more."""
        return self._wire.closed

    def send(self, exchange: Exchange) -> None:
        """Ask; the connection is idle."""
        self._exchange = exchange
        self._uses += 1
        exchange.asked += 1
        exchange.on_leave = self._wire.close
        self._reader.begin(exchange.head, exchange.take)
        self._wire.write(request_bytes(exchange.message))

    def close(self) -> None:
        """Close it. Idempotent."""
        self._wire.close()

    def received(self, data: bytes, now_s: float) -> None:
        """See `Owner`."""
        try:
            over = self._reader.feed(data, now_s)
        except ValueError:
            self._wire.close()
            self.lost(UNREADABLE, now_s)
            return
        if over and not self._wire.closed:
            self._answered(now_s)

    def _answered(self, now_s: float) -> None:
        exchange, self._exchange = self._exchange, None
        assert exchange is not None
        exchange.on_leave = None
        if self._reader.keeps and self._kept and not self._wire.writing:
            self._on_idle(self)
        else:
            self._wire.close()
        exchange.end(now_s)

    def lost(self, kind: str, now_s: float) -> None:
        """See `Owner`."""
        if self._exchange is None:
            return
        if kind == "cut" and self._reader.eof():
            self._answered(now_s)
            return
        exchange, self._exchange = self._exchange, None
        if self._uses > 1 and not exchange.begun and kind in LOST:
            self._on_stale(exchange)
        else:
            exchange.fail(kind, now_s)


class Http2Connection:
    """Several exchanges at once; one only for a slow reader, whose windows open by the clock.

    `on_refused` is called with one that the server has taken back without having looked at it.
    """

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        *,
        on_refused: Callable[[Exchange, float], None],
        bytes_per_s: int = 0,
    ) -> None:
        self._loop = loop
        self._wire = Wire(loop, sock, self)
        self._on_refused = on_refused
        self._tick_bytes = max(1, round(bytes_per_s * SLOW_TICK_S)) if bytes_per_s else 0
        window = SLOW_BUFFER_BYTES if bytes_per_s else WINDOW_MAX_BYTES
        self._session: Http2Session[Exchange] = Http2Session(window=window)

    @property
    def closed(self) -> bool:
        """Whether nothing comes or goes on it any more."""
        return self._wire.closed

    @property
    def room(self) -> int:
        """How many more exchanges it takes."""
        return 0 if self._tick_bytes else self._session.room

    def send(self, exchange: Exchange) -> None:
        """Ask; there is room, or it is new."""
        exchange.asked += 1
        message = exchange.message
        block = _block(message.path, message.headers, message.authority)
        stream_id = self._session.open(exchange, block, message.body)
        exchange.on_leave = functools.partial(self._leave, stream_id)
        if self._tick_bytes:
            self._read_slowly(exchange, stream_id, time.monotonic())
        self._flush()

    def close(self) -> None:
        """Close it. Idempotent."""
        self._wire.close()

    def _leave(self, stream_id: int) -> None:
        self._session.cancel(stream_id)
        self._flush()

    def _read_slowly(self, exchange: Exchange, stream_id: int, now_s: float) -> None:
        if not exchange.over and not self._wire.closed:
            self._session.allow(stream_id, self._tick_bytes)
            self._flush()
            again = functools.partial(self._read_slowly, exchange, stream_id)
            self._loop.call_at(now_s + SLOW_TICK_S, again)

    def _flush(self) -> None:
        if outgoing := self._session.take_outgoing():
            self._wire.write(outgoing)

    def received(self, data: bytes, now_s: float) -> None:
        """See `Owner`."""
        try:
            self._session.feed(data, now_s)
        except ValueError:
            self._wire.close()
            self.lost(UNREADABLE, now_s)
            return
        for exchange in self._session.take_refused():
            exchange.on_leave = None
            self._on_refused(exchange, now_s)
        self._flush()
        if self._session.draining and not self._session.streams:
            self._wire.close()

    def lost(self, kind: str, now_s: float) -> None:
        """See `Owner`."""
        self._session.fail(kind, now_s)


_block = functools.lru_cache(maxsize=1024)(block_of)
