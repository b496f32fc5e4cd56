"""Plans and prices that operators make while the gateway runs: from JSON, and found by who asks.

Their JSON is what a table of the configuration has, with money as strings: `{"models": ["gpt-5*"],
"requests_per_min": 100, "monthly_budget_usd": "5.00"}`, `{"input": "1.25", "output": "10"}`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Literal, TypeVar

from engine.admission.plans import ALL_MODELS, Limits, ModelSet, Plan
from engine.config import Config, PlanConfig, PriceConfig
from engine.config_plans import check_plan
from engine.config_prices import ImagePriceConfig
from engine.errors import ConfigError, InvalidRequestError, NotFoundError
from engine.metering.pricing import NANODOLLARS_PER_DOLLAR, Rates
from engine.prices import configured
from engine.toml import Keys, TableReader

T = TypeVar("T")
Body = Mapping[str, Any]
Place = tuple[str, str, str]
"""(scope, owner, model), as in `engine.ledger.changes.PriceSet`."""
_NOWHERE: Final = Config()
_BY_IMAGE: Final = "by_image"
"""The one table of a price that holds others."""
_MONEY: Final = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,12})?")


@dataclass(frozen=True, slots=True)
class Prices:
    """What goes before the catalogue's prices: an account's before its plan's before everybody's,
    of each an operator's before the file's."""

    of_ledger: Mapping[Place, Rates] = field(default_factory=dict)
    of_file: Mapping[Place, Rates] = field(default_factory=dict)

    def find(self, model: str, account_id: str, plan: str | None) -> Rates | None:
        """What this account pays for a model, if anything is said of it here."""
        if not self.of_ledger and not self.of_file:
            return None
        for scope, owner in (("account", account_id), ("plan", plan), ("all", "")):
            place = (scope, owner or "", model)
            rates = self.of_ledger.get(place) or self.of_file.get(place)
            if rates is not None:
                return rates
        return None


def plan_of(name: str, row: PlanConfig, source: Literal["file", "ledger"]) -> Plan:
    """A plan, as admission takes it."""
    budget = row.monthly_budget_usd
    return Plan(
        name=name,
        models=ALL_MODELS if row.models is None else ModelSet.of(row.models),
        limits=Limits(row.requests_per_min, row.tokens_per_min, row.concurrent_streams),
        monthly_budget_nanodollars=(
            None if budget is None else int(budget * NANODOLLARS_PER_DOLLAR)
        ),
        storage_max_bytes=row.storage_max_bytes,
        families=row.families,
        source=source,
    )


def stored_plan(name: str, body: Body) -> Plan:
    """A plan that an operator has made. It may name models that there are no more.

    Raises:
        ConfigError: another version of this program made it.
    """
    return plan_of(name, _read(PlanConfig, body, "plan"), "ledger")


def stored_price(body: Body) -> Rates:
    """A price that an operator has set. Raises ConfigError, as `stored_plan`."""
    return configured(_read(PriceConfig, body, "price"), _NOWHERE, ("price",))


def check_new_plan(name: str, body: Body, config: Config) -> dict[str, Any]:
    """The body of a plan as the ledger keeps it.

    Raises:
        InvalidRequestError: it cannot be used; says why.
    """
    try:
        if body.get("prices"):
            raise InvalidRequestError("plan.prices are set one by one: as prices of a plan")
        plan = _read(PlanConfig, body, "plan")
        check_plan(name, plan, dataclasses.replace(config, source=None), ("plan",))
    except ConfigError as error:
        raise _refusal(error) from None
    return _kept(body)


def check_new_price(model: str, body: Body, config: Config) -> dict[str, Any]:
    """The rates of a price as the ledger keeps them.

    Raises:
        NotFoundError: there is no such model.
        InvalidRequestError: they cannot be used; says why.
    """
    if model not in config.models:
        raise NotFoundError(
            f"There is no model '{model[:100]}'{TableReader.suggestion(model, config.models)}"
        )
    try:
        stored_price(body)
    except ConfigError as error:
        raise _refusal(error) from None
    return _kept(body)


def price_json(price: PriceConfig) -> dict[str, Any]:
    """A price of the file as operators write theirs."""
    return _kept(dataclasses.asdict(price))


def _read(cls: type[T], body: Body, name: str) -> T:
    reader = TableReader("", "configuration", {}, secrets=())
    return reader.read(cls, _with_decimals(cls, body, reader, (name,)), (name,))


def _with_decimals(cls: Any, body: Body, reader: TableReader, path: Keys) -> dict[str, Any]:
    """The body as a table of a file: strings of digits where amounts are expected."""
    fields = {spec.name: spec for spec in dataclasses.fields(cls)}
    table = {}
    for key, value in body.items():
        if isinstance(value, float):
            raise reader.error((*path, key), "must be a string of digits: floats are not exact")
        money = key in fields and "Decimal" in str(fields[key].type)
        if money and isinstance(value, str):
            if not _MONEY.fullmatch(value):
                raise reader.error((*path, key), "must be a number, as digits")
            value = Decimal(value)
        if key == _BY_IMAGE and isinstance(value, list):
            value = [
                _with_decimals(ImagePriceConfig, row, reader, (*path, key))
                if isinstance(row, dict)
                else row
                for row in value
            ]
        if value is not None:
            table[key] = value
    return table


def _kept(body: Body) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in body.items():
        if isinstance(value, Decimal):
            kept[key] = str(value)
        elif key == _BY_IMAGE:
            if value:
                kept[key] = [_kept(row) for row in value]
        elif value is not None:
            kept[key] = value
    return kept


def _refusal(error: ConfigError) -> InvalidRequestError:
    return InvalidRequestError(str(error).removeprefix("configuration: ")[:1_000])
