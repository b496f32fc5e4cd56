"""The net: so many requests of one address, exactly, and no more memory than was said."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass

import pytest
import trio
from trio.testing import MockClock

from engine.admission.net import NetLimiter
from engine.errors import AddressLimitedError

WINDOW_S = 600
WINDOW_US = WINDOW_S * 1_000_000


@dataclass
class Net:
    """One whose microseconds a test sets."""

    requests: int
    addresses_max: int = 1_000
    now_us: int = 777_000_000_001

    def __post_init__(self) -> None:
        self.limiter = NetLimiter(
            self.requests,
            WINDOW_S,
            addresses_max=self.addresses_max,
            clock_us=lambda: self.now_us,
        )

    def takes(self, address: str, times: int = 1) -> int:
        """How many of so many pass."""
        passed = 0
        for _ in range(times):
            try:
                self.limiter.take(address)
            except AddressLimitedError:
                continue
            passed += 1
        return passed


@pytest.mark.parametrize("requests", [1, 7, 600, 5_000])
def test_a_windows_requests_at_once_and_then_one_by_one(requests: int) -> None:
    net = Net(requests)
    assert net.takes("192.0.2.1", requests + 5) == requests
    began_us = net.now_us
    for nth in range(1, 4):
        due_us = began_us + -(-WINDOW_US * nth // requests)
        net.now_us = due_us - 1
        assert net.takes("192.0.2.1") == 0
        net.now_us = due_us
        assert net.takes("192.0.2.1", 2) == 1
    net.now_us += 5 * WINDOW_US
    assert net.takes("192.0.2.1", requests + 5) == requests


def test_addresses_are_counted_apart() -> None:
    net = Net(3)
    assert [net.takes(address, 5) for address in ("192.0.2.1", "192.0.2.2")] == [3, 3]
    assert net.limiter.addresses == 2


def test_who_is_refused_is_told_for_how_long() -> None:
    net = Net(600)
    net.takes("192.0.2.1", 600)
    with pytest.raises(AddressLimitedError) as caught:
        net.limiter.take("192.0.2.1")
    error = caught.value
    assert (error.status, error.code, error.retry_after_s) == (429, "ip_rate_limited", 1.0)
    assert error.message == "Too many requests from one address: 600 in 600 s."
    net.takes("192.0.2.1", 99)  # costs nothing
    net.now_us += 1_000_000
    assert net.takes("192.0.2.1", 2) == 1


async def test_by_trios_clock_among_tasks(mock_clock: MockClock) -> None:
    net = NetLimiter(100, 60)
    passed = 0

    async def ask() -> None:
        nonlocal passed
        await trio.lowlevel.checkpoint()
        try:
            net.take("192.0.2.1")
        except AddressLimitedError:
            return
        passed += 1

    for jump_s, expected in ((0, 100), (0.599, 0), (0.001, 1), (59.4, 99), (3_600, 100)):
        mock_clock.jump(jump_s)
        passed = 0
        async with trio.open_nursery() as nursery:
            for _ in range(200):
                nursery.start_soon(ask)
        assert passed == expected, jump_s


@pytest.mark.parametrize("seed", range(5))
def test_turning_the_tables_forgets_nobody_who_owes(seed: int) -> None:
    """Against one that keeps every address for ever."""
    chance = random.Random(seed)
    net = Net(5)
    whole_at: defaultdict[str, int] = defaultdict(int)
    step_us = WINDOW_US // 5
    addresses = [f"192.0.2.{number}" for number in range(8)]
    for step in range(3_000):
        net.now_us += chance.choice((0, 1, 10, 20, 40)) * WINDOW_US // 1_000
        if chance.random() < 0.002:
            net.now_us += chance.choice((WINDOW_US - 1, WINDOW_US, 2 * WINDOW_US, 9 * WINDOW_US))
        address = chance.choice(addresses)
        after = max(whole_at[address], net.now_us) + step_us
        expected = after - net.now_us <= WINDOW_US
        if expected:
            whole_at[address] = after
        assert bool(net.takes(address)) == expected, f"seed {seed}, step {step}"
        assert net.limiter.addresses <= len(addresses)


def test_what_is_remembered_is_bounded_and_what_is_known_stays_counted() -> None:
    net = Net(2, addresses_max=100)
    for number in range(100):
        assert net.takes(f"a{number}", 3) == 2
    for number in range(300):
        assert net.takes(f"b{number}", 3) == 3
    assert (net.limiter.addresses, net.limiter.uncounted) == (100, 900)
    assert net.takes("a7") == 0

    net.now_us += WINDOW_US  # all are whole again; the older table is looked up still
    assert net.takes("a7", 3) == 2
    assert net.limiter.addresses == 100
    net.now_us += WINDOW_US
    assert net.takes("c1", 3) == 2
    assert net.limiter.addresses == 2  # and a7
    net.now_us += 2 * WINDOW_US
    net.takes("c2")
    assert net.limiter.addresses == 1
