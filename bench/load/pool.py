"""Connections of the load to one server, kept and taken again."""

from __future__ import annotations

import functools
import socket
import time
from typing import Final

from bench.load.connection import Http1Connection, Http2Connection
from bench.load.exchange import Exchange
from bench.load.wire import Loop, connect, name_of

ASKED_MAX: Final = 2
"""How often a request is sent: again where the server has not looked at it, as clients do."""


class Http1Pool:
    """The connection that was used last is taken first. Slow readers have their own."""

    def __init__(self, loop: Loop, address: tuple[str, int]) -> None:
        self._loop = loop
        self._address = address
        self._idle: list[Http1Connection] = []

    def send(self, exchange: Exchange) -> None:
        """Ask on a kept connection, or on a new one."""
        while self._idle and not exchange.bytes_per_s:
            connection = self._idle.pop()
            if not connection.closed:
                connection.send(exchange)
                return
        self._send_anew(exchange)

    def _send_anew(self, exchange: Exchange) -> None:
        sock = _connected(self._address, exchange, slow=exchange.bytes_per_s > 0)
        if sock is not None:
            connection = Http1Connection(
                self._loop,
                sock,
                on_idle=self._idle.append,
                on_stale=self._send_anew,
                bytes_per_s=exchange.bytes_per_s,
            )
            connection.send(exchange)

    def close(self) -> None:
        """Close those that are idle; the others are closed by those who use them."""
        for connection in self._idle:
            connection.close()
        self._idle = []


class Http2Pool:
    """As many streams a connection as the server allows. Slow readers have their own."""

    def __init__(self, loop: Loop, address: tuple[str, int]) -> None:
        self._loop = loop
        self._address = address
        self._connections: list[Http2Connection] = []

    def send(self, exchange: Exchange) -> None:
        """Ask on a connection that has room, or on a new one."""
        self._connections = [each for each in self._connections if not each.closed]
        if not exchange.bytes_per_s:
            for connection in self._connections:
                if connection.room > 0:
                    connection.send(exchange)
                    return
        self._send_anew(exchange)

    def _send_anew(self, exchange: Exchange) -> None:
        sock = _connected(self._address, exchange)
        if sock is not None:
            connection = Http2Connection(
                self._loop, sock, on_refused=self._refused, bytes_per_s=exchange.bytes_per_s
            )
            self._connections.append(connection)
            connection.send(exchange)

    def _refused(self, exchange: Exchange, now_s: float) -> None:
        """The server has taken a stream back unread."""
        if exchange.asked < ASKED_MAX:
            self._loop.call_at(now_s, functools.partial(self._ask_again, exchange))
        else:
            exchange.fail("refused stream", now_s)

    def _ask_again(self, exchange: Exchange, now_s: float) -> None:
        if not exchange.over:
            self.send(exchange)

    def close(self) -> None:
        """Close them all."""
        for connection in self._connections:
            connection.close()
        self._connections = []


def _connected(
    address: tuple[str, int], exchange: Exchange, *, slow: bool = False
) -> socket.socket | None:
    """A new socket; without one the exchange has failed."""
    try:
        return connect(address, slow=slow)
    except OSError as error:
        exchange.fail(name_of(error), time.monotonic())
        return None
