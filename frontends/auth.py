"""Keys that customers make for themselves, with a key that is made for it (the scope `keys`).

Nobody gets more by it than they have: a new key may do at most what the key that asks may do, and
a key is rotated only by one that may do as much.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any, Final

from quart import Blueprint, Response

from engine import Gateway
from engine.admission.delegation import Wanted, check_within, delegated
from engine.admission.keys import SCOPES
from engine.admission.plans import ALL_MODELS, Limits, ModelSet
from engine.errors import (
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
)
from engine.keyring import terms_of
from engine.ledger.records import ConflictError, KeyView
from engine.ledger.terms import check_name
from engine.rules import Admitted
from frontends.commands import Actor, execute
from frontends.commands.terms import (
    key_json,
    models_json,
    read_expiry,
    read_key_budget,
    read_limits,
    read_models,
    read_scopes,
)
from frontends.connection import current_entry
from frontends.ingress import Ingress, query_value
from frontends.json_bodies import read_json
from frontends.rendering import json_response

KEYS_MAX: Final = 1_000
"""Of one account that are not revoked; operators can make more."""
_OVERLAP_DEFAULT_S: Final = 3_600
_OVERLAP_MAX_S: Final = 365 * 86_400
_FIELDS: Final = ("name", "expires_in", "scopes", "models", "limits", "preset", "budget")
_UNWRITTEN: Final = {
    "keys.create": "Nothing was changed: the ledger cannot write now.",
    "keys.rotate": "Nothing was changed: the ledger cannot write now.",
    "keys.revoke": "The key is refused from now on, and that is not durable yet: try again.",
    "keys.list": "The ledger cannot be read now.",
}
"""Why is for the operator."""


class AuthRoutes:
    """The routes of one ingress and its gateway."""

    def __init__(self, ingress: Ingress, gateway: Gateway) -> None:
        self._ingress = ingress
        self._gateway = gateway
        self._making: Counter[str] = Counter()
        """Keys of each account that are being made: they are in no index yet."""

    def blueprint(self) -> Blueprint:
        """What an app registers."""
        routes = Blueprint("auth", __name__)
        routes.get("/api/auth")(self.list)
        routes.post("/api/auth")(self.create)
        routes.delete("/api/auth/<key_id>")(self.revoke)
        routes.post("/api/auth/<key_id>/rotate")(self.rotate)
        return routes

    async def list(self) -> Response:
        """The keys of the account that asks, revoked ones too, oldest first, a page at a time."""
        admitted = self._ingress.authenticate()
        asked = {
            "account": _account_id(admitted),
            "limit": _limit(),
            "cursor": query_value("cursor"),
        }
        return json_response(await self._order(admitted, "keys.list", asked))

    async def create(self) -> Response:
        """A new key of the account that asks; its secret is in this answer and nowhere else.

        Raises:
            PermissionDeniedError: it would be wider than the key that asks.
            ConflictError: the account has too many.
        """
        await self._ingress.admit()
        given = await read_json(self._gateway)
        try:
            wanted = _wanted(given, self._gateway.ledger.clock())
        except ValueError as error:
            raise InvalidRequestError(str(error)) from None
        async with self._maker() as admitted:
            terms = delegated(wanted, admitted.entry.terms)
            ordered = {
                "account": _account_id(admitted),
                "name": terms.name,
                "scopes": [scope for scope in SCOPES if scope in terms.scopes],
                "models": models_json(terms.models),
                "limits": {k: v for k, v in asdict(terms.limits).items() if v is not None},
                "expires_at_ms": terms.expires_at_ms,
                "budget": given.get("budget"),
            }
            made = await self._order(admitted, "keys.create", ordered)
        return json_response(_with_key(made), 201)

    async def rotate(self, key_id: str) -> Response:
        """Another key in the place of one, which goes on for `overlap_s` seconds.

        Raises:
            NotFoundError: this account has no such key.
            PermissionDeniedError: it may do what the key that asks may not.
            ConflictError: it is revoked, or was rotated before; the account has too many.
        """
        await self._ingress.admit()
        given = await read_json(self._gateway)
        if given.keys() - {"overlap_s"}:
            raise InvalidRequestError("A key is rotated with 'overlap_s' only.")
        overlap_s = given.get("overlap_s", _OVERLAP_DEFAULT_S)
        if type(overlap_s) is not int or not 0 <= overlap_s <= _OVERLAP_MAX_S:
            raise InvalidRequestError(
                f"'overlap_s' is a whole number from 0 to {_OVERLAP_MAX_S:,}.", param="overlap_s"
            )
        view = await self._own(self._ingress.authenticate(), key_id)
        async with self._maker() as admitted:
            check_within(terms_of(view.terms), admitted.entry.terms)
            ordered = {"key_id": key_id, "overlap_s": overlap_s}
            made = await self._order(admitted, "keys.rotate", ordered)
        return json_response(_with_key(made), 201)

    async def revoke(self, key_id: str) -> Response:
        """Refuse a key from now on; what it has started goes on. Again changes nothing, and is not
        ordered again. It takes nothing of a limit: whoever abuses a key must not keep its owner
        from closing it.

        Raises:
            NotFoundError: this account has no such key.
        """
        admitted = self._ingress.authenticate()
        view = await self._own(admitted, key_id)
        if view.key.revoked_at_ms is not None:
            return json_response(key_json(view))
        return json_response(await self._order(admitted, "keys.revoke", {"key_id": key_id}))

    async def _own(self, admitted: Admitted, key_id: str) -> KeyView:
        """A key of the account that asks; another account's is as good as none."""
        missing = NotFoundError("There is no such key.")
        try:
            view = await self._gateway.ledger.key(key_id)
        except NotFoundError:
            raise missing from None
        if view.key.account_id != _account_id(admitted):
            raise missing
        return view

    @asynccontextmanager
    async def _maker(self) -> AsyncIterator[Admitted]:
        """The key that asks, as it is now: it may have been closed while the body came. In the
        block it makes one more.

        Raises:
            GatewayError: as `Ingress.authenticate`; or by this key there can be no further one.
        """
        budgets = await self._gateway.ledger.budgets(_account_id(self._ingress.authenticate()))
        admitted = self._ingress.authenticate()
        entry = admitted.entry
        if any(
            view.budget.hard and view.budget.key_id == entry.principal.key_id for view in budgets
        ):
            raise PermissionDeniedError(
                "A key with a budget of its own makes no others: they would not keep to it."
            )
        account_id = _account_id(admitted)
        if entry.account.keys + self._making[account_id] >= KEYS_MAX:
            raise ConflictError(f"The account has {KEYS_MAX:,} keys: revoke one first.")
        self._making[account_id] += 1
        try:
            yield admitted
        finally:
            self._making[account_id] -= 1
            if not self._making[account_id]:
                del self._making[account_id]

    async def _order(self, admitted: Admitted, command: str, parameters: dict[str, Any]) -> Any:
        """Have a command run in the customer's name.

        Raises:
            GatewayError: refused; why the ledger cannot write is for the operator.
        """
        actor = Actor(f"key:{admitted.entry.principal.key_id}", current_entry().peer)
        try:
            return await execute(self._gateway, command, parameters, by=actor)
        except UnavailableError as error:
            raise UnavailableError(_UNWRITTEN[command], retry_after_s=1) from error


