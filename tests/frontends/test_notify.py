"""What systemd would hear: a datagram socket of its own, at a path or an abstract name."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path

import pytest

from frontends.notify import READY, STOPPING, notify, reloading, watchdog_interval_s


@pytest.mark.parametrize("abstract", [False, True])
def test_a_message_arrives_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool
) -> None:
    name = f"@{tmp_path}" if abstract else str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(name.replace("@", "\0"))
        notify(READY, "STATUS=well")
        notify(STOPPING)
        assert systemd.recv(4_096) == b"READY=1\nSTATUS=well"
        assert systemd.recv(4_096) == b"STOPPING=1"


@pytest.mark.parametrize("name", ["", "/nonexistent/socket", "vsock:2:1234", "@nobody-is-there"])
def test_nobody_who_listens_is_no_error(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    notify(READY)


def test_who_does_not_read_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        for number in range(2_000):
            notify(f"STATUS={number}")
        assert systemd.recv(4_096) == b"STATUS=0"


def test_a_reload_says_when_it_began() -> None:
    first, second = reloading(), reloading()
    assert first.startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert int(first.rpartition("=")[2]) <= int(second.rpartition("=")[2])


@pytest.mark.parametrize(
    ("environ", "interval_s"),
    [
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, 15.0),
        ({"WATCHDOG_USEC": "500000"}, 0.25),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "9"}, None),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "seven"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_fed_twice_in_its_time(
    environ: Mapping[str, str], interval_s: float | None
) -> None:
    assert watchdog_interval_s(environ, {7, 8}) == interval_s


def test_without_systemd_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    before = os.listdir("/proc/self/fd")
    notify(READY)
    assert os.listdir("/proc/self/fd") == before
