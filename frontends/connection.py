"""The life of one HTTP request in the app: its id, its log entry, and the exchange it relays.

An exchange lives in the connection's nursery: when the client leaves, the nursery is cancelled,
and leaving the exchange's block settles it. Nothing is settled in a response generator, whose
cleanup would run at an unknown time or be cancelled itself.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import Any, cast

import trio
from quart import Response
from quart.typing import ResponseTypes
from quart_trio.asgi import TrioASGIHTTPConnection

from engine import Call, Exchange, Gateway
from engine.errors import GatewayError
from engine.events import Protocol
from engine.passing.asked import Asked as Passing
from engine.rules import Admitted
from frontends.access import AccessEntry, clean_client_id
from frontends.bodies import LazyRequest
from frontends.direct import Asked, DirectRequest, DirectRoute, asked, forget
from frontends.headers import Header, answer_headers
from frontends.keys import without_key
from frontends.net import Net
from frontends.protocols import protocol_of
from frontends.rate_headers import rate_headers
from frontends.rendering import render_error
from frontends.server import SINK
from frontends.server.asgi import CANCEL_ON_LEAVE

log = logging.getLogger("parshall.app")

Send = Callable[[Any], Awaitable[None]]
FaultRenderer = Callable[[AccessEntry, Exception], Response]

_ENTRY = "parshall.entry"
_ID_HEADERS: dict[Protocol, tuple[bytes, ...]] = {
    "openai_chat": (b"x-request-id",),
    "openai_responses": (b"x-request-id",),
    "openai_completions": (b"x-request-id",),
    "openai": (b"x-request-id",),
    "openai_videos": (b"x-request-id",),
    "anthropic": (b"x-request-id", b"request-id"),
    "gemini": (b"x-request-id",),
}


class RelayResponse(Response):
    """An answer that an exchange gives; the connection opens and relays it."""

    def __init__(self, call: Call, admitted: Admitted) -> None:
        # Quart passes it on as it is, and nobody else looks into it: no headers, no body.
        self.call = call
        self.admitted = admitted


class PassedResponse(Response):
    """An answer that is passed through; the connection opens it, and sends it as it comes."""

    def __init__(self, passed: Passing, admitted: Admitted) -> None:
        # As `RelayResponse`.
        self.passed = passed
        self.admitted = admitted


class GatewayConnection(TrioASGIHTTPConnection):
    """One request. Its answer has our `x-request-id`, for Anthropic's clients `request-id` too."""

    def __init__(self, app: Any, scope: Any) -> None:
        super().__init__(app, scope)
        self._gateway: Gateway = app.gateway
        self._net: Net = app.net
        self._render_fault: FaultRenderer = app.render_fault
        self._route: DirectRoute | None = None
        if scope["method"] == "POST" and not scope.get("root_path"):
            self._route = app.direct.get(scope["path"])
        self._entry = _entry_of(scope, self._route, self._gateway.key_prefixes)
        self._answered = False
        scope[_ENTRY] = self._entry

    async def __call__(self, receive: Any, send: Any) -> None:
        """ASGI: serve the request, and log it however it ends."""

        async def send_noted(message: Any) -> None:
            await send(self._noted(message))

        extensions: Any = self.scope.get("extensions") or {}
        cancel_on_leave = extensions.get(CANCEL_ON_LEAVE)
        try:
            if cancel_on_leave is None:
                await super().__call__(receive, send_noted)
            else:  # nobody has to listen for the client's leaving: no further task, no nursery
                cancel_on_leave()
                await self._answer(self._open_request(receive, send_noted), send_noted)
        except* trio.BrokenResourceError:
            log.debug("%s: the client has left", self._entry.request_id)
        finally:
            self._entry.write()

    async def handle_messages(  # type: ignore[override]
        self, nursery: trio.Nursery, request: LazyRequest, receive: Any
    ) -> None:
        """Take the body once a handler wants it; then listen for the client's leaving."""
        body = request.body
        await body.wanted.wait()
        while (message := await receive())["type"] != "http.disconnect":
            body.append(message.get("body", b""))
            if not message.get("more_body", False):
                body.set_complete()
            await body.wait_room()
        nursery.cancel_scope.cancel()

    async def handle_request(  # type: ignore[override]
        self, nursery: trio.Nursery, request: LazyRequest, send: Any
    ) -> None:
        """Dispatch the request and send the answer."""
        await self._answer(request, send)
        nursery.cancel_scope.cancel()

    def _open_request(self, receive: Any, send: Any) -> Asked:
        """A request that takes its body from the client itself."""
        if self._route is not None:
            return DirectRequest(self.scope, self._route, receive)
        request: Any = self._create_request_from_scope(send)
        request.body.pull(receive)
        return cast(LazyRequest, request)

    async def _answer(self, request: Asked, send: Send) -> None:
        try:
            response = await self._dispatch(request)
            del request  # an open stream holds no more than it needs
            if isinstance(response, RelayResponse):
                call, admitted = response.call, response.admitted
                del response
                refusal = await self._relay(send, call, admitted)
                if refusal is None:
                    return
                response = refusal
            if isinstance(response, PassedResponse):
                await self._pass(send, response.passed, response.admitted)
                return
            await self._send_response(send, response)
        except trio.BrokenResourceError:
            raise
        except Exception as error:
            if self._answered:
                raise  # the connection is cut: half an answer must not look like a whole one
            await self._send_response(send, self._render_fault(self._entry, error))

    async def _dispatch(self, request: Asked) -> ResponseTypes:
        """Whatever the answer is: what the handler has left of the body, nobody wants any more."""
        try:
            self._net.take(self.scope)
            if isinstance(request, DirectRequest):
                return await request.handle()
            forget()  # the task's context may be another request's
            response: ResponseTypes = await self.app.handle_request(request)
        finally:
            request.body.refuse()
        return response

    async def _relay(self, send: Send, call: Call, admitted: Admitted) -> Response | None:
        """Carry out a call, and send its answer; or return what says that it is refused."""
        entry = self._entry
        try:
            await self._exchange(send, call, admitted)
        except GatewayError as error:
            if self._answered:
                raise
            entry.error_code = error.code
            if entry.receipt is None:
                self._gateway.telemetry.refused(error.code)
            return render_error(
                entry.protocol, error, entry.request_id, entry.receipt, call.operation
            )
        return None

    async def _exchange(self, send: Send, call: Call, admitted: Admitted) -> None:
        """Own the exchange of a call, and send what it says.

        Raises:
            GatewayError: refused, or failed before there was an answer.
        """
        exchange: Exchange | None = None
        try:
            async with self._gateway.open_exchange(call, admitted) as exchange:
                head = await exchange.head()
                if exchange.replayed:
                    self._entry.replay_of = exchange.receipt.request_id
                headers = list(head.headers)
                await send(
                    {"type": "http.response.start", "status": head.status, "headers": headers}
                )
                open_sink: Any = (self.scope.get("extensions") or {}).get(SINK)
                if open_sink is None or any(name == b"content-length" for name, _ in headers):
                    await self._pull(send, exchange)
                else:
                    await self._push(open_sink(), exchange)
                    await send(_body(b"", more=False))
        finally:
            if exchange is not None and not exchange.replayed:
                self._entry.receipt = exchange.receipt

    async def _pass(self, send: Send, passed: Passing, admitted: Admitted) -> None:
        """Send what a provider says to a request that costs nothing. Raises GatewayError."""
        async with self._gateway.passing.open(admitted, passed) as answer:
            headers = list(answer.headers)
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            if self.scope["method"] == "HEAD":
                await send(_body(b"", more=False))
                return
            if answer.pieces is not None:
                async with aclosing(answer.pieces) as pieces:
                    async for piece in pieces:
                        await send(_body(piece, more=True))
            await send(_body(answer.data, more=False))

    async def _pull(self, send: Send, exchange: Exchange) -> None:
        more = True
        async for chunk in exchange:
            more = not exchange.finished
            await send(_body(chunk, more=more))
        if more:  # the answer has no terminal bytes of its own
            _check_whole(exchange)
            await send(_body(b"", more=False))

    async def _push(self, sink: Any, exchange: Exchange) -> None:
        """The server offers a sink: bytes go from the provider's reader to the client's socket."""
        try:
            await exchange.relay_to(sink)
        finally:
            self._entry.response_bytes += sink.delivered_bytes
        if sink.gone:
            raise trio.BrokenResourceError("the client has left")
        _check_whole(exchange)

    def _noted(self, message: Any) -> Any:
        if message["type"] == "http.response.start":
            self._answered = True
            self._entry.status = message["status"]
            own_id = (self._entry.replay_of or self._entry.request_id).encode()
            names = _ID_HEADERS[self._entry.protocol]
            headers = [
                *message["headers"],
                *((name, own_id) for name in names),
                *self._limits(),
                *self._storage(),
            ]
            brand = self._gateway.config.server.header_brand
            page = self._entry.page
            passed = answer_headers(headers, self.scope["scheme"], brand, page=page)
            return {**message, "headers": passed}
        self._entry.response_bytes += len(message.get("body", b""))
        return message

    def _limits(self) -> Iterable[Header]:
        """What is left of the limits of whoever asks, once that is known."""
        admitted = self._entry.admitted
        if admitted is None or not admitted.demand.scopes:
            return ()
        gateway = self._gateway
        status = gateway.limit_status(admitted)
        return rate_headers(self._entry.protocol, status, gateway.ledger.clock())

    def _storage(self) -> Iterable[Header]:
        """How much is stored of what may be, where a request is about files."""
        admitted = self._entry.admitted
        if admitted is None or not self._entry.stores:
            return ()
        files = self._gateway.files
        used_bytes = files.used_bytes(admitted.entry.principal.account_id)
        return (
            (b"x-storage-used-bytes", b"%d" % used_bytes),
            (b"x-storage-limit-bytes", b"%d" % files.limit_bytes(admitted.plan)),
        )


def _check_whole(exchange: Exchange) -> None:
    """Raises BrokenResourceError: the answer breaks off, and its format has no way to say so. What
    its client gets must not look like all of it."""
    if exchange.broken_off:
        raise trio.BrokenResourceError("the answer breaks off")


def _body(data: bytes, *, more: bool) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


def current_entry() -> AccessEntry:
    """The log entry of the request being handled."""
    scope: Any = asked().scope
    entry: AccessEntry = scope[_ENTRY]
    return entry


def _entry_of(scope: Any, route: DirectRoute | None, key_prefixes: tuple[str, ...]) -> AccessEntry:
    headers = dict(scope["headers"])
    client = scope.get("client")
    own_id = headers.get(b"x-request-id") or headers.get(b"x-client-request-id")
    return AccessEntry(
        method=scope["method"],
        path=route.path if route else without_key(scope["path"], key_prefixes),
        protocol=(route and route.protocol) or protocol_of(scope["path"], headers),
        peer=client[0] if client else "unix",
        client_request_id=clean_client_id(own_id and own_id.decode("latin-1"), key_prefixes),
    )
