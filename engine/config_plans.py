"""What is wrong with operators, plans and limits that no single value can say."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from engine.admission.plans import ModelSet
from engine.config_access import ADMIN_VARIABLE, PlanConfig
from engine.config_tables import Config
from engine.toml import Keys, TableReader

SECRET_MIN_CHARS: Final = 32
SECRET_MAX_CHARS: Final = 256
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""Of a plan, or of an operator."""
_VISIBLE: Final = re.compile(r"[\x21-\x7e]+")
_KEY_PREFIX: Final = re.compile(r"(?=.{2,20}\Z)[a-z0-9][a-z0-9-]*-")
_BUDGET_MAX_USD: Final = 10_000_000
"""As much as a transfer can have."""
_NANODOLLAR: Final = Decimal("1e-9")
_HOW: Final = "for instance of 'openssl rand -hex 32'"


def require_operator(config: Config) -> None:
    """Nothing is served that nobody can administer, and no secret is there by default.

    Raises:
        ConfigError: no operator has a credential; says how to give one.
    """
    if next(config.admin.credentials(), None) is None:
        raise config.error(
            ("admin",),
            f"needs a credential of the operator: set the environment variable {ADMIN_VARIABLE}, "
            f'or add [admin] with secret = "env:NAME" or "file:/path"; {SECRET_MIN_CHARS} '
            f"characters or more, {_HOW}",
        )


def check_access(config: Config, environ: Mapping[str, str]) -> None:
    """Operators, limits and plans.

    Raises:
        ConfigError: with the line.
    """
    _check_operators(config, environ)
    prefix = config.limits.key_prefix
    if not _KEY_PREFIX.fullmatch(prefix):
        raise config.error(
            ("limits", "key_prefix"),
            f"must be 2 to 20 of a-z, 0-9 and '-', with a '-' at the end, not {prefix!r}",
        )
    default = config.limits.default_plan
    if default is not None and default not in config.plans:
        raise config.error(
            ("limits", "default_plan"),
            f"names the plan '{default}', which is not configured"
            + TableReader.suggestion(default, config.plans),
        )
    for name, plan in config.plans.items():
        check_plan(name, plan, config, ("plans", name))


def _check_operators(config: Config, environ: Mapping[str, str]) -> None:
    owners: dict[str, str] = {}
    for name in config.admin.operators:
        if not NAME.fullmatch(name):
            raise config.error(
                ("admin", "operators", name), "must be letters, digits, '.', '_' and '-'"
            )
    for owner, secret in config.admin.credentials():
        operator = owner.partition(":")[2]
        keys: Keys = ("admin", "operators", operator) if operator else ("admin",)
        _check_secret((*keys, "secret"), secret, config, environ)
        if secret in owners:
            raise config.error(
                (*keys, "secret"), f"is that of '{owners[secret]}' too: the log could not tell them"
            )
        owners[secret] = owner
    for entry in config.admin.allow:
        try:
            if entry != "unix":
                ipaddress.ip_network(entry)
        except ValueError:
            raise config.error(
                ("admin", "allow"),
                f"has '{entry}', which is neither an address, a network nor 'unix'",
            ) from None


def _check_secret(keys: Keys, secret: str, config: Config, environ: Mapping[str, str]) -> None:
    of_variable = secret == environ.get(ADMIN_VARIABLE, "").strip()
    said = f"(the variable {ADMIN_VARIABLE}) " if of_variable else ""
    if not SECRET_MIN_CHARS <= len(secret) <= SECRET_MAX_CHARS:
        raise config.error(
            keys,
            f"{said}has {len(secret)} characters, and must have {SECRET_MIN_CHARS} to "
            f"{SECRET_MAX_CHARS}: {_HOW}",
        )
    if not _VISIBLE.fullmatch(secret):
        raise config.error(keys, f"{said}must be visible ASCII without spaces: it is sent as such")


def check_plan(name: str, plan: PlanConfig, config: Config, path: Keys) -> None:
    """A plan, whoever made it. Raises ConfigError."""
    if not NAME.fullmatch(name):
        raise config.error(
            path, "must be up to 64 letters, digits, '.', '_' and '-', the first no sign"
        )
    known = [*config.models, *([] if config.auto is None else [config.auto.name])]
    for pattern in plan.models or ():
        models = ModelSet.of([pattern])
        if not any(model in models for model in known):
            raise config.error(
                (*path, "models"),
                f"names '{pattern}', and there is no such model"
                + TableReader.suggestion(pattern, known),
            )
    budget = plan.monthly_budget_usd
    if budget is not None and not _is_budget(budget):
        raise config.error(
            (*path, "monthly_budget_usd"),
            "must be more than 0, 10,000,000 at most, and no finer than a nanodollar",
        )
    for model in plan.prices:
        if model not in config.models:
            raise config.error(
                (*path, "prices", model),
                "is the price of a model that is not configured"
                + TableReader.suggestion(model, config.models),
            )


def _is_budget(usd: Decimal) -> bool:
    return (
        usd.is_finite()
        and _NANODOLLAR <= usd <= _BUDGET_MAX_USD
        and usd == usd.quantize(_NANODOLLAR)
    )
