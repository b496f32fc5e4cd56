"""Prices that operators set: of an account before those of its plan before those of everybody."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType
from typing import Any, get_args

from engine.errors import NotFoundError
from engine.ledger.changes import PriceScope
from engine.ledger.records import ConflictError
from engine.overrides import check_new_price, price_json
from frontends.commands.command import (
    BadCommandError,
    Command,
    Desk,
    Json,
    Parameters,
    find_account,
    page_json,
    running_of,
)
from frontends.commands.plans import find_plan

_Place = tuple[PriceScope, str, str]
_SCOPES: tuple[PriceScope, ...] = get_args(PriceScope)
_PLACE: Mapping[str, tuple[type, ...]] = {
    "scope": (str,),
    "owner": (str, NoneType),
    "model": (str,),
}


async def _owned(desk: Desk, given: Parameters) -> Parameters:
    """The parameters with the owner as the ledger names it."""
    match given["scope"], given["owner"]:
        case "all", None:
            return {**given, "owner": ""}
        case "account", str(owner):
            return {**given, "owner": (await find_account(desk, owner)).account_id}
        case "plan", str(owner) if owner:
            return given
    raise BadCommandError(
        "'scope' is 'all', or 'account' or 'plan' with an 'owner' that says which of them."
    )


async def _set_price(desk: Desk, given: Parameters) -> Json:
    scope, owner, model = _place(given)
    rates = check_new_price(model, given["rates"], running_of(desk).config)
    if scope == "plan":
        await find_plan(desk, owner)
    await desk.ledger.set_price(scope, owner, model, rates)
    return _price_json(scope, owner, model, rates)


async def _remove_price(desk: Desk, given: Parameters) -> Json:
    place = _place(given)
    removed = (await _prices(desk)).get(place)
    if removed is None:
        raise NotFoundError("There is no such price; 'parshall prices list' shows them.")
    if removed["source"] == "file":
        raise ConflictError("This price is in the configuration: change it there, and reload.")
    await desk.ledger.remove_price(*place)
    return removed


async def _list_prices(desk: Desk, given: Parameters) -> Json:
    return page_json(list((await _prices(desk)).values()), None)


async def _prices(desk: Desk) -> dict[_Place, Json]:
    """Those that count: of one place an operator's goes before the file's, which only a running
    server knows."""
    prices = {
        (change.scope, change.owner, change.model): _price_json(
            change.scope, change.owner, change.model, change.rates
        )
        for change in await desk.ledger.prices()
        if change.rates is not None
    }
    plans = {} if desk.running is None else desk.running.config.plans
    for name, plan in plans.items():
        for model, price in plan.prices.items():
            place: _Place = ("plan", name, model)
            prices.setdefault(place, _price_json(*place, price_json(price), source="file"))
    return prices


def _place(given: Parameters) -> _Place:
    scope = next(scope for scope in _SCOPES if scope == given["scope"])
    return scope, given["owner"], given["model"]


def _price_json(
    scope: str, owner: str, model: str, rates: Mapping[str, Any], *, source: str = "ledger"
) -> Json:
    """US dollars, by the names and units of the table `price` of a model."""
    return {
        "scope": scope,
        "owner": owner or None,
        "model": model,
        "rates": dict(rates),
        "source": source,
    }


COMMANDS: Mapping[str, Command] = {
    "prices.list": Command(_list_prices, {}),
    "prices.set": Command(
        _set_price, {**_PLACE, "rates": (dict,)}, adds=True, subject="model", resolve=_owned
    ),
    "prices.remove": Command(_remove_price, _PLACE, adds=True, subject="model", resolve=_owned),
}
