"""A client and a server connection, joined by nothing but bytes."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.wire.http import Delivery, Headers
from engine.wire.http2 import Http2Connection, Http2Limits

REQUEST: Headers = [
    (b":method", b"POST"),
    (b":scheme", b"https"),
    (b":authority", b"provider.test"),
    (b":path", b"/v1/chat/completions"),
    (b"content-type", b"application/json"),
]
RESPONSE: Headers = [(b":status", b"200"), (b"content-type", b"text/event-stream")]


@dataclass
class Pair:
    """`to_server` and `to_client` carry one read each way and return what it brought."""

    client: Http2Connection
    server: Http2Connection
    seen_by_client: list[Delivery] = field(default_factory=list)
    seen_by_server: list[Delivery] = field(default_factory=list)

    def to_server(self) -> list[Delivery]:
        return self.server.receive(self.client.outgoing())

    def to_client(self) -> list[Delivery]:
        return self.client.receive(self.server.outgoing())

    def settle(self) -> None:
        """Carry bytes both ways until there are none."""
        while self.client.has_outgoing or self.server.has_outgoing:
            self.seen_by_server += self.to_server()
            self.seen_by_client += self.to_client()

    def open_stream(self, *, ended: bool = True) -> int:
        """A request that the server has answered with its head."""
        stream_id = self.client.next_stream(REQUEST, ended=ended)
        self.to_server()
        self.server.send_headers(stream_id, RESPONSE)
        self.to_client()
        return stream_id


def connected_pair(
    *,
    limits: Http2Limits = Http2Limits(),  # noqa: B008
    stream_window_bytes: int = 65_536,
    connection_window_bytes: int = 1 << 20,
) -> Pair:
    client = Http2Connection(
        client_side=True,
        stream_window_bytes=stream_window_bytes,
        connection_window_bytes=connection_window_bytes,
    )
    server = Http2Connection(client_side=False, limits=limits)
    client.start()
    server.start()
    pair = Pair(client, server)
    pair.settle()
    return pair
