"""Who listens where, as the kernel tells."""

from __future__ import annotations

import os
import socket

import pytest

from bench.peers.tree import born, is_loopback, listener_of, listens_on, session_of


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_listener_is_found_by_its_port_and_by_its_process(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as server:
        port = server.getsockname()[1]
        assert (host, port) in listens_on([os.getpid()])
        assert listener_of(port) == os.getpid()
    assert (host, port) not in listens_on([os.getpid()])


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("::ffff:10.0.0.1", False),
        ("10.0.0.1", False),
        ("example.com", False),
    ],
)
def test_loopback_is_what_no_other_machine_reaches(host: str, ours: bool) -> None:
    assert is_loopback(host) is ours


def test_a_process_is_of_its_session_and_has_been_born() -> None:
    assert os.getpid() in session_of(os.getsid(0))
    assert born(os.getpid()) > 0
    assert born(2**22 + 1) == 0  # above PID_MAX_LIMIT, so there is none
