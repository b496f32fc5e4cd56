"""What the parts of the boundary know of one another.

A `Wire` is a client's socket; a `ServerProtocol` speaks HTTP on it; for each request it has the
`Apps` begin an `Exchange` with the ASGI app, which answers through a `Responder`. All but the app
is synchronous: bytes move in plain calls, a task waits only where somebody has to.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from engine.sink import Sink

Headers = list[tuple[bytes, bytes]]
Scope = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end of a connection.

    Attributes:
        address: of the client: `203.0.113.9`, `2001:db8::1`, or `unix`.
        port: of the client; 0 for Unix sockets.
        scheme: what it speaks to whoever ended its TLS: us, or a trusted proxy.
        local: it is on this machine, and nobody stands between it and us.
    """

    address: str
    port: int
    scheme: Literal["http", "https"]
    local: bool


class Wire(Protocol):
    """A client's socket: one buffer and one flusher, whatever is written and whoever writes."""

    peer: Peer
    server: tuple[str, int | None]
    """The address the client came to: host and port, or the path of a Unix socket and None."""
    gone: bool
    """Cut, or the client has reset it: nothing more goes out. A FIN alone is not that."""

    @property
    def accepted_bytes(self) -> int:
        """What `write` has been given, in all."""

    @property
    def written_bytes(self) -> int:
        """How much of that the kernel has taken: a lower bound over TLS, by whole records."""

    def asker(self, headers: Headers) -> Peer:
        """Who asks by a request: the peer, or whom trusted proxies name in its headers."""

    def write(self, data: bytes | memoryview) -> bool:
        """Send at once if nothing waits, else after what does; False past the high-water mark.

        Never raises; does nothing once `gone`. A client that takes nothing for `write_stall_s`
        is cut.
        """

    def hold(self, size: int) -> None:
        """So many more bytes, or fewer, wait for this client in its protocol: they count in what
        the server holds for clients that lag."""

    def on_drained(self, call: Callable[[], None]) -> None:
        """Call once: when nothing waits any more, or the wire is gone; at once if that is so."""

    def end(self) -> None:
        """Send what waits, then FIN, and read on for `linger_s` (RFC 9112 section 9.6)."""

    def abort(self) -> None:
        """Reset the connection now."""

    def pause(self) -> None:
        """Read no more for now; the client's leaving is heard all the same."""

    def resume(self) -> None:
        """Read on."""


class Flusher(Protocol):
    """Joins writes. One for each server."""

    window_s: float
    """How long a write waits for others; 0: only until the task that runs now has done its step."""

    def touch(self, flush: Callable[[], None]) -> None:
        """Call `flush` soon, once: after the task that runs now, or within the window."""


class ServerProtocol(Protocol):
    """One version of HTTP on one wire. It raises nothing: faults end or abort the wire."""

    @property
    def deadline_s(self) -> float:
        """Trio's time by which the client has to have sent what is awaited; inf if nothing is."""

    @property
    def idle(self) -> bool:
        """No request is under way."""

    def receive(self, data: bytes) -> None:
        """Bytes from the client."""

    def receive_eof(self) -> None:
        """The client has left, by FIN or reset: its exchanges are told, the wire is ended."""

    def timed_out(self) -> None:
        """`deadline_s` has passed: a late client is told, by 408 or GOAWAY, and the wire ended; of
        HTTP/2 streams that stall each is cut by itself."""

    def stop(self) -> None:
        """Take no further request: `Connection: close`, GOAWAY; end the wire when idle."""


class Responder(Sink, Protocol):
    """The answer to one request. Head, heartbeats and body pass through it, in order.

    It is the sink that a relay pushes into: `send_nowait` frames the bytes (chunks, DATA) and
    hands them to the wire. `abort` ends the answer visibly unfinished: a reset of the stream, or
    of the connection where it has only one.
    """

    def start(self, status: int, headers: Headers) -> None:
        """The head. It leaves with the first bytes of the body if those come in the same turn."""

    def send_continue(self) -> None:
        """`100 Continue`, if the client waits for it and nothing was answered."""

    def finish(self) -> None:
        """The body is complete."""

    async def wait_writable(self) -> None:
        """Return when less than the high-water mark waits, or the client has left."""

    def consumed(self, size: int) -> None:
        """The app took bytes of the request's body: the client may send as many more."""


class Exchange(Protocol):
    """One request in the app, as the protocol sees it."""

    def body(self, data: bytes, *, ended: bool) -> None:
        """Bytes of the request's body; never waits. The protocol bounds what is not `consumed`."""

    def leave(self) -> None:
        """The client has left: the app hears `http.disconnect`, and is cancelled if it asked."""


class Apps(Protocol):
    """Runs the ASGI app on requests, each in a task, its exceptions contained."""

    def begin(self, scope: Scope, responder: Responder) -> Exchange:
        """Start the app on a request whose head has come."""

    def begin_websocket(self, serve: Callable[[Any, dict[str, Any]], Awaitable[None]]) -> None:
        """Start a task that serves the app, with the state it keeps, on a WebSocket."""
