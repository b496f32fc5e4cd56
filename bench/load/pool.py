"""Connections of the load to one server, kept and taken again."""

from __future__ import annotations

import time

from bench.load.connection import Http1Connection, Loop, connect, name_of
from bench.load.exchange import Exchange
from bench.load.http1 import request_bytes
from bench.load.protocols import Message


class Http1Pool:
    """The one that was used last is taken first. Slow readers have connections of their own."""

    def __init__(self, loop: Loop, address: tuple[str, int], authority: str) -> None:
        self._loop = loop
        self._address = address
        self._authority = authority
        self._idle: list[Http1Connection] = []

    def send(self, exchange: Exchange, message: Message) -> None:
        """Ask on a kept connection, or on a new one."""
        request = request_bytes(message, self._authority)
        slow = exchange.planned.reads_bytes_per_s is not None
        while self._idle and not slow:
            connection = self._idle.pop()
            if not connection.closed:
                connection.send(exchange, request)
                return
        self._send_anew(exchange, request, slow=slow)

    def _send_anew(self, exchange: Exchange, request: bytes, *, slow: bool = False) -> None:
        try:
            sock = connect(self._address, slow=slow)
        except OSError as error:
            exchange.fail(name_of(error), time.monotonic())
            return

        connection = Http1Connection(self._loop, sock, self._idle.append, self._send_anew)
        connection.send(exchange, request)

    def close(self) -> None:
        """Close those that are idle; the others are closed by those who use them."""
        for connection in self._idle:
            connection.close()
        self._idle = []
