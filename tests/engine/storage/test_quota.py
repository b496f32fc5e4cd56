"""What an account may store is exact, however many files come at once, whatever they come to."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
import trio

from engine.errors import GatewayError, StorageLimitError, StorageUnavailableError
from engine.storage.quota import Quota
from tests.engine.ledger.samples import database_locked
from tests.engine.storage.stores import Stored, open_store

SIZE = 1_000
UPLOADS = 50


class Crowd:
    """Uploads of `SIZE` bytes each, all at once; each is watched after every step."""

    def __init__(self, stored: Stored, *, said: bool = True) -> None:
        self.stored = stored
        self.said = said
        self.done = self.refused = self.cancelled = 0

    async def upload(self, cancel_at: int | None = None) -> None:
        """One, in ten parts; cancelled in the middle of its part `cancel_at`."""
        stored, scope = self.stored, trio.CancelScope()
        size = SIZE if self.said else None
        limit = stored.limit_bytes
        try:
            with scope:
                async with stored.store.open_upload(stored.account_id, limit, size) as upload:
                    for part in range(10):
                        if part == cancel_at:
                            scope.cancel()
                        await upload.append(b"x" * (SIZE // 10))
                        self.watch()
                        await trio.lowlevel.checkpoint()
                    if cancel_at == 10:
                        scope.cancel()
                    await upload.finish(filename="a", purpose="batch", mime_type="text/plain")
                self.done += 1
        except StorageLimitError:
            self.refused += 1
        self.cancelled += scope.cancelled_caught
        self.watch()

    def watch(self) -> None:
        quota = self.stored.store.quota
        assert quota.stored_bytes + quota.reserved_bytes <= self.stored.limit_bytes

    async def come(self, cancels: list[int | None]) -> None:
        async with trio.open_nursery() as nursery:
            for cancel_at in cancels:
                nursery.start_soon(self.upload, cancel_at)
        await self.stored.store.tidy()
        await self.stored.check()


@pytest.mark.parametrize(
    ("limit_bytes", "fit"),
    [(UPLOADS * SIZE, 50), (UPLOADS * SIZE - 1, 49), (30 * SIZE, 30), (SIZE - 1, 0)],
)
async def test_exactly_so_many_fit(tmp_path: Path, limit_bytes: int, fit: int) -> None:
    async with open_store(tmp_path) as stored:
        stored.limit_bytes = limit_bytes
        crowd = Crowd(stored)
        await crowd.come([None] * UPLOADS)
        assert (crowd.done, crowd.refused) == (fit, UPLOADS - fit)
        assert stored.store.used_bytes(stored.account_id) == fit * SIZE


@pytest.mark.parametrize("seed", range(4))
async def test_who_is_cancelled_gives_everything_back(tmp_path: Path, seed: int) -> None:
    """Whenever that is: before the first byte, between two, while all of it is made durable."""
    chance = Random(seed)
    cancels = [chance.choice([None, None, *range(11)]) for _ in range(UPLOADS)]
    async with open_store(tmp_path) as stored:
        stored.limit_bytes = 30 * SIZE
        crowd = Crowd(stored, said=bool(seed % 2))
        await crowd.come(cancels)
        used = stored.store.used_bytes(stored.account_id)
        assert used == crowd.done * SIZE <= stored.limit_bytes
        assert crowd.done + crowd.refused + crowd.cancelled == UPLOADS
        left = stored.limit_bytes - used
        with pytest.raises(StorageLimitError):
            await stored.put(b"x" * (left + 1))
        await stored.put(b"x" * left)
        assert stored.store.used_bytes(stored.account_id) == stored.limit_bytes
        await stored.check()


async def test_what_says_too_much_beforehand_gives_the_rest_back(tmp_path: Path) -> None:
    async with open_store(tmp_path) as stored:
        async with stored.store.open_upload(stored.account_id, 1_000, 1_000) as upload:
            await upload.append(b"x")
            stored.limit_bytes = 1_000
            with pytest.raises(StorageLimitError):
                await stored.put(b"y")
            await upload.finish(filename="a", purpose="batch", mime_type="text/plain")
        await stored.put(b"x" * 999)
        await stored.check()


async def test_a_row_that_comes_too_late_is_taken_back(tmp_path: Path) -> None:
    """Whoever was told that a file is not stored finds none, and pays no room for one."""
    async with open_store(tmp_path, commit_timeout_s=0.1) as stored:
        with database_locked(tmp_path / "ledger.db"), pytest.raises(GatewayError):
            await stored.put(b"x" * 100)
        await stored.ledger.catch_up()
        with trio.fail_after(10):
            while stored.store.unwanted or stored.store.doubtful or stored.store.leftovers:
                await stored.store.tidy()
        assert await stored.ledger.file_sizes() == {}
        assert stored.blobs() == []
        await stored.check()


async def test_a_store_with_a_problem_takes_nothing(tmp_path: Path) -> None:
    async with open_store(tmp_path) as stored:
        stored.store.problem = "it is being looked at"
        with pytest.raises(StorageUnavailableError):
            await stored.put(b"x")


def test_nothing_is_remembered_of_accounts_without_files() -> None:
    quota = Quota(10)
    with pytest.raises(StorageLimitError):
        quota.open("a", 10).reach(11)
    for _ in range(3):
        quota.open("b", 10).give_back()
    assert quota.uploads_of("a") == 1, "its block has not ended"
    assert set(quota._accounts) == {"a"}
