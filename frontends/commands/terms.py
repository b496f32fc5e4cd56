"""What a key may do, as operators say it: read from JSON, and shown as JSON.

Every reader raises ValueError for a value that is none; the message is for whoever gave it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from engine.admission.keys import SCOPES
from engine.admission.plans import ALL_MODELS, PRESETS, Limits, ModelSet
from engine.ledger.receipts import format_time
from engine.ledger.records import KeyView, TermsRow
from engine.ledger.terms import check_name
from engine.ledger.windows import PERIODS, Period
from frontends.money import read_usd

Json = Any

MODELS_MAX: Final = 1_000
MODEL_MAX_CHARS: Final = 200
LIMIT_MAX: Final = 1_000_000_000
EXPIRES_IN_MAX_S: Final = 100 * 365 * 86_400
LIMIT_NAMES: Final = tuple(spec.name for spec in dataclasses.fields(Limits))
SOFT_PERCENTS: Final = (80, 100)
"""When a budget is told of that says nothing else."""


@dataclass(frozen=True, slots=True)
class KeyBudget:
    """What a key may spend, given with the key itself."""

    period: Period
    limit_nanodollars: int


def read_scopes(value: Json) -> tuple[str, ...]:
    """Some of the known scopes, each once."""
    if not isinstance(value, list) or not value or not all(each in SCOPES for each in value):
        raise ValueError(f"'scopes' is a list of some of {', '.join(SCOPES)}")
    return tuple(scope for scope in SCOPES if scope in value)


def read_models(value: Json) -> tuple[str, ...] | None:
    """Names of models, and beginnings of names with `*` after them; None is all."""
    if value is None:
        return None
    if not isinstance(value, list) or not 1 <= len(value) <= MODELS_MAX:
        raise ValueError(f"'models' is a list of 1 to {MODELS_MAX:,} names of models")
    for pattern in value:
        if not isinstance(pattern, str) or not 1 <= len(pattern) <= MODEL_MAX_CHARS:
            raise ValueError("a model is named by its name, or by its beginning and '*'")
        if "*" in pattern[:-1] or not pattern.isprintable():
            raise ValueError(f"'{pattern[:40]}' has '*' elsewhere than at its end")
    return tuple(sorted(set(value)))


def read_limits(limits: Json, preset: Json = None) -> dict[str, int]:
    """Limits by their names, over those of a preset; one that is None or left out is none."""
    if preset is not None and preset not in tuple(PRESETS):
        raise ValueError(f"'preset' is one of {', '.join(PRESETS)}")
    found = {} if preset is None else _said(dataclasses.asdict(PRESETS[preset]))
    if limits is None:
        return found
    if not isinstance(limits, dict) or not limits.keys() <= set(LIMIT_NAMES):
        raise ValueError(f"'limits' is an object with some of {', '.join(LIMIT_NAMES)}")
    for name, value in limits.items():
        if value is not None and not (type(value) is int and 1 <= value <= LIMIT_MAX):
            raise ValueError(f"'{name}' is a whole number from 1 on")
    return _said({**found, **limits})


def _said(limits: Mapping[str, int | None]) -> dict[str, int]:
    return {name: limit for name, limit in limits.items() if limit is not None}


def read_expiry(expires_in_s: Json, now_ms: int) -> int | None:
    """When something ends that lives so many seconds from now; None: it does not end."""
    if expires_in_s is None:
        return None
    if type(expires_in_s) is not int or not 1 <= expires_in_s <= EXPIRES_IN_MAX_S:
        raise ValueError(f"'expires_in' is 1 to {EXPIRES_IN_MAX_S:,} seconds")
    return now_ms + expires_in_s * 1_000


def read_period(value: Json) -> Period:
    """A period of budgets."""
    for period in PERIODS:
        if value == period:
            return period
    raise ValueError(f"A budget is of a {', a '.join(PERIODS[:2])} or in {PERIODS[2]}.")


def read_key_budget(value: Json) -> KeyBudget | None:
    """`{"usd": "5.00", "period": "month"}`, or None. Unlike other amounts, which do not name their
    unit, an integer is US dollars too."""
    if value is None:
        return None
    if not isinstance(value, dict) or value.keys() != {"usd", "period"}:
        raise ValueError("'budget' is an object of 'usd' and 'period'")
    usd = str(value["usd"]) if type(value["usd"]) is int else value["usd"]
    if not isinstance(usd, str):
        raise ValueError("'usd' of a budget is US dollars, such as \"5.00\": a float is not exact")
    return KeyBudget(read_period(value["period"]), read_usd(usd))


def changed_terms(terms: TermsRow, changes: Mapping[str, Json], now_ms: int) -> TermsRow:
    """The terms with what `changes` names: `name`, `scopes`, `models`, `limits`, `preset`,
    `expires_in`. Limits change one by one; null takes one away."""
    unknown = changes.keys() - _CHANGES.keys() - {"limits", "preset"}
    if unknown:
        raise ValueError(f"there is no '{min(unknown)[:40]}' to change in a key, but {_CHOICE}")
    if not changes:
        raise ValueError(f"nothing is changed: give {_CHOICE}")
    found: dict[str, Any] = {}
    for name in changes.keys() & _CHANGES.keys():
        field, read = _CHANGES[name]
        found[field] = read(changes[name], now_ms)
    if changes.keys() & {"limits", "preset"}:
        given, preset = changes.get("limits"), changes.get("preset")
        anew = preset is not None or ("limits" in changes and given is None)
        kept = {} if anew else dict(terms.limits)
        if isinstance(given, dict):
            given = {**kept, **given}
        found["limits"] = read_limits(kept if given is None else given, preset)
    return replace(terms, **found)


def _text(value: Json, _: int) -> str:
    if not isinstance(value, str):
        raise ValueError("'name' is text")
    return check_name(value)


_CHANGES: Final[Mapping[str, tuple[str, Callable[[Json, int], Any]]]] = {
    "name": ("name", _text),
    "scopes": ("scopes", lambda value, _: read_scopes(value)),
    "models": ("models", lambda value, _: read_models(value)),
    "expires_in": ("expires_at_ms", read_expiry),
}
"""The field of the terms, and how its value is read at a moment."""
_CHOICE: Final = f"{', '.join(_CHANGES)}, limits or preset"


def models_json(models: ModelSet) -> list[str] | None:
    """Names and beginnings of names; None: all."""
    return None if models == ALL_MODELS else list(models.patterns)


def terms_json(terms: TermsRow) -> dict[str, Json]:
    """What a key may do."""
    expires_at_ms = terms.expires_at_ms
    return {
        "scopes": list(terms.scopes),
        "models": None if terms.models is None else list(terms.models),
        "limits": dict(terms.limits),
        "expires_at": None if expires_at_ms is None else format_time(expires_at_ms),
        "replaced_by": terms.replaced_by,
    }


def key_json(view: KeyView) -> dict[str, Json]:
    """A key without its secret."""
    row = view.key
    revoked_at_ms = row.revoked_at_ms
    return {
        "key_id": row.key_id,
        "account_id": row.account_id,
        "name": view.terms.name,
        "prefix": row.prefix,
        "created_at": format_time(row.created_at_ms),
        "revoked_at": None if revoked_at_ms is None else format_time(revoked_at_ms),
        **terms_json(view.terms),
        "off": view.off,
    }
