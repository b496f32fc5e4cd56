"""The audit of files finds whatever is planted, and nothing while files come and go."""

from __future__ import annotations

import os
from pathlib import Path

import trio

from engine.file_ids import new_file_id
from engine.storage.auditing import audit_files
from engine.storage.blobs import path_of
from tests.engine.ledger.samples import raw_database
from tests.engine.storage.stores import Stored, open_store


async def broken(stored: Stored) -> list[str]:
    return [finding.detail for finding in await audit_files(stored.store) if not finding.ok]


async def test_what_is_planted_is_found(tmp_path: Path) -> None:
    async with open_store(tmp_path) as stored:
        short, gone, kept = [await stored.put(b"what is stored") for _ in range(3)]
        findings = await audit_files(stored.store)
        assert [(finding.ok, finding.figure) for finding in findings] == [
            (True, 1),
            (True, 3),
            (True, 3),
        ]
        os.truncate(path_of(stored.folder, short.file_id), 3)
        path_of(stored.folder, gone.file_id).unlink()
        strange = path_of(stored.folder, new_file_id())
        strange.parent.mkdir(exist_ok=True)
        strange.write_bytes(b"x")
        with raw_database(tmp_path / "ledger.db") as db:
            db.execute("DROP TRIGGER files_no_update")
            db.execute(
                "UPDATE files SET size_bytes = size_bytes + 1 WHERE file_id = ?", (kept.file_id,)
            )
        assert await broken(stored) == [
            f"1 broken: {stored.account_id}",
            f"3 broken: {', '.join(sorted([short.file_id, kept.file_id]))}, {gone.file_id}",
            f"1 broken: {strange.name}",
        ]


async def test_files_that_come_and_go_are_no_fault(tmp_path: Path) -> None:
    async with open_store(tmp_path) as stored:

        async def come_and_go() -> None:
            for _ in range(15):
                row = await stored.put(b"x")
                await stored.store.delete(stored.account_id, row.file_id)

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(come_and_go)
            for _ in range(15):
                assert await broken(stored) == []


async def test_a_store_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    async with open_store(tmp_path) as stored:
        stored.folder.rename(tmp_path / "moved")
        [said] = await broken(stored)
        assert said.startswith("cannot be checked: ")
        (tmp_path / "moved").rename(stored.folder)
