"""Requests that are routed by their path alone, without Quart's contexts, matching and signals.

Quart's own way of a request costs a tenth of what a whole answer does. So the routes that calls
come by are looked up by method and path, and their handlers run as Quart would run them. They ask
`asked` for the request, and do not see the difference; on other servers Quart routes them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, cast

import trio
from quart import Quart, Response, request

from engine.admission.keys import Scope
from engine.events import Protocol
from frontends.bodies import LazyRequest, Receive
from frontends.headers import Header
from frontends.protocols import is_shared, protocol_of
from frontends.scopes import ROUTES, route_scope

_CALLS: Final[Scope] = "inference"

Handler = Callable[[], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class DirectRoute:
    """What is at a path for POST.

    Attributes:
        handler: Quart's view function.
        protocol: that the path is of; None: the headers tell.
    """

    path: str
    handler: Handler
    protocol: Protocol | None


def direct_routes(app: Quart) -> Mapping[str, DirectRoute]:
    """By path: all that take calls and have no parameters in their path."""
    found = {}
    for rule in app.url_map.iter_rules():
        calls = ROUTES.get(("POST", rule.rule)) == _CALLS
        if calls and "POST" in (rule.methods or ()) and not rule.arguments:
            handler = cast(Handler, app.view_functions[rule.endpoint])
            protocol = None if is_shared(rule.rule) else protocol_of(rule.rule, {})
            found[rule.rule] = DirectRoute(rule.rule, handler, protocol)
    return found


class DirectHeaders:
    """Header fields as they came, names in lower case."""

    __slots__ = ("_values",)

    def __init__(self, headers: Iterable[Header]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in headers:
            self._values.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))

    def getlist(self, name: str) -> list[str]:
        """All values of a field, in their order."""
        return self._values.get(name, [])

    def get(self, name: str) -> str | None:
        """The first value of a field."""
        values = self._values.get(name)
        return values[0] if values else None


class DirectBody:
    """A body that is received as it is asked for."""

    __slots__ = ("_ended", "_receive")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._ended = False

    async def __anext__(self) -> bytes:
        while not self._ended:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                await trio.sleep_forever()  # cancelled: that is what the server was asked to do
            self._ended = not message.get("more_body", False)
            if data := message.get("body", b""):
                return cast(bytes, data)
        raise StopAsyncIteration

    def refuse(self) -> None:
        """What is left stays with the server."""


class DirectRequest:
    """What handlers ask of a request: as Quart's, as far as they do."""

    __slots__ = ("body", "headers", "query_string", "route", "scope")

    def __init__(self, scope: Any, route: DirectRoute, receive: Receive) -> None:
        self.scope = scope
        self.route = route
        self.headers = DirectHeaders(scope["headers"])
        self.query_string: bytes = scope["query_string"]
        self.body = DirectBody(receive)

    @property
    def content_length(self) -> int | None:
        """How long the client says that the body is; the server has read that as a number."""
        length = self.headers.get("content-length")
        return None if length is None or not length.isdecimal() else int(length)

    async def handle(self) -> Response:
        """What the route's handler says. Raises whatever that raises."""
        _current.set(self)
        try:
            return await self.route.handler()
        finally:
            _current.set(None)  # an open stream holds no more than it needs


Asked = LazyRequest | DirectRequest

_current: ContextVar[DirectRequest | None] = ContextVar("parshall.asked", default=None)


def forget() -> None:
    """What is handled from now on by this task, Quart has routed."""
    _current.set(None)


def asked() -> Asked:
    """The request that is being handled."""
    direct = _current.get()
    return cast(LazyRequest, request) if direct is None else direct


def asked_scope() -> Scope | None:
    """As `route_scope`, of the request that is being handled."""
    direct = _current.get()
    return route_scope() if direct is None else _CALLS
