"""The flusher: once for many touches, after the task that touched, later while the loop lags."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from frontends.server.flusher import FULL_LAG_S, PROMPT_LAG_S, Flusher

COALESCE_S = 0.005


@asynccontextmanager
async def open_flusher(lags: Callable[[], float] = lambda: 0.0) -> AsyncIterator[Flusher]:
    flusher = Flusher(COALESCE_S, lags)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(flusher.run)
        await wait_all_tasks_blocked()
        yield flusher
        nursery.cancel_scope.cancel()


async def test_it_calls_once_after_the_step_of_the_task_that_touches() -> None:
    calls: list[str] = []

    def first() -> None:
        calls.append("first")

    def second() -> None:
        calls.append("second")

    async with open_flusher() as flusher:
        for _ in range(3):
            flusher.touch(first)
            flusher.touch(second)
        assert calls == []
        await wait_all_tasks_blocked()
        assert calls == ["first", "second"]
        flusher.touch(first)
        await wait_all_tasks_blocked()
        assert calls == ["first", "second", "first"]


async def test_what_a_flush_touches_is_called_later_and_others_have_their_turn() -> None:
    calls = 0

    def again() -> None:
        nonlocal calls
        calls += 1
        flusher.touch(again)

    async with open_flusher() as flusher:
        flusher.touch(again)
        for _ in range(5):  # this task still runs
            await trio.lowlevel.checkpoint()
        assert 0 < calls <= 5


async def test_a_flush_that_fails_is_logged_and_harms_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    called = trio.Event()

    def fail() -> None:
        raise RuntimeError("a planted fault")

    async with open_flusher() as flusher:
        flusher.touch(fail)
        flusher.touch(called.set)
        await called.wait()
    assert "a planted fault" in caplog.text


async def test_without_its_task_it_calls_at_once() -> None:
    calls: list[str] = []
    flusher = Flusher(COALESCE_S)
    flusher.touch(lambda: calls.append("before"))
    assert calls == ["before"]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(flusher.run)
        await wait_all_tasks_blocked()
        flusher.touch(lambda: calls.append("waiting"))
        nursery.cancel_scope.cancel()  # what waits is called all the same
    flusher.touch(lambda: calls.append("after"))
    assert calls == ["before", "waiting", "after"]


async def test_the_window_opens_with_the_lag_and_closes_again(mock_clock: MockClock) -> None:
    lag_s = 0.0
    calls: list[str] = []

    async def look_again() -> None:
        mock_clock.jump(1.0)
        await wait_all_tasks_blocked()

    async with open_flusher(lambda: lag_s) as flusher:
        lag_s = PROMPT_LAG_S
        await look_again()
        assert flusher.window_s == 0
        lag_s = (PROMPT_LAG_S + FULL_LAG_S) / 2
        await look_again()
        assert flusher.window_s == pytest.approx(COALESCE_S / 2)
        lag_s = 10 * FULL_LAG_S
        await look_again()
        assert flusher.window_s == COALESCE_S

        flusher.touch(lambda: calls.append("held back"))
        await wait_all_tasks_blocked()
        assert calls == []
        mock_clock.jump(COALESCE_S)
        await wait_all_tasks_blocked()
        assert calls == ["held back"]

        lag_s = 0.0
        await look_again()
        flusher.touch(lambda: calls.append("at once"))
        await wait_all_tasks_blocked()
        assert calls == ["held back", "at once"]
