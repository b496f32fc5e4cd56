"""Lists of all that an account has of a kind: paged from the gateway's own table, and each thing
asked of who has it. So no row of another account is ever fetched, and none has to be left out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final, cast

import orjson
import trio

from engine.errors import InvalidRequestError, NotFoundError, UpstreamRejectedError
from engine.ledger.owned_rows import OwnedOrder, OwnedPage, OwnedQuery, OwnedRow
from engine.nurseries import open_tasks
from engine.owned import OwnedKind
from engine.parts import Parts
from engine.passing.asked import Asked
from engine.passing.forward import Forwarder, Passed
from engine.passing.places import check_family, place_of
from engine.passing.table import ROUTES, Route
from engine.rules import Admitted

LIMIT: Final = 20
LIMIT_MAX: Final = 100
_AT_ONCE: Final = 8
_PAGES_MAX: Final = 10
"""As many are looked through for one that has anything: things may be gone where they were."""
_KNOWN: Final = frozenset({"after", "before", "limit", "order"})
_ORDERS: Final = ("asc", "desc")
_JSON: Final = (b"content-type", b"application/json")


class Lister:
    """Of one gateway."""

    def __init__(self, parts: Parts, forwarder: Forwarder) -> None:
        self._parts = parts
        self._forwarder = forwarder

    @asynccontextmanager
    async def open(self, admitted: Admitted, asked: Asked) -> AsyncIterator[Passed]:
        """A page of the account's things of a kind, for the block.

        Raises:
            InvalidRequestError: there is no such page.
            GatewayError: as `Forwarder.open`.
        """
        parts, route = self._parts, asked.route
        assert route.lists is not None, "it lists what an account has"
        check_family(parts, admitted, route.family)
        query = read_page(route.lists, asked.query)
        place_of(parts, None)  # where nobody keeps anything: says how that is switched on
        with parts.preliminaries.refused_at_end():
            shown, page = await self._page(admitted, asked, query)
        document = {
            "object": "list",
            "data": shown,
            "first_id": shown[0].get("id") if shown else None,
            "last_id": shown[-1].get("id") if shown else None,
            "has_more": page.has_more,
        }
        data = orjson.dumps(document)
        parts.telemetry.passed(route.family, 200)
        yield Passed(200, [_JSON, (b"content-length", b"%d" % len(data))], data)

    async def _page(
        self, admitted: Admitted, asked: Asked, query: OwnedQuery
    ) -> tuple[list[dict[str, Any]], OwnedPage]:
        """The first page with anything in it."""
        account_id = admitted.entry.principal.account_id
        for _ in range(_PAGES_MAX):
            page = await self._parts.ledger.page_owned(account_id, query)
            shown = await self._fetch(admitted, asked, page.rows)
            if shown or not page.has_more:
                break
            if query.before is not None:
                query = replace(query, before=page.rows[0].object_id)
            else:
                query = replace(query, after=page.rows[-1].object_id)
        return shown, page

    async def _fetch(
        self, admitted: Admitted, asked: Asked, rows: Sequence[OwnedRow]
    ) -> list[dict[str, Any]]:
        """Those of them that are there still, in their order. Raises GatewayError."""
        route = _route_of(asked.route)
        found: list[dict[str, Any] | None] = [None] * len(rows)
        failed: list[Exception] = []
        slots = trio.CapacityLimiter(_AT_ONCE)

        async def fetch(index: int, row: OwnedRow) -> None:
            at = {route.parameters[0]: row.object_id}
            one = Asked(route, at, beta=asked.beta, request_id=asked.request_id)
            try:
                async with slots, self._forwarder.open(admitted, one) as passed:
                    found[index] = orjson.loads(passed.data)
            except NotFoundError:
                pass  # deleted meanwhile
            except UpstreamRejectedError as error:
                if error.status != 404:
                    failed.append(error)
            except Exception as error:  # noqa: BLE001 - told to who asks
                failed.append(error)

        async with open_tasks() as nursery:
            for index, row in enumerate(rows):
                nursery.start_soon(fetch, index, row)
        if failed:
            raise failed[0]
        return [each for each in found if each is not None]


def read_page(kind: OwnedKind, query: Sequence[tuple[str, str]]) -> OwnedQuery:
    """What the parameters of a URL choose. Raises InvalidRequestError: there is no such page."""
    said = dict(query)
    for name in said:
        if name not in _KNOWN:
            raise InvalidRequestError(f"'{name[:100]}' is not known here.", param=name[:100])
    order = said.get("order", "desc")
    if order not in _ORDERS:
        raise InvalidRequestError("'order' is 'asc' or 'desc'.", param="order")
    text = said.get("limit", str(LIMIT))
    limit = int(text) if text.isascii() and text.isdecimal() and len(text) <= 3 else 0
    if not 1 <= limit <= LIMIT_MAX:
        raise InvalidRequestError(f"'limit' is a number from 1 to {LIMIT_MAX}.", param="limit")
    after, before = said.get("after") or None, said.get("before") or None
    if after is not None and before is not None:
        raise InvalidRequestError("A page has 'after' or 'before', not both.", param="before")
    return OwnedQuery(kind, limit=limit, order=cast(OwnedOrder, order), after=after, before=before)


def _route_of(route: Route) -> Route:
    """The one that shows a single thing of the list."""
    for (method, path), found in ROUTES.items():
        if method == "GET" and path.rpartition("/")[0] == route.path and found.parameters:
            return found
    raise KeyError(route.path)
