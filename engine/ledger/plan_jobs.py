"""Plans of accounts, plans and prices that operators make, and switches: each a transaction that
the journal's thread runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import orjson
from sqlite_utils import Database

from engine.errors import NotFoundError
from engine.ledger.budget_jobs import InForce, Wanted, in_force, put_budget
from engine.ledger.changes import PlanSet, PriceSet, Switched
from engine.ledger.queries import find_key, is_customer, reading
from engine.ledger.records import ConflictError
from engine.ledger.sqlite import Store

_PLAN_OF = "SELECT plan FROM current_plans WHERE account_id = ?"
_OTHER_BUDGET = """
SELECT current_plans.account_id FROM current_plans LEFT JOIN wanted_budgets AS wanted
    ON wanted.account_id = current_plans.account_id AND wanted.key_id IS NULL
        AND wanted.period = 'month' AND wanted.origin = 'plan'
WHERE plan = ? AND limit_nanodollars IS NOT ?
"""
_PRICE = "SELECT rates FROM prices WHERE scope = ? AND owner = ? AND model = ?"
_SWITCH = "SELECT reason FROM switched_off WHERE kind = ? AND subject = ?"


def assign_plan(
    store: Store, account_id: str, plan: str | None, monthly_budget_nanodollars: int | None
) -> InForce:
    """Put an account on a plan, or on none; what limits it in a month then.

    Raises:
        NotFoundError: no such account.
    """

    def insert(db: Database) -> InForce:
        if not is_customer(db, account_id):
            raise NotFoundError("There is no such account.")
        return put_account_plan(store, account_id, plan, monthly_budget_nanodollars)

    return store.run(insert)


def put_account_plan(
    store: Store, account_id: str, plan: str | None, monthly_budget_nanodollars: int | None
) -> InForce:
    """The rows of `assign_plan`, where they change something; within a job."""
    db = store.db
    if _plan_of(db, account_id) != plan:
        row = (account_id, plan, store.clock())
        db.execute("INSERT INTO account_plans (account_id, plan, at_ms) VALUES (?, ?, ?)", row)
    return _put_month(store, account_id, monthly_budget_nanodollars)


def _put_month(store: Store, account_id: str, monthly_budget_nanodollars: int | None) -> InForce:
    wanted = Wanted(account_id, None, "month", monthly_budget_nanodollars, origin="plan")
    put_budget(store.db, wanted, store.clock())
    return in_force(store, wanted)


def _plan_of(db: Database, account_id: str) -> str | None:
    return next((plan for (plan,) in db.execute(_PLAN_OF, [account_id]).fetchall()), None)


def with_another_budget(path: Path, plan: str, monthly_budget_nanodollars: int | None) -> list[str]:
    """The accounts on a plan whose plan has allowed them something else in a month."""
    with reading(path) as db:
        rows = db.execute(_OTHER_BUDGET, (plan, monthly_budget_nanodollars)).fetchall()
        return [account_id for (account_id,) in rows]


def set_plan_budgets(
    store: Store, account_ids: Sequence[str], plan: str, monthly_budget_nanodollars: int | None
) -> list[InForce]:
    """Let a plan allow these accounts this much in a month, those that are on it still; what
    limits each of them then."""

    def insert(db: Database) -> list[InForce]:
        return [
            _put_month(store, account_id, monthly_budget_nanodollars)
            if _plan_of(db, account_id) == plan
            else in_force(store, Wanted(account_id, None, "month", None))
            for account_id in account_ids
        ]

    return store.run(insert)


def stored_plans(path: Path) -> list[PlanSet]:
    """The plans that operators have made."""
    with reading(path) as db:
        return made_plans(db)


def made_plans(db: Database) -> list[PlanSet]:
    """See `stored_plans`."""
    rows = db.execute("SELECT name, body FROM plans ORDER BY change_id").fetchall()
    return [PlanSet(name, orjson.loads(body)) for name, body in rows]


def set_plan(store: Store, name: str, body: str) -> None:
    """Make a plan, or change it; the same again changes nothing."""

    def insert(db: Database) -> None:
        if _body(db, name) != body:
            _put_plan(store, name, body)

    store.run(insert)


def remove_plan(store: Store, name: str) -> None:
    """Remove a plan.

    Raises:
        ConflictError: accounts are on it.
        NotFoundError: there is none of that name.
    """

    def insert(db: Database) -> None:
        if _body(db, name) is None:
            raise NotFoundError("There is no such plan.")
        ((accounts,),) = db.execute(
            "SELECT count(*) FROM current_plans WHERE plan = ?", [name]
        ).fetchall()
        if accounts:
            are = "1 account is" if accounts == 1 else f"{accounts:,} accounts are"
            raise ConflictError(f"{are} on the plan '{name}': put them on another one first.")
        _put_plan(store, name, None)

    store.run(insert)


def _body(db: Database, name: str) -> str | None:
    rows = db.execute("SELECT body FROM plans WHERE name = ?", [name]).fetchall()
    return next((body for (body,) in rows), None)


def _put_plan(store: Store, name: str, body: str | None) -> None:
    store.db.table("plan_changes").insert({"name": name, "body": body, "at_ms": store.clock()})


def stored_prices(path: Path) -> list[PriceSet]:
    """The prices that operators have set."""
    with reading(path) as db:
        return made_prices(db)


def made_prices(db: Database) -> list[PriceSet]:
    """See `stored_prices`."""
    rows = db.execute("SELECT scope, owner, model, rates FROM prices ORDER BY change_id").fetchall()
    return [
        PriceSet(scope, owner, model, orjson.loads(rates)) for scope, owner, model, rates in rows
    ]


def set_price(store: Store, scope: str, owner: str, model: str, rates: str) -> None:
    """Set a price; the same again changes nothing.

    Raises:
        NotFoundError: no such account.
    """

    def insert(db: Database) -> None:
        if scope == "account" and not is_customer(db, owner):
            raise NotFoundError("There is no such account.")
        if _rates(db, scope, owner, model) != rates:
            _put_price(store, scope, owner, model, rates)

    store.run(insert)


def remove_price(store: Store, scope: str, owner: str, model: str) -> None:
    """Remove a price. Raises NotFoundError: there is none."""

    def insert(db: Database) -> None:
        if _rates(db, scope, owner, model) is None:
            raise NotFoundError("There is no such price.")
        _put_price(store, scope, owner, model, None)

    store.run(insert)


def _rates(db: Database, scope: str, owner: str, model: str) -> str | None:
    rows = db.execute(_PRICE, [scope, owner, model]).fetchall()
    return next((rates for (rates,) in rows), None)


def _put_price(store: Store, scope: str, owner: str, model: str, rates: str | None) -> None:
    row = {"scope": scope, "owner": owner, "model": model, "rates": rates, "at_ms": store.clock()}
    store.db.table("price_changes").insert(row)


def switch(store: Store, change: Switched) -> None:
    """Switch something off or on; the same again changes nothing.

    Raises:
        NotFoundError: no such key or account.
    """
    kind, subject = change.kind, change.subject

    def insert(db: Database) -> None:
        if kind == "key" and find_key(db, subject) is None:
            raise NotFoundError("There is no such key.")
        if kind == "account" and not is_customer(db, subject):
            raise NotFoundError("There is no such account.")
        off = [reason for (reason,) in db.execute(_SWITCH, [kind, subject]).fetchall()]
        if off != ([change.reason] if change.off else []):
            row = {
                "kind": kind,
                "subject": subject,
                "off": int(change.off),
                "reason": change.reason,
                "at_ms": store.clock(),
            }
            db.table("switches").insert(row)

    store.run(insert)
