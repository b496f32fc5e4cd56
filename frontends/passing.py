"""Routes that are passed through to a provider with state: one table, one handler."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Final, cast

from quart import Blueprint, Response

from engine import Gateway
from engine.events import Operation
from engine.passing.asked import Asked
from engine.passing.service import served_routes
from engine.passing.table import Route
from frontends.bodies import read_body, taking_of
from frontends.connection import PassedResponse, current_entry
from frontends.direct import asked
from frontends.ingress import Ingress
from frontends.keys import KEY_FIELD, read_query

_BETA: Final = "openai-beta"


class PassRoutes:
    """The routes of one ingress and its gateway."""

    def __init__(self, ingress: Ingress, gateway: Gateway) -> None:
        self._ingress = ingress
        self._gateway = gateway

    def blueprint(self) -> Blueprint:
        """What an app registers."""
        routes = Blueprint("passing", __name__)
        for route in served_routes():
            handler = self.forward if route.operation is None else self.bill
            endpoint = f"{route.method} {route.path}".replace(".", "_")
            routes.add_url_rule(
                route.path, endpoint, partial(handler, route), methods=[route.method]
            )
        return routes

    async def forward(self, route: Route, **at: str) -> Response:
        """What the provider says to a request that costs nothing.

        Raises:
            GatewayError: as `Ingress.admit`, `read_body`, `Passing.open`.
        """
        admitted = await self._ingress.admit()
        self._ingress.check_load()
        request = asked()
        body = b""
        if route.method != "GET":
            server = self._gateway.config.server
            bounds = replace(server, spooled_min_bytes=server.body_max_bytes + 1)
            within = self._gateway.refused_at_end()
            found = await read_body(request, taking_of(request.scope), bounds, within)
            assert isinstance(found, bytes), "too small for a file"
            body = found
        beta = request.headers.get(_BETA)
        return PassedResponse(
            Asked(
                route,
                at,
                tuple(pair for pair in read_query(request.query_string) if pair[0] != KEY_FIELD),
                body,
                request.headers.get("content-type") or "",
                None if beta is None else beta.encode("latin-1", "replace"),
                current_entry().request_id,
            ),
            admitted,
        )

    async def bill(self, route: Route, **at: str) -> Response:
        """The answer of an exchange. Raises as `Passing.check`, `Ingress.relay`."""
        assert route.operation is not None, "it costs something"
        self._gateway.passing.check(self._ingress.authenticate(), route)
        return await self._ingress.relay("openai", cast(Operation, route.operation), at=at)
