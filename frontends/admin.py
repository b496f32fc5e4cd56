"""The API of operators, under `/admin`: a table of routes over the commands.

A route is a method and a path; what its command takes comes from the path, from the URL's
parameters (GET, DELETE) or from the fields of a JSON object (POST, PUT, PATCH). Amounts are US
dollars as a string ("25.50") or nanodollars as an integer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import trio
from quart import Blueprint, Response, request

from engine import Gateway
from engine.errors import UnavailableError
from frontends.admin_auth import OperatorAuth
from frontends.commands import COMMANDS, Actor, BadCommandError, Json, execute
from frontends.commands.command import page_json
from frontends.connection import current_entry
from frontends.json_bodies import read_json
from frontends.keys import read_query
from frontends.money import read_money
from frontends.rendering import json_response
from frontends.server.forwarded import is_forwarded, parse_address

ORDER_TIMEOUT_S: Final = 60.0
_AMOUNT: Final = "_nanodollars"
_WORDS: Final = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Route:
    """One row.

    Attributes:
        rule: the path; its variables are parameters of the command.
        whole: the parameter that is the whole body; else each field of it is one, an amount without
            its unit.
        status: of the answer when all went well.
    """

    method: str
    rule: str
    command: str
    whole: str | None = None
    status: int = 200


ROUTES: Final = (
    Route("GET", "/admin/status", "serving.status"),
    Route("POST", "/admin/reload", "serving.reload"),
    Route("GET", "/admin/log", "log.list"),
    Route("GET", "/admin/accounts", "accounts.list"),
    Route("POST", "/admin/accounts", "accounts.create", status=201),
    Route("GET", "/admin/accounts/<account>", "accounts.show"),
    Route("PATCH", "/admin/accounts/<account>", "accounts.set"),
    Route("POST", "/admin/accounts/<account>/funding", "accounts.fund"),
    Route("POST", "/admin/accounts/<account>/adjustments", "accounts.adjust"),
    Route("GET", "/admin/accounts/<account>/keys", "keys.list"),
    Route("POST", "/admin/accounts/<account>/keys", "keys.create", status=201),
    Route("GET", "/admin/accounts/<account>/budgets", "budgets.show"),
    Route("PUT", "/admin/accounts/<account>/budgets/<period>", "budgets.set"),
    Route("DELETE", "/admin/accounts/<account>/budgets/<period>", "budgets.remove"),
    Route("GET", "/admin/accounts/<account>/receipts", "receipts.list"),
    Route("GET", "/admin/accounts/<account>/usage", "accounts.usage"),
    Route("GET", "/admin/keys", "keys.list"),
    Route("GET", "/admin/keys/<key_id>", "keys.show"),
    Route("PATCH", "/admin/keys/<key_id>", "keys.set", whole="changes"),
    Route("DELETE", "/admin/keys/<key_id>", "keys.revoke"),
    Route("POST", "/admin/keys/<key_id>/rotate", "keys.rotate", status=201),
    Route("GET", "/admin/receipts/<request_id>", "receipts.show"),
    Route("POST", "/admin/receipts/<request_id>/refund", "receipts.refund"),
    Route("GET", "/admin/plans", "plans.list"),
    Route("GET", "/admin/plans/<name>", "plans.show"),
    Route("PUT", "/admin/plans/<name>", "plans.set", whole="plan"),
    Route("DELETE", "/admin/plans/<name>", "plans.remove"),
    Route("GET", "/admin/prices", "prices.list"),
    Route("POST", "/admin/prices", "prices.set"),
    Route("DELETE", "/admin/prices", "prices.remove"),
    Route("GET", "/admin/routes", "routes.show"),
    Route("POST", "/admin/routes/explain", "routes.explain"),
    Route("GET", "/admin/exchanges", "exchanges.list"),
    Route("DELETE", "/admin/exchanges/<request_id>", "exchanges.end"),
    Route("GET", "/admin/switches", "switches.list"),
    Route("PUT", "/admin/switches/<kind>/<path:subject>", "switches.off"),
    Route("DELETE", "/admin/switches/<kind>/<path:subject>", "switches.on"),
)
"""A switch that is put is off, one that is deleted is on again."""


class AdminRoutes:
    """The routes of one gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._auth = OperatorAuth()

    def blueprint(self) -> Blueprint:
        """What an app registers."""
        routes = Blueprint("admin", __name__)
        for number, route in enumerate(ROUTES):
            routes.add_url_rule(
                route.rule,
                endpoint=f"{number}-{route.command.replace('.', '-')}",
                view_func=self._handler(route),
                methods=[route.method],
            )
        return routes

    def _handler(self, route: Route) -> Callable[..., Awaitable[Response]]:
        async def handle(**path: str) -> Response:
            return await self._serve(route, path)

        return handle

    def _authenticate(self) -> Actor:
        config, peer = self._gateway.config, current_entry().peer
        self._auth.use(config.admin)
        return self._auth.authenticate(
            request.headers.getlist("authorization"),
            peer,
            told=_is_told(peer, config.server.trusted_proxies),
        )

    async def _serve(self, route: Route, path: Mapping[str, str]) -> Response:
        gateway = self._gateway
        actor = self._authenticate()
        if route.method in ("GET", "DELETE"):
            said = _from_query(route, read_query(request.query_string))
        else:
            said = _from_body(route, await read_json(gateway))
            actor = self._authenticate()  # a reload may have taken the credential meanwhile
        with trio.move_on_after(ORDER_TIMEOUT_S):
            result = await execute(gateway, route.command, {**said, **path}, by=actor)
            if isinstance(result, list):
                result = page_json(result, None)
            return json_response(result, route.status)
        raise UnavailableError("The order takes too long; it may still be carried out.")


