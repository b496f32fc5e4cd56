"""The API of operators: its routes are rows of their own already; said here is what they do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import NoneType
from typing import Any, Final

from frontends import admin
from frontends.commands import COMMANDS
from frontends.reference.account import paged
from frontends.reference.rows import (
    JSON,
    Example,
    Parameter,
    Row,
    Schema,
    answers_json,
    either,
    flag,
    listed,
    nullable,
    text,
    thing,
    whole,
)

TAG: Final = "Operators"
_AMOUNT: Final = "_nanodollars"
_MONEY: Final = either(
    text('US dollars, `"25.00"`', pattern=r"^-?\d{1,9}(\.\d{1,9})?$"), whole(detail="Nanodollars.")
)
_TYPES: Final[Mapping[type, Schema]] = {
    str: text(),
    int: whole(),
    bool: flag(),
    list: listed({}),
    dict: thing({}),
}
_ANSWER: Final = thing({}, detail="As `parshall --json` prints it.")
_LISTS: Final = frozenset(
    {"log.list", "accounts.list", "keys.list", "budgets.show", "receipts.list", "plans.list"}
    | {"prices.list", "exchanges.list", "switches.list"}
)

_OF_FUNDS: Final = frozenset({"accounts.adjust"})
"""What funds may not cover."""

_SAID: Final[Mapping[str, tuple[str, str]]] = {
    "serving.status": ("getStatus", "How the server does."),
    "serving.reload": ("reloadConfiguration", "Read the configuration again."),
    "log.list": ("listOrders", "Who changed what, the newest first."),
    "accounts.list": ("listAccounts", "All accounts."),
    "accounts.create": ("createAccount", "Make an account."),
    "accounts.show": ("showAccount", "An account and its balance."),
    "accounts.set": ("setAccount", "Put an account on a plan, or on none."),
    "accounts.fund": ("fundAccount", "Add funds; with a `reference`, once."),
    "accounts.adjust": ("adjustAccount", "Correct a balance."),
    "accounts.usage": ("showUsage", "What an account has used and paid."),
    "keys.list": ("showKeys", "Keys, of one account or all."),
    "keys.create": ("makeKey", "Make a key of an account."),
    "keys.show": ("showKey", "A key, its terms and budgets."),
    "keys.set": ("setKey", "Change the terms of a key."),
    "keys.revoke": ("endKey", "Refuse a key from now on."),
    "keys.rotate": ("replaceKey", "Another key in the place of one."),
    "budgets.show": ("showBudgets", "Budgets of an account and its keys."),
    "budgets.set": ("setBudget", "Bound what is spent in a period."),
    "budgets.remove": ("removeBudget", "Take a budget away."),
    "receipts.list": ("showReceipts", "Receipts of an account."),
    "receipts.show": ("showReceipt", "A receipt, with what the providers charge."),
    "receipts.refund": ("refundReceipt", "Give back what was charged, or a part of it."),
    "plans.list": ("listPlans", "All plans."),
    "plans.show": ("showPlan", "A plan."),
    "plans.set": ("setPlan", "Make or change a plan."),
    "plans.remove": ("removePlan", "Take a plan away that no account is on."),
    "prices.list": ("listPrices", "Prices that operators have set."),
    "prices.set": ("setPrice", "Set a price of a model."),
    "prices.remove": ("removePrice", "Take such a price away."),
    "routes.show": ("showRoutes", "How deployments do."),
    "routes.explain": ("explainRoute", "Where a request would go, and why; nothing is sent."),
    "exchanges.list": ("listExchanges", "Requests under way."),
    "exchanges.end": ("endExchange", "End a request that is under way."),
    "switches.list": ("listSwitches", "What is switched off."),
    "switches.off": ("switchOff", "Switch off an account, a key, a model, a provider, …"),
    "switches.on": ("switchOn", "Switch it on again."),
}
_CHAT: Final = {"model": "sim-openai", "messages": [{"role": "user", "content": "Hello"}]}
_EXAMPLES: Final[Mapping[str, Any]] = {
    "accounts.create": {"name": "acme", "fund": "25.00"},
    "accounts.set": {"plan": None},
    "accounts.fund": {"amount": "25.00", "reference": "invoice-7"},
    "accounts.adjust": {"amount": "-2.50", "reason": "funded twice"},
    "keys.create": {"name": "laptop", "expires_in": 86_400},
    "keys.set": {"limits": {"requests_per_min": 60}},
    "keys.rotate": {"overlap_s": 3_600},
    "budgets.set": {"limit": "50", "hard": True},
    "receipts.refund": {"reason": "the answer was cut"},
    "plans.set": {"requests_per_min": 30, "monthly_budget_usd": "5.00"},
    "prices.set": {"scope": "all", "model": "sim-anthropic", "rates": {"input": 1, "output": 4}},
    "routes.explain": {"body": _CHAT},
    "switches.off": {"reason": "abuse"},
}
_QUERIES: Final[Mapping[str, Mapping[str, str]]] = {
    "prices.remove": {"scope": "all", "model": "sim-anthropic"}
}


def _rows() -> Iterator[Row]:
    for route in admin.ROUTES:
        name, says = _SAID[route.command]
        nested = route.command == "keys.list" and "<account>" in route.rule
        in_url = route.method in ("GET", "DELETE")
        fields = dict(_fields(route))
        schema = paged(_ANSWER) if route.command in _LISTS else _ANSWER
        value = None if in_url else _EXAMPLES.get(route.command, {})
        yield Row(
            route.method,
            route.rule,
            f"{name}OfAccount" if nested else name,
            TAG,
            says,
            answers_json(schema, "As it is now.", route.status),
            asks={} if in_url else {JSON: _body(route, fields)},
            asks_required=any(NoneType not in kinds for kinds in fields.values()),
            parameters=tuple(_parameters(fields)) if in_url else (),
            examples=(Example("one", value, query=_QUERIES.get(route.command, {})),),
            refuses=(402, 404, 409, 502) if route.command in _OF_FUNDS else (404, 409, 502),
        )


def _fields(route: admin.Route) -> Iterator[tuple[str, tuple[type, ...]]]:
    """What is said beside the path: names of the command's parameters, and the types of each."""
    for name, kinds in COMMANDS[route.command].parameters.items():
        if f"<{name}>" not in route.rule.replace("<path:", "<"):
            yield name, kinds


def _body(route: admin.Route, fields: Mapping[str, tuple[type, ...]]) -> Schema:
    if route.whole is not None:
        return thing({}, detail="The fields that change.")
    shown = {name.removesuffix(_AMOUNT): _schema(name, kinds) for name, kinds in fields.items()}
    explicit = COMMANDS[route.command].explicit
    required = [
        name.removesuffix(_AMOUNT)
        for name, kinds in fields.items()
        if NoneType not in kinds or name in explicit
    ]
    return thing(shown, *required, closed=True)


def _parameters(fields: Mapping[str, tuple[type, ...]]) -> Iterator[Parameter]:
    for name, kinds in fields.items():
        schema = _TYPES[kinds[0]]
        yield Parameter(name.removesuffix(_AMOUNT), schema, required=NoneType not in kinds)


def _schema(name: str, kinds: tuple[type, ...]) -> Schema:
    schema = _MONEY if name.endswith(_AMOUNT) else _TYPES[kinds[0]]
    return nullable(schema) if NoneType in kinds else schema


SCHEMAS: Final[Mapping[str, Schema]] = {}
ROWS: Final = tuple(_rows())
