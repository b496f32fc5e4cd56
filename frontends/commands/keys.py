"""Keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import NoneType

from engine.admission.keys import KEY_PREFIX, digest, new_secret, shown_prefix
from engine.errors import NotFoundError
from engine.ledger.budgets import BudgetTerms
from engine.ledger.records import KeyView, TermsRow
from engine.ledger.terms import check_name
from frontends.commands.budgets import view_json
from frontends.commands.command import (
    Command,
    Desk,
    Json,
    Parameters,
    account_id_given,
    page_json,
    page_size,
)
from frontends.commands.terms import (
    SOFT_PERCENTS,
    changed_terms,
    key_json,
    read_expiry,
    read_key_budget,
    read_limits,
    read_models,
    read_scopes,
)

OVERLAP_DEFAULT_S = 3_600


async def _create_key(desk: Desk, given: Parameters) -> Json:
    ledger, name = desk.ledger, check_name(given["name"])
    plain = TermsRow(name)
    scopes = given["scopes"]
    terms = TermsRow(
        name,
        scopes=plain.scopes if scopes is None else read_scopes(scopes),
        models=read_models(given["models"]),
        limits=read_limits(given["limits"], given["preset"]),
        expires_at_ms=_expiry(given, ledger.clock()),
    )
    budget = read_key_budget(given["budget"])
    budgets = (
        ()
        if budget is None
        else (BudgetTerms(budget.period, budget.limit_nanodollars, soft_percents=SOFT_PERCENTS),)
    )
    secret, prefix = _new_secret(desk)
    row = await ledger.create_key(
        given["account"], name, digest(secret), shown_prefix(secret, prefix), terms, budgets
    )
    return {**key_json(KeyView(row, terms, off=False)), "secret": secret}


def _expiry(given: Parameters, now_ms: int) -> int | None:
    """Of the moment and the time that are given, what comes first."""
    at_ms = given["expires_at_ms"]
    if at_ms is not None and at_ms <= now_ms:
        raise ValueError("'expires_at_ms' is a moment to come, in milliseconds since 1970")
    ends = (at_ms, read_expiry(given["expires_in"], now_ms))
    return min((end for end in ends if end is not None), default=None)


async def _rotate_key(desk: Desk, given: Parameters) -> Json:
    overlap_s = OVERLAP_DEFAULT_S if given["overlap_s"] is None else given["overlap_s"]
    secret, prefix = _new_secret(desk)
    with named_key(given["key_id"]):
        row, old = await desk.ledger.rotate_key(
            given["key_id"], digest(secret), shown_prefix(secret, prefix), overlap_s * 1_000
        )
    made = await desk.ledger.key(row.key_id)
    return {**key_json(made), "secret": secret, "replaces": key_json(old)}


def _new_secret(desk: Desk) -> tuple[str, str]:
    """A key, and what it begins with."""
    prefix = KEY_PREFIX if desk.running is None else desk.running.config.limits.key_prefix
    return new_secret(prefix), prefix


@contextmanager
def named_key(key_id: str) -> Iterator[None]:
    """Says of a key that is not there where to look."""
    try:
        yield
    except NotFoundError:
        raise NotFoundError(
            f"There is no key '{key_id[:100]}'; 'parshall keys list' shows their ids."
        ) from None


async def _set_key(desk: Desk, given: Parameters) -> Json:
    changes, now_ms = given["changes"], desk.ledger.clock()
    with named_key(given["key_id"]):
        view = await desk.ledger.set_key_terms(
            given["key_id"], lambda terms: changed_terms(terms, changes, now_ms)
        )
    return key_json(view)


async def _show_key(desk: Desk, given: Parameters) -> Json:
    with named_key(given["key_id"]):
        view = await desk.ledger.key(given["key_id"])
    budgets = await desk.ledger.budgets(view.key.account_id)
    own = [view_json(each) for each in budgets if each.budget.key_id == view.key.key_id]
    return {**key_json(view), "budgets": own}


async def _list_keys(desk: Desk, given: Parameters) -> Json:
    page = await desk.ledger.list_keys(
        given["account"], limit=page_size(given), cursor=given["cursor"]
    )
    return page_json([key_json(view) for view in page.keys], page.cursor)


async def _revoke_key(desk: Desk, given: Parameters) -> Json:
    with named_key(given["key_id"]):
        await desk.ledger.revoke_key(given["key_id"])
        return key_json(await desk.ledger.key(given["key_id"]))


COMMANDS: Mapping[str, Command] = {
    "keys.create": Command(
        _create_key,
        {
            "account": (str,),
            "name": (str,),
            "expires_in": (int, NoneType),
            "expires_at_ms": (int, NoneType),
            "scopes": (list, NoneType),
            "models": (list, NoneType),
            "limits": (dict, NoneType),
            "preset": (str, NoneType),
            "budget": (dict, NoneType),
        },
        adds=True,
        resolve=account_id_given,
    ),
    "keys.show": Command(_show_key, {"key_id": (str,)}),
    "keys.list": Command(
        _list_keys,
        {"account": (str, NoneType), "limit": (int, NoneType), "cursor": (str, NoneType)},
        resolve=account_id_given,
    ),
    "keys.set": Command(
        _set_key,
        {"key_id": (str,), "changes": (dict,)},
        adds=True,
        restricts=True,
        subject="key_id",
    ),
    "keys.rotate": Command(
        _rotate_key,
        {"key_id": (str,), "overlap_s": (int, NoneType)},
        adds=True,
        subject="key_id",
    ),
    "keys.revoke": Command(
        _revoke_key, {"key_id": (str,)}, adds=True, restricts=True, subject="key_id"
    ),
}