def _is_told(peer: str, trusted: Collection[str]) -> bool:
    """Whether a peer is who asks. Behind a proxy that is only where proxies are named; and one on
    this machine that is none of them looks like this machine."""
    scope: Any = request.scope
    if not is_forwarded(list(scope["headers"])):
        return True
    address = parse_address(peer)
    return bool(trusted) and address is not None and not address.is_loopback


def _from_query(route: Route, query: list[tuple[str, str]]) -> dict[str, Json]:
    """The URL's parameters, each once, as values of the types that the command takes."""
    said: dict[str, Json] = {}
    for name, text in query:
        parameter = _parameter(route, name)
        if parameter in said:
            raise BadCommandError(f"'{name}' is given twice.")
        said[parameter] = _value(name, text, COMMANDS[route.command].parameters[parameter])
    return said


def _value(name: str, text: str, kinds: tuple[type, ...]) -> Json:
    if str in kinds:
        return text
    if bool in kinds and text in _WORDS:
        return _WORDS[text]
    if int in kinds and text.isascii() and text.isdecimal() and len(text) <= 15:
        return int(text)
    raise BadCommandError(
        f"'{name}' is {'true or false' if bool in kinds else 'a whole number'}.", param=name
    )


def _from_body(route: Route, body: Mapping[str, Json]) -> dict[str, Json]:
    """The fields of the body, amounts as integers."""
    if route.whole is not None:
        return {route.whole: dict(body)}
    said: dict[str, Json] = {}
    for name, value in body.items():
        parameter = _parameter(route, name)
        said[parameter] = value
        if parameter.endswith(_AMOUNT) and value is not None:
            said[parameter] = _amount(name, value)
    return said


def _amount(name: str, value: Json) -> int:
    try:
        return read_money(value)
    except ValueError as error:
        raise BadCommandError(f"'{name}': {error}.") from None


def _parameter(route: Route, name: str) -> str:
    """What the command calls a field. What the path says is no field.

    Raises:
        BadCommandError: it takes nothing of that name.
    """
    known: dict[str, str] = {
        each.removesuffix(_AMOUNT): each
        for each in COMMANDS[route.command].parameters
        if f"<{each}>" not in route.rule.replace("<path:", "<")
    }
    parameter = known.get(name)
    if parameter is None:
        choice = f"; it takes {', '.join(sorted(known))}" if known else ""
        raise BadCommandError(f"There is no '{name[:100]}' here{choice}.")
    return parameter
