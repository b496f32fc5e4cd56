"""One process at a time owns a database."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from engine.ledger import LedgerError, LedgerLockedError, open_ledger
from engine.ledger.lock import lock_path, own_database
from tests.engine.ledger.samples import settings_for

CHILD = """
import sys
from pathlib import Path
from engine.ledger.lock import own_database
with own_database(Path(sys.argv[1])):
    print("owned", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def test_a_symlink_is_the_same_database(path: Path) -> None:
    link = path.with_name("link.db")
    link.symlink_to(path)
    with own_database(path), pytest.raises(LedgerLockedError), own_database(link):
        pass


def test_a_second_process_is_refused_and_told_what_to_do(path: Path) -> None:
    async def open_and_close() -> int:
        async with open_ledger(settings_for(path)) as ledger:
            return ledger.epoch

    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "owned\n"
        with pytest.raises(LedgerLockedError, match="control socket") as refused:
            trio.run(open_and_close)
        assert refused.value.pid == owner.pid
        assert f"process {owner.pid}" in str(refused.value)
        assert not path.exists(), "the database was not touched"
        owner.kill()
    assert trio.run(open_and_close) == 1


async def test_a_process_is_refused_its_own_database_too(path: Path) -> None:
    async with open_ledger(settings_for(path)):
        assert lock_path(path).read_text() == f"{os.getpid()}\n"
        with pytest.raises(LedgerLockedError):
            async with open_ledger(settings_for(path)):
                pytest.fail("two owners")
    assert lock_path(path).read_text() == ""
    with own_database(path):
        pass


async def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="No such file or directory"):
        async with open_ledger(settings_for(tmp_path / "missing" / "ledger.db")):
            pytest.fail("there is no such folder")


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    async def open_it() -> None:
        async with open_ledger(settings_for(path)):
            pytest.fail("it is no database")

    path.write_bytes(b"this is no database, but it is long enough to be taken for one" * 100)
    with pytest.raises(LedgerError, match="not a database"):
        trio.run(open_it)
    with own_database(path):
        pass
