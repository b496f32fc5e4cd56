"""Keys: what they may do, and how one takes the place of another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import NotFoundError
from engine.ledger import ConflictError, open_ledger
from engine.ledger.budgets import BudgetTerms
from engine.ledger.changes import Change, KeyPut, TermsSet
from engine.ledger.records import TermsRow
from engine.ledger.terms import MOMENT_MAX_MS, in_both
from tests.clocks import HOUR_MS, HandClock
from tests.engine.ledger.samples import (
    NARROW,
    USD,
    followed,
    funded_ledger,
    new_key,
    settings_for,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def instead(wanted: TermsRow) -> Callable[[TermsRow], TermsRow]:
    """Whatever the terms were."""
    return lambda _: wanted


async def test_a_key_has_terms(path: Path) -> None:
    async with funded_ledger(path) as (ledger, account_id):
        told = followed(ledger)
        plain = await new_key(ledger, account_id)
        assert (await ledger.key(plain.key_id)).terms == TermsRow("laptop")
        view = await ledger.set_key_terms(plain.key_id, lambda terms: NARROW)
        assert view.terms == NARROW == (await ledger.key(plain.key_id)).terms
        wide = await ledger.set_key_terms(plain.key_id, lambda terms: TermsRow(" phone "))
        assert wide.key.name == "phone" == (await ledger.keys())[0].name
        assert told == [
            KeyPut(plain, TermsRow("laptop")),
            TermsSet(plain.key_id, NARROW),
            TermsSet(plain.key_id, NARROW),
            TermsSet(plain.key_id, replace(NARROW, name="phone")),
            TermsSet(plain.key_id, TermsRow("phone")),
        ]
        for absurd in (
            replace(NARROW, name=""),
            replace(NARROW, scopes=("",)),
            replace(NARROW, models=("a\nb",)),
            replace(NARROW, limits={"requests_per_min": 0}),
            replace(NARROW, expires_at_ms=-1),
            replace(NARROW, expires_at_ms=MOMENT_MAX_MS + 1),
        ):
            with pytest.raises(ValueError, match=r"name|limited|expire"):
                await ledger.set_key_terms(plain.key_id, instead(absurd))
        with pytest.raises(NotFoundError):
            await ledger.set_key_terms("key_none", lambda terms: terms)
        await ledger.revoke_key(plain.key_id)
        with pytest.raises(ConflictError, match="revoked"):
            await ledger.set_key_terms(plain.key_id, lambda terms: terms)
        assert (await ledger.key(plain.key_id)).terms == TermsRow("phone")


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [
        (TermsRow("a"), TermsRow("b"), TermsRow("b")),
        (TermsRow("a"), replace(NARROW, name="b"), replace(NARROW, name="b")),
        (NARROW, TermsRow("b"), replace(NARROW, name="b")),
        (
            NARROW,
            TermsRow("b", ("keys",), ("gpt-5", "gpt-4"), {"requests_per_min": 30, "x": 1}, 5),
            TermsRow("b", (), ("gpt-5",), {"requests_per_min": 30, "x": 1}, 5),
        ),
        (
            TermsRow("a", models=("gpt-5*", "o3", "in-house")),
            TermsRow("b", models=("gpt-5-mini", "gpt-5-large*", "o*", "in-house")),
            TermsRow("b", models=("o3", "in-house", "gpt-5-mini", "gpt-5-large*")),
        ),
    ],
)
def test_terms_in_both_allow_what_each_of_them_does(
    first: TermsRow, second: TermsRow, both: TermsRow
) -> None:
    assert in_both(first, second) == both


async def test_a_key_is_limited_before_it_is_valid(path: Path) -> None:
    async with funded_ledger(path) as (ledger, account_id):
        limits: list[int] = []

        def listen(change: Change) -> None:
            assert isinstance(change, KeyPut)
            limits.append(ledger.spendable_nanodollars(account_id, change.key.key_id))

        ledger.follow(listen)
        budgets = [BudgetTerms("month", 700), BudgetTerms("total", 500, soft_percents=(90, 50))]
        key = await ledger.create_key(account_id, "laptop", "digest", "sk-b", None, budgets)
        assert limits == [500]
        assert {view.budget.period: view.budget.key_id for view in await ledger.budgets()} == {
            "month": key.key_id,
            "total": key.key_id,
        }
        with pytest.raises(ValueError, match="budget"):
            await ledger.create_key(
                account_id, "other", "digest 2", "sk-c", None, [BudgetTerms("day", 0)]
            )
        assert len(await ledger.keys()) == 1


async def test_a_rotated_key_goes_on_for_a_while(path: Path) -> None:
    clock = HandClock("2026-01-15 12:00")
    async with open_ledger(replace(settings_for(path), clock=clock)) as ledger:
        account_id = (await ledger.create_account("demo")).account_id
        await ledger.fund(account_id, USD, "first")
        key = await new_key(ledger, account_id, NARROW)
        await ledger.set_budget(account_id, key.key_id, "month", 700, soft_percents=[50])
        told = followed(ledger)
        new, old = await ledger.rotate_key(key.key_id, "digest 2", "sk-b", 3_600_000)
        ends = replace(NARROW, expires_at_ms=clock.now_ms + 3_600_000, replaced_by=new.key_id)
        assert old.terms == ends == (await ledger.key(key.key_id)).terms
        assert told == [KeyPut(new, NARROW), TermsSet(key.key_id, ends)]
        assert (await ledger.key(new.key_id)).terms == NARROW
        assert ledger.spendable_nanodollars(account_id, new.key_id) == 700
        with pytest.raises(ConflictError, match=f"rotated to '{new.key_id}'"):
            await ledger.rotate_key(key.key_id, "digest 3", "sk-c", 0)
        with pytest.raises(ConflictError, match="already"):
            await ledger.rotate_key(new.key_id, "digest", "sk-c", 0)
        for absurd in (-1, 367 * 86_400_000):
            with pytest.raises(ValueError, match="year"):
                await ledger.rotate_key(new.key_id, "digest 3", "sk-c", absurd)
        assert (await ledger.key(new.key_id)).terms == NARROW, "what fails changes nothing"
        await ledger.switch("key", new.key_id, off=True)
        with pytest.raises(ConflictError, match="switched off"):
            await ledger.rotate_key(new.key_id, "digest 3", "sk-c", 0)
        await ledger.switch("key", new.key_id, off=False)
        clock.now_ms = 2_000_000_000_000
        with pytest.raises(ConflictError, match="expired"):
            await ledger.rotate_key(new.key_id, "digest 3", "sk-c", 0)
        await ledger.revoke_key(new.key_id)
        with pytest.raises(ConflictError, match="revoked"):
            await ledger.rotate_key(new.key_id, "digest 3", "sk-c", 0)
        with pytest.raises(NotFoundError):
            await ledger.rotate_key("key_none", "digest 3", "sk-c", 0)


async def test_the_overlap_does_not_outlast_the_key(path: Path) -> None:
    clock = HandClock()
    async with open_ledger(replace(settings_for(path), clock=clock)) as ledger:
        account_id = (await ledger.create_account("demo")).account_id
        ends_at_ms = clock.now_ms + HOUR_MS
        key = await new_key(ledger, account_id, TermsRow("laptop", expires_at_ms=ends_at_ms))
        new, old = await ledger.rotate_key(key.key_id, "digest 2", "sk-b", 2 * HOUR_MS)
        assert old.terms.expires_at_ms == ends_at_ms
        assert (await ledger.key(new.key_id)).terms.expires_at_ms == ends_at_ms
