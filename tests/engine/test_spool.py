"""Files without names, for bodies that are too large for memory."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest
import trio

from engine import ConfigError
from engine.spool import Spool, SpoolError
from tests.gateways import open_setup


async def test_a_file_holds_what_was_appended_and_has_no_name(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1_000)
    file = spool.open()
    await file.append([b"one ", b"two "])
    await file.append([b"three"])

    assert os.listdir(tmp_path) == []
    assert stat.S_IMODE(os.fstat(file.passed()).st_mode) == 0o600
    assert b"".join(file.pieces()) == b"one two three"
    assert await file.read(4, 3) == b"two"
    assert await file.read(100, 3) == b""
    assert spool.used_bytes == file.size_bytes == 13
    file.close()
    assert spool.used_bytes == 0
    with pytest.raises(SpoolError):
        await file.read(0, 1)
    file.close()


async def test_what_another_process_has_written_counts_too() -> None:
    spool = Spool(None, 1_000)
    file = spool.open()
    os.pwrite(file.passed(), b"x" * 700, 0)
    file.measure()
    assert (file.size_bytes, spool.used_bytes) == (700, 700)
    other = spool.open()
    with pytest.raises(SpoolError):
        await other.append([b"x" * 301])
    await other.append([b"x" * 300])
    other.close()
    file.close()
    assert spool.used_bytes == 0


async def test_a_file_that_nobody_has_any_more_is_closed() -> None:
    spool = Spool(None, 1_000)
    file = spool.open()
    await file.append([b"x" * 10])
    fd = file.passed()
    del file

    assert spool.used_bytes == 0
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


async def test_closing_waits_for_no_thread_and_takes_no_file_from_it() -> None:
    spool = Spool(None, 1_000)
    file = spool.open()
    reading, closed = threading.Event(), threading.Event()

    def read() -> int:
        with file._using() as fd:
            reading.set()
            closed.wait()
            os.fstat(fd)  # it is there still
        return fd

    async with trio.open_nursery() as nursery:

        async def read_apart() -> None:
            fd = await trio.to_thread.run_sync(read)
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(fd)

        nursery.start_soon(read_apart)
        await trio.to_thread.run_sync(reading.wait)
        file.close()
        closed.set()


async def test_a_folder_that_cannot_be_written_to_is_said_at_the_start(tmp_path: Path) -> None:
    server = f'spool_dir = "{tmp_path / "absent"}"'
    with pytest.raises(ConfigError, match=r"test\.toml:\d+: server\.spool_dir is no folder that"):
        async with open_setup(tmp_path, server=server):
            raise AssertionError("it must not open")
