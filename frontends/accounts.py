"""The customer's own view: what the account has, may do and has used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Final

from quart import Blueprint, Response, request

from engine import Gateway
from engine.admission.limits import LimitStatus, Window
from engine.errors import ConcurrencyLimitedError
from engine.ledger.receipts import format_time, money_json
from engine.rules import Admitted
from frontends.commands.budgets import view_json
from frontends.commands.terms import models_json
from frontends.ingress import Ingress
from frontends.keys import read_query
from frontends.rendering import json_response
from frontends.usage_queries import read_usage, usage_query

USAGE_AT_ONCE_MAX: Final = 2
"""Of one account: each is a thread that reads the database."""


class AccountRoutes:
    """The routes of one ingress and its gateway."""

    def __init__(self, ingress: Ingress, gateway: Gateway) -> None:
        self._ingress = ingress
        self._gateway = gateway
        self._asking: dict[str, int] = {}

    def blueprint(self) -> Blueprint:
        """What an app registers."""
        routes = Blueprint("accounts", __name__)
        routes.get("/v1/account")(self.show)
        routes.get("/v1/usage")(self.usage)
        return routes

    async def show(self) -> Response:
        """Balance, plan, limits and budgets of the account that asks, and of its key."""
        admitted = self._ingress.authenticate()
        entry, terms = admitted.entry, admitted.entry.terms
        key_id, account_id = entry.principal.key_id, entry.principal.account_id
        ledger = self._gateway.ledger
        account = await ledger.account(account_id)
        budgets = await ledger.budgets(account_id)
        return json_response(
            {
                "account_id": account_id,
                "name": account.name,
                "balance": money_json(account.balance_nanodollars),
                "held": money_json(account.held_nanodollars),
                "available": money_json(account.available_nanodollars),
                "plan": _plan_json(admitted),
                "limits": _limits_json(self._gateway.limit_status(admitted)),
                "budgets": [
                    view_json(view) for view in budgets if view.budget.key_id in (None, key_id)
                ],
                "key": {
                    "key_id": key_id,
                    "name": terms.name,
                    "scopes": sorted(terms.scopes),
                    "models": models_json(terms.models),
                    "limits": asdict(terms.limits),
                    "expires_at": _time(terms.expires_at_ms),
                },
            }
        )

    async def usage(self) -> Response:
        """What the account that asks has used and paid, by day, key and model as it asks."""
        account_id = self._ingress.authenticate().entry.principal.account_id
        given = dict(read_query(request.query_string))
        ledger = self._gateway.ledger
        query = usage_query(given, ledger.clock())
        with self._taking_turn(account_id):
            return json_response(await read_usage(ledger, account_id, query))

    @contextmanager
    def _taking_turn(self, account_id: str) -> Iterator[None]:
        """One of the account's few queries at once. Raises ConcurrencyLimitedError."""
        asking = self._asking.get(account_id, 0)
        if asking >= USAGE_AT_ONCE_MAX:
            raise ConcurrencyLimitedError("Usage is being summed up for this account already.")
        self._asking[account_id] = asking + 1
        try:
            yield
        finally:
            self._asking[account_id] -= 1
            if not self._asking[account_id]:
                del self._asking[account_id]


def _plan_json(admitted: Admitted) -> dict[str, Any] | None:
    plan = admitted.plan
    if plan is None:
        return None
    budget_nanodollars = plan.monthly_budget_nanodollars
    return {
        "name": plan.name,
        "models": models_json(plan.models),
        "limits": asdict(plan.limits),
        "monthly_budget": None if budget_nanodollars is None else money_json(budget_nanodollars),
        "storage_max_bytes": plan.storage_max_bytes,
    }


def _limits_json(status: LimitStatus) -> dict[str, Any]:
    """What is left to this key: of its own limits and its account's, the one with the least."""
    streams = status.streams
    return {
        "requests": _window_json(status.requests),
        "tokens": _window_json(status.tokens),
        "streams": None if streams is None else {"limit": streams.limit, "open": streams.open},
    }


def _window_json(window: Window | None) -> dict[str, Any] | None:
    if window is None:
        return None
    return {
        "limit": window.limit,
        "remaining": window.remaining,
        "reset_s": round(window.reset_us / 1e6, 3),
    }


def _time(at_ms: int | None) -> str | None:
    return None if at_ms is None else format_time(at_ms)
