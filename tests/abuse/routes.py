"""The routes of the app that is attacked, with something in the place of their variables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

from frontends import admin, receipt_queries
from frontends.app import GatewayApp
from frontends.commands import COMMANDS
from frontends.scopes import Access, access_of

_VARIABLE: Final = re.compile(r"<(?:\w+(?:\(.*?\))?:)?(\w+)>")
_QUERIES: Final[Mapping[str, tuple[str, ...]]] = {
    "/v1/receipts": receipt_queries.FIELDS,
    "/v1/usage": ("from", "to", "by"),
    "/api/auth": ("limit", "cursor"),
    "/v1/files": (
        *("after", "limit", "order", "purpose", "after_id", "before_id"),
        *("pageSize", "pageToken"),
    ),
    "/v1beta/files": ("pageSize", "pageToken"),
    "/v1/models": ("limit", "after_id", "before_id", "pageSize", "pageToken"),
    "/v1beta/models": ("pageSize", "pageToken"),
}
_BODIES: Final[Mapping[str, tuple[str, ...]]] = {
    "/api/auth": ("name", "expires_in", "scopes", "models", "limits", "preset", "budget"),
    "/api/auth/<key_id>/rotate": ("overlap_s",),
}
_ADMIN: Final = {(route.method, route.rule): route for route in admin.ROUTES}


@dataclass(frozen=True, slots=True)
class RouteOf:
    """One method of one rule.

    Attributes:
        variables: of the path.
        query: parameters of the URL that it reads.
        body: fields of a JSON object that it reads.
    """

    method: str
    rule: str
    access: Access
    variables: tuple[str, ...]
    query: tuple[str, ...] = field(default=())
    body: tuple[str, ...] = field(default=())

    def path(self, values: Mapping[str, str]) -> str:
        """With these values, percent-encoded, and a plain word for any other."""

        def put(match: re.Match[str]) -> str:
            return quote(values.get(match[1], _PLAIN.get(match[1], "nothing")), safe=":")

        return _VARIABLE.sub(put, self.rule)

    def __str__(self) -> str:
        return f"{self.method} {self.rule}"


_PLAIN: Final = {
    "of": "models",
    "target": "sim-gemini:generateContent",
    "name": "sim-openai",
    "period": "month",
    "kind": "key",
}


def routes_of(app: GatewayApp) -> Iterator[RouteOf]:
    """All of them, as the app itself knows them; HEAD is as GET."""
    for rule in app.url_map.iter_rules():
        for method in sorted((rule.methods or set()) - {"HEAD"}):
            text = rule.rule
            variables = tuple(_VARIABLE.findall(text))
            query, body = _QUERIES.get(text, ()), _BODIES.get(text, ())
            if (route := _ADMIN.get((method, text))) is not None:
                taken = tuple(
                    name.removesuffix("_nanodollars")
                    for name in COMMANDS[route.command].parameters
                    if name not in variables
                )
                query, body = (taken, ()) if method in ("GET", "DELETE") else ((), taken)
            elif method == "GET":
                body = ()
            else:
                query = ()
            yield RouteOf(method, text, access_of(method, text), variables, query, body)
