"""Listening sockets that another process holds, and what is left of Unix sockets."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import trio

from frontends.server.binds import BindError, address_of, listening


class Keeper:
    """Holds duplicates of what it is given, as a supervisor does."""

    def __init__(self) -> None:
        self.held: dict[str, list[socket.socket]] = {}

    def take(self, bind: str) -> list[socket.socket]:
        return [sock.dup() for sock in self.held.get(bind, [])]

    def hold(self, opened: Mapping[str, Sequence[socket.socket]]) -> bool:
        self.held |= {bind: [sock.dup() for sock in sockets] for bind, sockets in opened.items()}
        return True

    def close(self) -> None:
        for sockets in self.held.values():
            for sock in sockets:
                sock.close()


async def test_what_is_held_outlives_who_served_it(tmp_path: Path) -> None:
    """Whoever connects in between waits in the kernel's queue."""
    path = tmp_path / "p.sock"
    binds = ("127.0.0.1:0", f"unix:{path}")
    keeper = Keeper()
    with listening(binds, keeper) as listeners:
        addresses = [address_of(listener) for listener in listeners]
    assert path.exists()
    host, _, port = addresses[0].rpartition(":")
    async with await trio.open_tcp_stream(host, int(port)), await trio.open_unix_socket(path):
        with listening(binds, keeper) as listeners:
            assert [address_of(listener) for listener in listeners] == addresses
            for listener in listeners:
                await (await listener.accept()).aclose()
    keeper.close()
    with pytest.raises(OSError, match="all attempts to connect"):
        await trio.open_tcp_stream(host, int(port))


async def test_a_bind_that_is_new_is_opened_beside_those_that_are_held(tmp_path: Path) -> None:
    keeper = Keeper()
    with listening(["127.0.0.1:0"], keeper) as [first]:
        port = first.socket.getsockname()[1]
    with listening(["127.0.0.1:0", f"unix:{tmp_path / 'p.sock'}"], keeper) as [again, added]:
        assert again.socket.getsockname()[1] == port
        assert added.socket.family == socket.AF_UNIX
    assert len(keeper.held) == 2
    keeper.close()


@pytest.mark.parametrize("keeper", [None, Keeper()], ids=["alone", "held"])
async def test_of_binds_that_cannot_all_be_had_nothing_is_left(
    tmp_path: Path, keeper: Keeper | None
) -> None:
    path = tmp_path / "p.sock"
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(BindError, match="stop what listens there"),
        listening([f"unix:{path}", f"127.0.0.1:{taken.getsockname()[1]}"], keeper),
    ):
        raise AssertionError("it listens")
    assert not path.exists()
    assert keeper is None or keeper.held == {}


async def test_without_a_keeper_a_unix_path_goes_with_its_server(tmp_path: Path) -> None:
    path = tmp_path / "p.sock"
    with listening([f"unix:{path}"]):
        assert path.exists()
    assert not path.exists()
