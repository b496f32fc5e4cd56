"""HTTP/1.1 to a client: one request at a time to the app, the answers in order.

The reader waits for nobody: what a client sends ahead of the app, or of the answer to its current
request, is held up to a bound, and then the wire is paused.
"""

from __future__ import annotations

import logging
import math
from typing import Final

import trio

from engine.wire.http1_answer import CONTINUE, AnswerWriter, BodyEnd
from engine.wire.http1_head import BadHead, RequestHead
from engine.wire.http1_server import BadFraming, Body, RequestLimits, RequestReader
from frontends.server.asgi import scope_of
from frontends.server.dates import http_date
from frontends.server.http1_answer import Http1Answer
from frontends.server.interfaces import Apps, Flusher, Wire
from frontends.server.settings import ServerSettings
from frontends.server.websocket import WebSocket, is_websocket

log = logging.getLogger("parshall.server")

UNREAD_MAX_BYTES: Final = 65_536
"""Of a request's body that the app has not taken; one read more at most is held."""


class Http1Server:
    """Implements `ServerProtocol` on one wire.

    Args:
        wire: the client's socket.
        apps: what serves requests.
        settings: bounds.
        flusher: joins the writes.
    """

    def __init__(self, wire: Wire, apps: Apps, settings: ServerSettings, flusher: Flusher) -> None:
        self.wire = wire
        self.flusher = flusher
        self.high_water_bytes = settings.sink_high_water_bytes
        self._apps = apps
        self._settings = settings
        self._reader = RequestReader(RequestLimits(head_max_bytes=settings.header_max_bytes))
        self._answer: Http1Answer | None = None
        """The one under way."""
        self._websocket: WebSocket | None = None
        """What the connection has become."""
        self._unread_bytes = 0
        self._body_bytes = 0
        self._paused = False
        self._stopping = False
        self._over = False
        self._deadline_s = trio.current_time() + settings.header_timeout_s

    # -- the connection -------------------------------------------------------------------------

    @property
    def deadline_s(self) -> float:
        """Until when the client has time for a head, or for more of a body that is waited for."""
        return self._deadline_s

    @property
    def idle(self) -> bool:
        """No request is under way."""
        return self._answer is None and self._websocket is None

    def receive(self, data: bytes) -> None:
        """Bytes from the client."""
        if self._websocket is not None:
            self._websocket.receive(data)
        elif not self._over:
            self._reader.feed(data)
            self._advance()

    def receive_eof(self) -> None:
        """The client has left."""
        if self._websocket is not None:
            self._websocket.receive_eof()
            return
        self._over = True
        if self._answer is not None:
            answer, self._answer = self._answer, None
            answer.leave()
        self.wire.end()

    def timed_out(self) -> None:
        """The client is late: with the first byte of a request silently, later with an answer."""
        if self._answer is not None and self._answer.started:
            self._deadline_s = math.inf  # whoever answers already does not wait for the rest
        elif self._answer is not None or self._reader.waiting_bytes:
            self._refuse(408)
        else:
            self._end()

    def stop(self) -> None:
        """Take no further request."""
        self._stopping = True
        if self._websocket is not None:
            self._websocket.stop()
        elif self._answer is None:
            self._end()

    def _end(self) -> None:
        """Everything is said."""
        self._over = True
        self._answer = None
        self._deadline_s = math.inf
        self.wire.end()

    # -- requests -------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Go as far as what has come allows."""
        try:
            while (event := self._reader.next_event()) is not None:
                if isinstance(event, Body):
                    self._pass_body(event)
                else:
                    self._begin(event)
        except (BadHead, BadFraming) as error:
            log.info("a request is refused: %s", error)
            self._refuse(error.status)
        else:
            self._hold()

    def _begin(self, head: RequestHead) -> None:
        if is_websocket(head):
            self._become_websocket(head)
            return
        self._unread_bytes = self._body_bytes = 0
        self._answer = answer = Http1Answer(self, head)
        scope = scope_of(head, self.wire, answer.open_sink)
        answer.exchange = self._apps.begin(scope, answer)
        if self._reader.done:
            answer.exchange.body(b"", ended=True)

    def _become_websocket(self, head: RequestHead) -> None:
        self._websocket = websocket = WebSocket(self.wire, head)
        self._deadline_s = math.inf
        websocket.receive(self._reader.take_rest())
        self._apps.begin_websocket(websocket.run)

    def _pass_body(self, body: Body) -> None:
        assert self._answer is not None
        assert self._answer.exchange is not None
        self._unread_bytes += len(body.data)
        self._body_bytes += len(body.data)
        self._answer.exchange.body(body.data, ended=body.ended)

    def _hold(self) -> None:
        """Read on, or not, and for how long to wait."""
        if self._over:
            return
        reader, answer = self._reader, self._answer
        ahead_bytes = reader.waiting_bytes if answer is not None and reader.done else 0
        self._pause(
            self._unread_bytes > UNREAD_MAX_BYTES
            or ahead_bytes > self._settings.pipelined_max_bytes
        )
        if answer is None:
            return
        self._deadline_s = math.inf
        if answer.continued and not (reader.done or self._paused or answer.started):
            self._deadline_s = trio.current_time() + self._settings.keep_alive_s

    def _pause(self, held: bool) -> None:
        if held and not self._paused:
            self.wire.pause()
        elif self._paused and not held:
            self.wire.resume()
        self._paused = held

    def _refuse(self, status: int) -> None:
        """Answer what no app gets to see, or to see the end of; then end."""
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.leave()
            if answer.started:
                self.cut(answer)
                return
        error = self._settings.render_error(status)
        length = (b"content-length", b"%d" % len(error.body))
        writer = AnswerWriter("GET", "1.1", persistent=False)
        head = writer.head(status, [*error.headers, length], http_date())
        self.wire.write(head + error.body)
        self._end()

    # -- answers: what they ask for ---------------------------------------------------------------

    @property
    def may_persist(self) -> bool:
        """Another request can follow: this one has come to its end, and nobody is stopping."""
        return self._reader.done and not self._stopping

    def continue_body(self) -> None:
        """The client may send the request's body. Once some has come it needs no telling."""
        if not (self._reader.done or self._body_bytes):
            self.wire.write(CONTINUE)
            self._hold()

    def answered(self, answer: Http1Answer) -> None:
        """An answer is complete: on to the next request, which may be here already, or the end."""
        if answer is not self._answer:
            return
        if self._stopping or not answer.writer.persistent:
            self._end()
            return
        self._answer = None
        self._unread_bytes = 0
        self._reader.next_request()
        self._deadline_s = trio.current_time() + self._settings.keep_alive_s
        self._advance()

    def cut(self, answer: Http1Answer) -> None:
        """An answer stays unfinished. Without a length or chunks only a reset shows that; and what
        a client does not take is not waited for."""
        wire = self.wire
        lags = wire.written_bytes < wire.accepted_bytes
        if lags or answer.writer.body_end is BodyEnd.CLOSE:
            wire.abort()
        self._end()

    def consumed(self, size: int) -> None:
        """The app took bytes of the request's body."""
        self._unread_bytes -= size
        if self._paused:
            self._hold()
