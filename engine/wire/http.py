"""The vocabulary both HTTP versions share: what one read from a peer brought.

Sans-I/O: nothing here waits, reads a clock or touches a socket.
"""

from __future__ import annotations

from typing import NamedTuple

Headers = list[tuple[bytes, bytes]]
"""Field names in lower case and values, in order, pseudo-headers included (`:status`, `:path`)."""


class Delivery(NamedTuple):
    """What one read brought for one stream, in this order: head, data, end or reset.

    A server role delivers requests (`:method`, `:path` in `head`), a client role responses
    (`:status`); informational (1xx) heads are not delivered. `flow_bytes` is what has to be
    acknowledged for `data`: its length plus any padding.

    A tuple because one is made for every read of every stream: four times as fast.
    """

    stream_id: int
    head: Headers | None = None
    data: bytes = b""
    flow_bytes: int = 0
    trailers: Headers | None = None
    ended: bool = False
    reset_code: int | None = None
    """RFC 9113 section 7 error code when the peer reset the stream."""
    unprocessed: bool = False
    """The peer never acted on it (REFUSED_STREAM, or above GOAWAY's last id): safe to retry."""
