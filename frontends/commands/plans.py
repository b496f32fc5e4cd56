"""Plans: those of the configuration are shown, those that operators make are kept in the ledger."""

from __future__ import annotations

from collections.abc import Mapping

from engine.admission.plans import Plan
from engine.errors import NotFoundError
from engine.ledger.receipts import money_json
from engine.ledger.records import ConflictError
from engine.overrides import check_new_plan, stored_plan
from frontends.commands.command import Command, Desk, Json, Parameters, page_json, running_of
from frontends.commands.terms import LIMIT_NAMES, models_json


async def find_plan(desk: Desk, name: str) -> Plan:
    """The plan of this name. Raises NotFoundError, with where to look."""
    plan = (await _plans(desk)).get(name)
    if plan is None:
        hint = "" if desk.running else " Only a running server knows those of its configuration."
        raise NotFoundError(
            f"There is no plan '{name[:100]}'; 'parshall plans list' shows them.{hint}"
        )
    return plan


async def _plans(desk: Desk) -> Mapping[str, Plan]:
    """All plans; without a server, those that the ledger keeps."""
    if desk.running is not None:
        return desk.running.rules.plans
    return {
        change.name: stored_plan(change.name, change.body)
        for change in await desk.ledger.plans()
        if change.body is not None
    }


async def _list_plans(desk: Desk, given: Parameters) -> Json:
    plans = await _plans(desk)
    in_use = desk.ledger.plans_in_use
    rows = [{**plan_json(plans[name]), "accounts": in_use.get(name, 0)} for name in sorted(plans)]
    return page_json(rows, None)


async def _show_plan(desk: Desk, given: Parameters) -> Json:
    name = given["name"]
    plan = plan_json(await find_plan(desk, name))
    return {**plan, "accounts": desk.ledger.plans_in_use.get(name, 0)}


async def _set_plan(desk: Desk, given: Parameters) -> Json:
    running, name = running_of(desk), given["name"]
    _check_ours(running.rules.plans.get(name))
    body = check_new_plan(name, given["plan"], running.config)
    await desk.ledger.set_plan(name, body)
    await running.spread_budgets()
    return await _show_plan(desk, given)


async def _remove_plan(desk: Desk, given: Parameters) -> Json:
    plan = await find_plan(desk, given["name"])
    _check_ours(plan)
    await desk.ledger.remove_plan(plan.name)
    return plan_json(plan)


def _check_ours(plan: Plan | None) -> None:
    if plan is not None and plan.source == "file":
        raise ConflictError(
            f"The plan '{plan.name}' is in the configuration: change it there, and reload."
        )


def plan_json(plan: Plan) -> dict[str, Json]:
    """A plan as it is shown; null is no limit, or all models."""
    budget = plan.monthly_budget_nanodollars
    return {
        "name": plan.name,
        "models": models_json(plan.models),
        **{name: getattr(plan.limits, name) for name in LIMIT_NAMES},
        "monthly_budget": None if budget is None else money_json(budget),
        "storage_max_bytes": plan.storage_max_bytes,
        "families": None if plan.families is None else sorted(plan.families),
        "source": plan.source,
    }


COMMANDS: Mapping[str, Command] = {
    "plans.list": Command(_list_plans, {}),
    "plans.show": Command(_show_plan, {"name": (str,)}),
    "plans.set": Command(_set_plan, {"name": (str,), "plan": (dict,)}, adds=True, subject="name"),
    "plans.remove": Command(_remove_plan, {"name": (str,)}, adds=True, subject="name"),
}
