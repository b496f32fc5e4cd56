"""Uploads in several requests, over time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from engine.admission.keys import KeyEntry
from engine.errors import NotFoundError, StorageLimitError, UploadBusyError
from engine.storage.sessions import (
    FINISHED_KEPT_S,
    IDLE_MAX_S,
    Announced,
    UploadSessions,
    open_sessions,
)
from tests.gateways import Setup, open_setup

NEWS = Announced("a.bin", "application/pdf", 8)


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[tuple[Setup, UploadSessions, KeyEntry]]:
    async with open_setup(folder) as setup:
        entry = setup.gateway.identify(setup.key, "inference").entry
        async with open_sessions(setup.gateway.files) as sessions:
            yield setup, sessions, entry


@pytest.fixture
def clock() -> MockClock:
    """It stands: threads take no time."""
    return MockClock()


async def test_what_nothing_comes_for_is_over(tmp_path: Path, clock: MockClock) -> None:
    async with opened(tmp_path) as (setup, sessions, entry):
        quota = setup.gateway.files.quota
        session = await sessions.begin(entry, 100, NEWS)
        await session.append(b"1234")
        clock.jump(IDLE_MAX_S - 1)
        with session.taken():
            clock.jump(IDLE_MAX_S)
            assert sessions.find(session.session_id) is session, "somebody works on it"
        clock.jump(IDLE_MAX_S - 1)
        assert sessions.find(session.session_id) is session
        clock.jump(1)
        with pytest.raises(NotFoundError):
            sessions.find(session.session_id)
        assert quota.reserved_bytes == 8
        clock.jump(10)
        await _quiet(lambda: quota.open_uploads == 0)
        assert len(sessions) == 0
        assert (quota.reserved_bytes, quota.open_uploads) == (0, 0)
        assert list((tmp_path / "files" / "tmp").iterdir()) == []


async def test_a_finished_one_is_remembered_for_a_while(tmp_path: Path, clock: MockClock) -> None:
    async with opened(tmp_path) as (_, sessions, entry):
        session = await sessions.begin(entry, 100, NEWS)
        with session.taken():
            await session.append(b"12345678")
            row = await session.upload.finish(
                filename="a.bin", purpose="user_data", mime_type="application/pdf"
            )
            await sessions.keep(session, row)
        assert sessions.find(session.session_id).row == row
        clock.jump(FINISHED_KEPT_S)
        with pytest.raises(NotFoundError):
            sessions.find(session.session_id)
        clock.jump(10)
        await _quiet(lambda: len(sessions) == 0)


async def test_one_request_at_a_time(tmp_path: Path) -> None:
    async with opened(tmp_path) as (_, sessions, entry):
        session = await sessions.begin(entry, 100, NEWS)
        with session.taken():
            with pytest.raises(UploadBusyError), session.taken():
                pass
            assert session.busy


async def test_what_is_open_at_the_end_is_dropped(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        store = setup.gateway.files
        entry = setup.gateway.identify(setup.key, "inference").entry
        async with open_sessions(store) as sessions:
            await sessions.begin(entry, 100, NEWS)
            with pytest.raises(StorageLimitError):
                await sessions.begin(entry, 15, NEWS)
            assert store.quota.reserved_bytes == 8
        assert (store.quota.reserved_bytes, store.quota.open_uploads) == (0, 0)
        assert list((tmp_path / "files" / "tmp").iterdir()) == []


async def test_bytes_are_kept_when_their_client_leaves(tmp_path: Path) -> None:
    async with opened(tmp_path) as (_, sessions, entry):
        session = await sessions.begin(entry, 100, NEWS)
        with trio.CancelScope() as scope:
            scope.cancel()
            await session.append(b"1234")
        assert scope.cancelled_caught
        assert (session.received_bytes, session.unsure) == (4, False)
        await session.append(b"5678")
        row = await session.upload.finish(filename="a", purpose="user_data", mime_type="a/b")
        assert row.size_bytes == 8


async def _quiet(condition: Callable[[], bool]) -> None:
    """By the turns of the loop: the clock stands."""
    for _ in range(10_000):
        if condition():
            return
        await trio.to_thread.run_sync(lambda: None)
    raise AssertionError
