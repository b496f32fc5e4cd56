"""A connection that waits for an HTTP/1.1 answer, and what it made of one."""

from __future__ import annotations

from dataclasses import dataclass

from engine.wire.http import Delivery, Headers
from engine.wire.http1 import Http1Connection, Http1Error, Http1Limits

POST: Headers = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":authority", b"provider:8000"),
    (b":path", b"/v1/chat/completions"),
]
HEAD: Headers = [(b":method", b"HEAD"), *POST[1:]]
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
EOF = b""


def asked(request: Headers = POST, limits: Http1Limits | None = None) -> Http1Connection:
    """A connection that waits for an answer."""
    connection = Http1Connection(limits or Http1Limits())
    connection.next_stream(request, body_bytes=0)
    connection.outgoing()
    return connection


@dataclass
class Answer:
    """What a connection delivered, put together."""

    head: Headers | None = None
    data: bytes = b""
    trailers: Headers | None = None
    ended: bool = False
    fault: type[Http1Error] | None = None
    reusable: bool = False

    @property
    def status(self) -> bytes | None:
        return None if self.head is None else dict(self.head)[b":status"]

    def take(self, delivery: Delivery | None) -> None:
        if delivery is None:
            return
        assert not self.ended, "nothing comes after the end"
        assert delivery.flow_bytes == len(delivery.data)
        assert self.head is None or delivery.head is None
        self.head = delivery.head or self.head
        self.data += delivery.data
        self.trailers = delivery.trailers
        self.ended = delivery.ended


def answer(connection: Http1Connection, *reads: bytes) -> Answer:
    """Hand reads to a connection, an empty one being the end."""
    seen = Answer()
    try:
        for data in reads:
            seen.take(connection.receive(data) if data else connection.receive_eof())
    except Http1Error as error:
        seen.take(error.delivery)
        seen.fault = type(error)
    seen.reusable = connection.idle
    assert connection.idle or connection.closed or not seen.ended
    return seen
