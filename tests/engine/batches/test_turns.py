"""No account keeps others from having their batches read."""

from __future__ import annotations

import trio
import trio.testing

from engine.batches.turns import Turns


async def test_one_account_has_one_turn_at_a_time_and_others_theirs() -> None:
    turns, read = Turns(), list[str]()
    go_on = trio.Event()

    async def work(account_id: str) -> None:
        async with turns.take(account_id):
            read.append(account_id)
            await go_on.wait()

    async with trio.open_nursery() as nursery:
        for account_id in ("many", "many", "many"):
            nursery.start_soon(work, account_id)
        await trio.testing.wait_all_tasks_blocked()
        assert read == ["many"]
        nursery.start_soon(work, "few")
        await trio.testing.wait_all_tasks_blocked()
        assert read == ["many", "few"]
        assert len(turns) == 2
        go_on.set()
    assert sorted(read) == ["few", "many", "many", "many"]
    assert len(turns) == 0, "nothing is kept of who was here"


async def test_who_leaves_while_it_waits_keeps_no_turn() -> None:
    turns = Turns()

    async def wait() -> None:
        async with turns.take("a"):
            raise AssertionError("it is not its turn")

    async with turns.take("a"):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert len(turns) == 1
    assert len(turns) == 0
