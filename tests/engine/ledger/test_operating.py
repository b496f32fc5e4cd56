"""What operators change is told to whoever follows; what restricts counts at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from engine.errors import NotFoundError, UnavailableError
from engine.ledger import open_ledger
from engine.ledger.changes import (
    AccountSet,
    Change,
    KeyClosed,
    KeyPut,
    PlanSet,
    PriceSet,
    Switched,
    SwitchKind,
    TermsSet,
)
from engine.ledger.records import TermsRow
from tests.engine.ledger.samples import (
    NARROW,
    database_locked,
    followed,
    funded_ledger,
    new_key,
    opening,
    settings_for,
    wait_until,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def state_of(changes: Iterable[Change]) -> dict[object, Change]:
    """What is left of changes once they have all been followed."""
    state: dict[object, Change] = {}
    for change in changes:
        match change:
            case KeyPut(key, _):
                state["key", key.key_id] = change
            case KeyClosed(key_id):
                state.pop(("key", key_id), None)
            case TermsSet(key_id, terms):
                before = state.get(("key", key_id))
                if isinstance(before, KeyPut):
                    key = replace(before.key, name=terms.name)
                    state["key", key_id] = KeyPut(key, terms)
            case AccountSet(account_id, plan, off):
                state["account", account_id] = change
                if plan is None and not off:
                    del state["account", account_id]
            case PlanSet(name, body):
                state["plan", name] = change
                if body is None:
                    del state["plan", name]
            case PriceSet(scope, owner, model, rates):
                state["price", scope, owner, model] = change
                if rates is None:
                    del state["price", scope, owner, model]
            case Switched(kind, subject, off, _):
                state["switch", kind, subject] = change
                if not off:
                    del state["switch", kind, subject]
    return state


async def test_what_is_loaded_is_what_was_told(path: Path) -> None:
    """Whatever operators did, a restart finds it as followers knew it."""
    async with funded_ledger(path) as (ledger, account_id):
        told = followed(ledger)
        other_id = (await ledger.create_account("other", plan="free")).account_id
        plain = await new_key(ledger, account_id)
        narrow = await ledger.create_key(other_id, "narrow", "digest 2", "sk-b", NARROW)
        revoked = await ledger.create_key(other_id, "revoked", "digest 3", "sk-c")
        await ledger.rotate_key(plain.key_id, "digest 4", "sk-d", 3_600_000)
        await ledger.set_key_terms(narrow.key_id, lambda terms: replace(terms, name="phone"))
        await ledger.revoke_key(revoked.key_id)
        await ledger.set_account_plan(account_id, "pro")
        for name in ("pro", "gone"):
            await ledger.set_plan(name, {"requests_per_min": 1_000})
        await ledger.remove_plan("gone")
        await ledger.set_price("account", account_id, "gpt-5", {"input": "0.3"})
        await ledger.set_price("plan", "pro", "gpt-5", {"input": "0.2"})
        await ledger.set_price("all", "", "gpt-5", {"input": "0.1"})
        await ledger.remove_price("plan", "pro", "gpt-5")
        await ledger.switch("provider", "sim", off=True, reason="they are down")
        await ledger.switch("model", "gpt-5", off=True)
        await ledger.switch("model", "gpt-5", off=False)
        await ledger.switch("account", other_id, off=True, reason="unpaid")
        await ledger.switch("key", narrow.key_id, off=True)
        loaded = await ledger.load_operations()
        assert state_of(loaded) == state_of(told)
        assert [type(each) for each in loaded] == [
            *(PlanSet, PriceSet, PriceSet, AccountSet, AccountSet),
            *(KeyPut, KeyPut, KeyPut, Switched, Switched, Switched),
        ]
        account = await ledger.account(other_id)
        assert (account.plan, account.off) == ("free", True)
    async with open_ledger(settings_for(path)) as ledger:
        assert await ledger.load_operations() == loaded
        assert await ledger.account(other_id) == account
        assert ledger.plans_in_use == {"free": 1, "pro": 1}
        assert [each.subject for each in ledger.switched_off()] == ["sim", other_id, narrow.key_id]
        assert (await ledger.key(narrow.key_id)).off


async def test_a_revocation_counts_when_it_cannot_be_written(path: Path) -> None:
    async with funded_ledger(path) as (ledger, account_id):
        key = await new_key(ledger, account_id)
        told = followed(ledger)
        with database_locked(path), pytest.raises(UnavailableError, match=r"from now on.*locked"):
            await ledger.revoke_key(key.key_id)
        assert told == [KeyClosed(key.key_id)]
        assert (await ledger.key(key.key_id)).key.revoked_at_ms is None
        assert (await ledger.revoke_key(key.key_id)).revoked_at_ms is not None


async def test_a_revocation_does_not_wait_for_a_journal_that_is_stuck(path: Path) -> None:
    async with funded_ledger(path, barrier_timeout_s=0.5) as (ledger, account_id):
        key = await new_key(ledger, account_id)
        told = followed(ledger)
        with database_locked(path):
            ledger.hold(account_id, "req_1", 10, opening("req_1", account_id))
            with pytest.raises(UnavailableError, match="from now on"):
                await ledger.revoke_key(key.key_id)
            assert told == [KeyClosed(key.key_id)]
        await wait_until(lambda: told == [KeyClosed(key.key_id)] * 2)
        assert (await ledger.key(key.key_id)).key.revoked_at_ms is not None, "it was still queued"


async def test_nobody_has_to_wait_for_what_they_changed(path: Path) -> None:
    async with funded_ledger(path) as (ledger, account_id):
        told = followed(ledger)
        with trio.move_on_after(0):
            await new_key(ledger, account_id)
        await wait_until(lambda: len(told) == 1)
        (key,) = await ledger.keys()
        assert told == [KeyPut(key, TermsRow("laptop"))]
        with trio.move_on_after(0):
            await ledger.revoke_key(key.key_id)
        assert told[1:] == [KeyClosed(key.key_id)], "before it is durable"
        await wait_until(lambda: len(told) == 3)
        assert (await ledger.keys())[0].revoked_at_ms is not None


async def test_what_is_switched_off_is_off_at_once_and_on_when_it_is_durable(path: Path) -> None:
    async with funded_ledger(path) as (ledger, account_id):
        key = await new_key(ledger, account_id)
        told = followed(ledger)
        off = Switched("key", key.key_id, True, "lost")
        with database_locked(path):
            with pytest.raises(UnavailableError, match="from now on"):
                await ledger.switch("key", key.key_id, off=True, reason="lost")
            assert ledger.switched_off() == told == [off]
            with pytest.raises(UnavailableError, match="locked"):
                await ledger.switch("key", key.key_id, off=False)
            assert ledger.switched_off() == told == [off]
        await ledger.switch("key", key.key_id, off=False)
        assert ledger.switched_off() == []
        with database_locked(path), pytest.raises(UnavailableError, match="from now on"):
            await ledger.set_key_terms(key.key_id, lambda terms: NARROW)
        assert told[-1] == TermsSet(key.key_id, NARROW)


async def test_an_account_is_switched_off_with_its_plan(path: Path) -> None:
    async with funded_ledger(path) as (ledger, account_id):
        await ledger.set_account_plan(account_id, "free")
        told = followed(ledger)
        await ledger.switch("account", account_id, off=True, reason=" unpaid ")
        off = [
            Switched("account", account_id, True, "unpaid"),
            AccountSet(account_id, "free", True),
        ]
        assert told == [*off, *off]
        await ledger.set_account_plan(account_id, None)
        await ledger.switch("account", account_id, off=False)
        assert told[4:] == [
            AccountSet(account_id, None, True),
            Switched("account", account_id, False, ""),
            AccountSet(account_id, None, False),
        ]


async def test_only_what_is_there_is_switched(path: Path) -> None:
    async with funded_ledger(path) as (ledger, _):
        kinds: tuple[SwitchKind, ...] = ("key", "account")
        for kind in kinds:
            with pytest.raises(NotFoundError):
                await ledger.switch(kind, "nothing", off=True)
        with pytest.raises(ValueError, match="reason"):
            await ledger.switch("model", "gpt-5", off=True, reason="a\x1b[2J")
        assert ledger.switched_off() == []
