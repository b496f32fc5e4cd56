"""Whose the things are that a request names, and who is asked because of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from engine.config_state import StateConfig
from engine.errors import InvalidRequestError, NotFoundError
from engine.owned import HeldRef, Pin
from engine.owning import REFS_MAX, OwnedLimitError, Owners
from engine.upstream.providers import Provider
from tests.engine.ledger.samples import funded_ledger
from tests.engine.ledger.test_owning import row_of

RESPONSE = HeldRef("resp_1", "response", "previous_response_id")
STORE = HeldRef("vs_1", "vector_store", "tools[0].vector_store_ids[0]")


@asynccontextmanager
async def owners_of(path: Path, most: int = 100) -> AsyncIterator[tuple[Owners, str, str]]:
    """With two accounts, the first of which has a response and a vector store."""
    async with funded_ledger(path / "ledger.db") as (ledger, mine):
        other = (await ledger.create_account("other")).account_id
        await ledger.own([row_of(mine, "resp_1"), row_of(mine, "vs_1", "vector_store")])
        yield Owners(ledger, lambda: StateConfig(ids_per_account_max=most)), mine, other


async def test_what_is_named_is_found_in_its_order(tmp_path: Path) -> None:
    async with owners_of(tmp_path) as (owners, mine, _):
        found = await owners.find(mine, [STORE, RESPONSE, STORE])
        assert [row.object_id for row in found] == ["vs_1", "resp_1", "vs_1"]
        assert owners.pin_of(found) == Pin("sim", "0123456789abcdef")
        assert owners.pin_of(await owners.find(mine, [])) is None


async def test_anothers_the_unknown_and_the_wrong_kind_are_the_same(tmp_path: Path) -> None:
    async with owners_of(tmp_path) as (owners, mine, other):
        refusals = []
        for account_id, refs in (
            (other, [RESPONSE]),
            (mine, [STORE, RESPONSE._replace(kind="conversation")]),
        ):
            with pytest.raises(NotFoundError) as refused:
                await owners.find(account_id, refs)
            refusals.append((refused.value.message, refused.value.param, refused.value.code))
        with pytest.raises(NotFoundError) as refused:
            await owners.find(mine, [RESPONSE._replace(object_id="resp_9")])
        said = refused.value.message.replace("resp_9", "resp_1")
        refusals.append((said, refused.value.param, refused.value.code))
        assert len(set(refusals)) == 1


async def test_a_request_names_so_many(tmp_path: Path) -> None:
    async with owners_of(tmp_path) as (owners, mine, _):
        assert len(await owners.find(mine, [STORE] * REFS_MAX)) == REFS_MAX
        with pytest.raises(InvalidRequestError):
            await owners.find(mine, [STORE] * (REFS_MAX + 1))


async def test_what_is_in_two_places_cannot_be_named_together() -> None:
    rows = [row_of("acct_1", "resp_1"), row_of("acct_1", "vs_1", "vector_store")]
    elsewhere = replace(rows[1], credential="f" * 16)
    with pytest.raises(InvalidRequestError) as refused:
        Owners.pin_of([rows[0], elsewhere], [RESPONSE, STORE])
    assert refused.value.param == STORE.path


def test_the_key_of_a_pin() -> None:
    provider = Provider("sim", "openai", "http://127.0.0.1/v1", api_keys=("a", "b"))
    providers = {"sim": provider}
    credential = provider.credential_id(1)
    assert Owners.key_of(Pin("sim", credential), providers) == (provider, 1)
    assert Owners.key_of(Pin("sim", "0" * 16), providers) == (provider, 0)  # it was renewed
    assert Owners.key_of(Pin("gone", credential), providers) is None


async def test_what_grows_at_once_grows_by_all_of_it(tmp_path: Path) -> None:
    async with owners_of(tmp_path) as (owners, mine, other):
        await owners.ledger.own([row_of(mine, "conv_1", "conversation")])
        async with trio.open_nursery() as nursery:
            for account_id in (mine, mine, mine, other):
                nursery.start_soon(owners.grow, account_id, "conv_1", 400)
        found = await owners.ledger.find_owned(mine, ["conv_1"])
        assert found["conv_1"].context_tokens == 300
        await owners.grow(mine, "conv_9", 400)
        assert await owners.ledger.find_owned(mine, ["conv_9"]) == {}


async def test_an_account_has_so_many(tmp_path: Path) -> None:
    async with owners_of(tmp_path, most=4) as (owners, mine, other):
        for _ in range(5):  # nothing comes of these
            await owners.check_room(mine)
        await owners.ledger.own([row_of(mine, "resp_2"), row_of(mine, "resp_3")])
        with pytest.raises(OwnedLimitError) as refused:
            await owners.check_room(mine)
        assert refused.value.status == 429
        await owners.check_room(other)
        await owners.ledger.prune_owned(2_000)
        await owners.check_room(mine)
