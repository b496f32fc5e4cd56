"""A connection to where a URL leads: resolved once, every address checked, one of those dialled."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Final

import trio

from engine.egress.errors import EgressFailedError, EgressRefusedError
from engine.egress.hosts import Address
from engine.egress.policy import EgressPolicy
from engine.egress.targets import Target
from engine.errors import UpstreamError
from engine.upstream.tunnel import open_tunnel

FAILED: Final = "The server of the URL cannot be reached, or broke off."
TOO_SLOW: Final = "The server of the URL is too slow."
_ADDRESSES_MAX: Final = 16
"""A name with more addresses is none that images are kept under."""
_CONNECTIONS_MAX: Final = 3
"""So many of a name's addresses are tried."""
_RESOLVING_MAX: Final = 16
_resolving: trio.lowlevel.RunVar[trio.CapacityLimiter] = trio.lowlevel.RunVar("resolving")
_NO_ADDRESS: Final = "The host of the URL has no address that may be fetched from."


@asynccontextmanager
async def reach(target: Target, policy: EgressPolicy) -> AsyncIterator[trio.abc.Stream]:
    """A connection of its own for one request; closed at once when the block is left.

    Raises:
        EgressRefusedError: the policy refuses the URL, or what its host resolves to.
        EgressFailedError: none of the addresses takes a connection.
    """
    addresses = await _resolve(target, policy)
    stream = await _open(addresses, target, policy)
    try:
        yield stream
    finally:
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(stream)


async def _resolve(target: Target, policy: EgressPolicy) -> list[Address]:
    """The addresses of a host, which are resolved here and nowhere again. One that may not be
    reached spoils all: whoever answers so has no good intentions."""
    if not policy.allows(target.scheme, target.host, target.port):
        raise EgressRefusedError("The scheme, the host or the port of the URL is not allowed.")
    try:
        addresses = await _look_up(target.host, target.port)
    except (OSError, UnicodeError, ValueError):
        raise EgressRefusedError(_NO_ADDRESS) from None
    reachable = all(policy.may_reach(address, target.host) for address in addresses)
    if not addresses or len(addresses) > _ADDRESSES_MAX or not reachable:
        raise EgressRefusedError(_NO_ADDRESS)
    return addresses


async def _look_up(host: str, port: int) -> list[Address]:
    """Ask the system, in a thread. A name whose servers never answer holds its thread for longer
    than anybody waits, and must not use up those that everything else runs in."""
    try:
        limiter = _resolving.get()
    except LookupError:
        limiter = trio.CapacityLimiter(_RESOLVING_MAX)
        _resolving.set(limiter)
    ask = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await trio.to_thread.run_sync(ask, limiter=limiter, abandon_on_cancel=True)
    return list(dict.fromkeys(ipaddress.ip_address(row[4][0]) for row in found))


async def _open(addresses: list[Address], target: Target, policy: EgressPolicy) -> trio.abc.Stream:
    context = None
    if target.scheme == "https":
        context = await trio.to_thread.run_sync(_tls_context, policy.ca_file)
    failure: Exception | None = None
    for address in addresses[:_CONNECTIONS_MAX]:
        try:
            with trio.fail_after(policy.idle_timeout_s):
                return await _connect(address, target, policy, context)
        except (OSError, trio.BrokenResourceError, trio.TooSlowError, UpstreamError) as error:
            failure = error
    raise EgressFailedError(FAILED) from failure


async def _connect(
    address: Address, target: Target, policy: EgressPolicy, context: ssl.SSLContext | None
) -> trio.abc.Stream:
    """A stream to an address, never to a name; the name is for the certificate only."""
    tcp: trio.abc.Stream
    if policy.proxy is not None:
        tcp = await open_tunnel(policy.proxy, str(address), target.port)
    else:
        tcp = await trio.open_tcp_stream(str(address), target.port)
    if context is None:
        return tcp
    try:
        stream = trio.SSLStream(tcp, context, server_hostname=target.host)
        await stream.do_handshake()
    except BaseException:
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(tcp)
        raise
    return stream


@lru_cache(maxsize=4)
def _tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Loaded once: it takes tens of milliseconds."""
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
