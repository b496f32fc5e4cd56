"""Names and addresses: the next address when one is dead, and a new look-up for each connection."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
import trio
import trio.testing

from engine.errors import UpstreamTimeoutError, UpstreamUnreachableError
from engine.upstream.connection import open_connection

from .peer import Collector, Peer, open_peer, request_head

NAME = "provider.test"
ALIVE, DEAD, REFUSING = "127.0.0.1", "127.0.0.2", "127.0.0.3"


class Resolver(trio.abc.HostnameResolver):
    """Knows one name, and counts how often it was asked for."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.lookups = 0

    async def getaddrinfo(
        self,
        host: bytes | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,  # noqa: A002 - the interface's
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        assert host == NAME.encode()
        self.lookups += 1
        await trio.lowlevel.checkpoint()
        if not self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))
            for address in self.addresses
        ]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        raise AssertionError("nobody asks")


def resolve_to(*addresses: str) -> Resolver:
    """For the rest of this run."""
    resolver = Resolver(*addresses)
    trio.socket.set_custom_hostname_resolver(resolver)
    return resolver


@contextmanager
def dead_address(port: int) -> Iterator[None]:
    """A listener at DEAD whose queue is full: the kernel drops what else comes, as a dead host."""
    with closing(socket.socket()) as listener:
        listener.bind((DEAD, port))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex((DEAD, port))
            yield
        finally:
            for filler in fillers:
                filler.close()


def named(peer: Peer, **fields: object) -> Any:
    return peer.provider(base_url=f"http://{NAME}:{peer.port}/v1", **fields)


async def answered(peer: Peer) -> None:
    provider, collector = named(peer), Collector()
    async with open_connection(provider.origin) as connection:
        connection.open_stream_nowait(request_head(provider), b"", collector)
        (await peer.next_request()).answer(b"here", ended=True)
        assert (await collector.wait_over()).data == b"here"


async def test_a_dead_address_is_passed_over() -> None:
    async with open_peer() as peer:
        resolve_to(DEAD, ALIVE)
        with dead_address(peer.port), trio.fail_after(30):  # the kernel would try for minutes
            await answered(peer)


async def test_a_refusing_address_is_passed_over() -> None:
    async with open_peer() as peer:
        resolve_to(REFUSING, ALIVE)
        await answered(peer)


async def test_only_dead_addresses_are_given_up_at_the_deadline(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_peer() as peer:
        resolve_to(DEAD)
        started = trio.current_time()
        with dead_address(peer.port), pytest.raises(UpstreamTimeoutError):
            async with open_connection(named(peer, connect_timeout_s=3).origin):
                pass
        assert trio.current_time() - started == pytest.approx(3)


@pytest.mark.parametrize("addresses", [(), (REFUSING,), (REFUSING, REFUSING)])
async def test_no_address_serves(addresses: tuple[str, ...]) -> None:
    async with open_peer() as peer:
        resolve_to(*addresses)
        with pytest.raises(UpstreamUnreachableError, match="cannot be reached"):
            async with open_connection(named(peer).origin):
                pass


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".test"])
async def test_what_is_no_host_name(host: str) -> None:
    async with open_peer() as peer:
        provider = peer.provider(base_url=f"http://{host}:{peer.port}", connect_timeout_s=5)
        with pytest.raises((UpstreamUnreachableError, UpstreamTimeoutError)):
            async with open_connection(provider.origin):
                pass


async def test_a_name_is_looked_up_for_each_connection() -> None:
    async with open_peer() as peer:
        resolver = resolve_to(ALIVE)
        for count in (1, 2):
            await answered(peer)
            assert resolver.lookups == count
