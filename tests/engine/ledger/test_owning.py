"""Ids of things at providers: the first owner stays, and nobody is told of another's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import trio

from engine.errors import InvalidRequestError
from engine.ledger import Ledger, open_ledger
from engine.ledger.owned_rows import OwnedQuery, OwnedRow
from engine.owned import OwnedKind
from tests.engine.ledger.samples import (
    completed,
    funded_ledger,
    opening,
    raw_database,
    settings_for,
)

DAY_MS = 86_400_000


def row_of(account_id: str, object_id: str, kind: OwnedKind = "response") -> OwnedRow:
    return OwnedRow(object_id, kind, account_id, "key_1", "sim", "0123456789abcdef", 1_000)


async def ids_of(ledger: Ledger, account_id: str, query: OwnedQuery) -> tuple[list[str], bool]:
    page = await ledger.page_owned(account_id, query)
    return [row.object_id for row in page.rows], page.has_more


async def test_what_is_owned_is_found_by_its_owner_alone(tmp_path: Path) -> None:
    async with funded_ledger(tmp_path / "ledger.db") as (ledger, mine):
        other = (await ledger.create_account("other")).account_id
        row = replace(row_of(mine, "resp_1"), parent_id="conv_1", model="gpt", context_tokens=7)
        ledger.own_nowait([row])

        assert await ledger.find_owned(mine, ["resp_1", "resp_2"]) == {"resp_1": row}
        assert await ledger.find_owned(other, ["resp_1"]) == {}
        assert await ledger.find_owned(mine, ["resp_1"]) == {"resp_1": row}  # from memory


async def test_the_first_owner_stays_for_ever(tmp_path: Path) -> None:
    async with funded_ledger(tmp_path / "ledger.db") as (ledger, mine):
        other = (await ledger.create_account("other")).account_id
        await ledger.own([row_of(mine, "conv_1", "conversation")])
        ledger.own_nowait([replace(row_of(other, "conv_1", "conversation"), context_tokens=9)])

        assert await ledger.find_owned(other, ["conv_1"]) == {}
        await ledger.disown(mine, "conv_1")
        await ledger.own([row_of(other, "conv_1", "conversation")])
        await ledger.own([row_of(mine, "conv_1", "conversation")])
        assert await ledger.find_owned(mine, ["conv_1"]) == {}
        assert await ledger.find_owned(other, ["conv_1"]) == {}


async def test_model_and_context_are_written_anew(tmp_path: Path) -> None:
    async with funded_ledger(tmp_path / "ledger.db") as (ledger, mine):
        row = row_of(mine, "conv_1", "conversation")
        await ledger.own([row])
        assert await ledger.find_owned(mine, ["conv_1"]) == {"conv_1": row}
        ledger.own_nowait([replace(row, context_tokens=40, created_at_ms=2)])
        ledger.own_nowait([replace(row, model="gpt", key_id="key_2")])

        said = replace(row, context_tokens=40, model="gpt")
        assert await ledger.find_owned(mine, ["conv_1"]) == {"conv_1": said}


async def test_an_id_is_durable_with_its_settlement(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    async with funded_ledger(path) as (ledger, mine):
        hold = ledger.hold(mine, "req_1", 10, opening("req_1", mine))
        ticket = ledger.settle(
            hold,
            posted_nanodollars=5,
            overrun_nanodollars=0,
            costs=[],
            receipt=completed(opening("req_1", mine)),
            owned=[row_of(mine, "resp_1"), row_of(mine, "msg_1", "item")],
        )
        await ledger.wait_durable(ticket)
    with raw_database(path) as db:
        assert db.execute("SELECT object_id FROM owned_ids ORDER BY seq").fetchall() == [
            ("resp_1",),
            ("msg_1",),
        ]
    async with open_ledger(settings_for(path)) as ledger:
        assert set(await ledger.find_owned(mine, ["resp_1", "msg_1"])) == {"resp_1", "msg_1"}


@pytest.mark.parametrize("odd", ["", "resp_\ud800", "resp_\0", "x" * 257, "a b", None, 7])
async def test_what_cannot_be_stored_costs_no_settlement(tmp_path: Path, odd: str) -> None:
    async with funded_ledger(tmp_path / "ledger.db") as (ledger, mine):
        hold = ledger.hold(mine, "req_1", 10, opening("req_1", mine))
        ticket = ledger.settle(
            hold,
            posted_nanodollars=5,
            overrun_nanodollars=0,
            costs=[],
            receipt=completed(opening("req_1", mine)),
            owned=[row_of(mine, odd), row_of(mine, "resp_1")],
        )
        await ledger.wait_durable(ticket)
        assert ledger.is_durable(ticket)
        assert set(await ledger.find_owned(mine, ["resp_1"])) == {"resp_1"}


async def test_pages_go_both_ways_and_over_what_is_gone(tmp_path: Path) -> None:
    async with funded_ledger(tmp_path / "ledger.db") as (ledger, mine):
        other = (await ledger.create_account("other")).account_id
        for number in range(6):
            owner = other if number == 2 else mine
            ledger.own_nowait([row_of(owner, f"asst_{number}", "assistant")])
        await ledger.own([row_of(mine, "vs_1", "vector_store")])
        of = OwnedQuery("assistant", limit=2)

        assert await ids_of(ledger, mine, of) == (["asst_5", "asst_4"], True)
        after = replace(of, after="asst_4")
        assert await ids_of(ledger, mine, after) == (["asst_3", "asst_1"], True)
        await ledger.disown(mine, "asst_3")
        assert await ids_of(ledger, mine, after) == (["asst_1", "asst_0"], False)
        rising = replace(of, order="asc")
        assert await ids_of(ledger, mine, rising) == (["asst_0", "asst_1"], True)
        before = replace(of, before="asst_3")
        assert await ids_of(ledger, mine, before) == (["asst_5", "asst_4"], False)
        assert await ids_of(ledger, other, of) == (["asst_2"], False)
        for cursor in ("asst_2", "asst_9", "vs_1"):
            with pytest.raises(InvalidRequestError) as refused:
                await ids_of(ledger, mine, replace(of, after=cursor))
            assert refused.value.param == "after"


async def test_parts_are_listed_by_what_they_are_of_and_go_with_it(tmp_path: Path) -> None:
    async with funded_ledger(tmp_path / "ledger.db") as (ledger, mine):
        parts = [
            replace(row_of(mine, f"msg_{of}{number}", "message"), parent_id=f"thread_{of}")
            for of in "ab"
            for number in range(2)
        ]
        threads = [row_of(mine, f"thread_{of}", "thread") for of in "ab"]
        await ledger.own([*threads, *parts])
        of_a = OwnedQuery("message", parent_id="thread_a", order="asc")

        assert await ids_of(ledger, mine, of_a) == (["msg_a0", "msg_a1"], False)
        assert set(await ledger.find_owned(mine, ["msg_a0", "msg_b0"])) == {"msg_a0", "msg_b0"}
        await ledger.disown(mine, "thread_a")
        assert set(await ledger.find_owned(mine, ["msg_a0", "msg_b0"])) == {"msg_b0"}
        assert await ids_of(ledger, mine, of_a) == ([], False)


async def test_responses_are_forgotten_after_a_while(tmp_path: Path) -> None:
    async with funded_ledger(tmp_path / "ledger.db") as (ledger, mine):
        kept = replace(row_of(mine, "msg_c", "item"), parent_id="conv_1")
        gone = replace(row_of(mine, "msg_r", "item"), parent_id="resp_1")
        vs = row_of(mine, "vs_1", "vector_store")
        new = replace(row_of(mine, "resp_2"), created_at_ms=3 * DAY_MS)
        await ledger.own([row_of(mine, "resp_1"), kept, gone, vs, new])
        ids = ["resp_1", "msg_c", "msg_r", "vs_1", "resp_2"]
        assert set(await ledger.find_owned(mine, ids)) == set(ids)

        assert await ledger.prune_owned(2 * DAY_MS) == 2
        assert set(await ledger.find_owned(mine, ids)) == {"msg_c", "vs_1", "resp_2"}
        assert await ledger.count_owned(mine) == 3


async def test_what_was_read_before_a_change_is_not_remembered(tmp_path: Path) -> None:
    async with funded_ledger(tmp_path / "ledger.db") as (ledger, mine):
        await ledger.own([row_of(mine, f"vs_{number}", "vector_store") for number in range(40)])
        async with trio.open_nursery() as nursery:
            for number in range(40):
                nursery.start_soon(ledger.find_owned, mine, [f"vs_{number}"])
                nursery.start_soon(ledger.disown, mine, f"vs_{number}")
        assert await ledger.find_owned(mine, [f"vs_{number}" for number in range(40)]) == {}