def _account_id(admitted: Admitted) -> str:
    return admitted.entry.principal.account_id


def _wanted(given: dict[str, Any], now_ms: int) -> Wanted:
    """What a new key is asked to be. Raises ValueError, InvalidRequestError."""
    for field in given.keys() - set(_FIELDS):
        raise InvalidRequestError(
            f"There is no field '{field[:100]}'; a key has {', '.join(_FIELDS)}.", param=field
        )
    name, preset = given.get("name", ""), given.get("preset")
    for field, text in (("name", name), ("preset", preset)):
        if not isinstance(text, str | None):
            raise ValueError(f"'{field}' is a string")
    scopes = given.get("scopes")
    read_key_budget(given.get("budget"))  # the command reads it again
    return Wanted(
        name=check_name(name or ""),
        scopes=None if scopes is None else frozenset(s for s in SCOPES if s in read_scopes(scopes)),
        models=_wanted_models(given),
        limits=Limits(**read_limits(given.get("limits"), preset)),
        expires_at_ms=read_expiry(given.get("expires_in"), now_ms),
    )


def _wanted_models(given: dict[str, Any]) -> ModelSet | None:
    """All of them where null is said, as it is shown; what is left out stays as it is."""
    if "models" not in given:
        return None
    models = read_models(given["models"])
    return ALL_MODELS if models is None else ModelSet.of(models)


def _limit() -> int | None:
    text = query_value("limit")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise InvalidRequestError("'limit' is a whole number.", param="limit")
    return int(text)


def _with_key(made: dict[str, Any]) -> dict[str, Any]:
    """The key itself under the name that customers know."""
    return {"key": made.pop("secret"), **made}
