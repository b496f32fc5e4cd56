"""One fetch: resolve once, check every address, connect to one of those, read within bounds."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Final

import trio

from engine.egress.errors import EgressFailedError, EgressRefusedError
from engine.egress.hosts import Address
from engine.egress.policy import EgressPolicy
from engine.egress.targets import Target, parse_target
from engine.errors import UpstreamError
from engine.upstream.tunnel import open_tunnel
from engine.wire.http import Headers
from engine.wire.http1 import Http1Connection, Http1Error
from engine.wire.http2_fields import MalformedFieldsError
from engine.wire.inflate import InflateError, InflateLimits, Inflater, choose_coding

_READ_MAX_BYTES: Final = 16_384
_ADDRESSES_MAX: Final = 16
"""A name with more addresses is none that images are kept under."""
_CONNECTIONS_MAX: Final = 3
"""So many of a name's addresses are tried."""
_RESOLVING_MAX: Final = 16
_resolving: trio.lowlevel.RunVar[trio.CapacityLimiter] = trio.lowlevel.RunVar("resolving")
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_RATIO_FREE_BYTES: Final = 65_536
_NO_ADDRESS: Final = "The host of the URL has no address that may be fetched from."
_FAILED: Final = "The server of the URL cannot be reached, or broke off."


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a URL leads to; `content_type` is one of the policy's."""

    data: bytes = field(repr=False)
    content_type: str


def _any_weight(size_bytes: int) -> None:
    """Nobody else bounds it."""


async def fetch(
    url: str, policy: EgressPolicy, weigh: Callable[[int], None] = _any_weight
) -> Fetched:
    """Get what is at a URL that a user has named.

    Args:
        weigh: called with the size of each piece of the body, for a bound on several; what it
            raises ends the fetch.

    Raises:
        EgressRefusedError: the policy refuses it, where it leads, or what is there.
        EgressFailedError: nothing came, in time or at all.
    """
    target = parse_target(url)
    try:
        with trio.fail_after(policy.timeout_s):
            for _ in range(policy.redirects_max + 1):
                found = await _get(target, policy, weigh)
                if isinstance(found, Fetched):
                    return found
                target = found
    except trio.TooSlowError:
        raise EgressFailedError("The server of the URL is too slow.") from None
    raise EgressRefusedError("The URL is redirected too often.")


async def _get(
    target: Target, policy: EgressPolicy, weigh: Callable[[int], None]
) -> Fetched | Target:
    """One request; what is there, or where else it is."""
    addresses = await _resolve(target, policy)
    stream = await _open(addresses, target, policy)
    try:
        return await _Answer(stream, target, policy, weigh).read()
    except (OSError, trio.BrokenResourceError, Http1Error, MalformedFieldsError) as error:
        raise EgressFailedError(_FAILED) from error
    except InflateError as error:
        raise EgressRefusedError(f"What is at the URL cannot be read: {error}.") from None
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
    raise EgressFailedError(_FAILED) from failure


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


class _Answer:
    """One request on a connection of its own, and what is answered."""

    def __init__(
        self,
        stream: trio.abc.Stream,
        target: Target,
        policy: EgressPolicy,
        weigh: Callable[[int], None],
    ) -> None:
        self._stream = stream
        self._target = target
        self._policy = policy
        self._weigh = weigh
        self._http = Http1Connection()
        self._inflater: Inflater | None = None
        self._parts: list[bytes] = []
        self._bytes = 0

    async def read(self) -> Fetched | Target:
        """Ask, and read to the end. Raises what `_get` words."""
        self._http.next_stream(self._request(), body_bytes=0)
        with trio.fail_after(self._policy.idle_timeout_s):
            await self._stream.send_all(self._http.outgoing())
        head: dict[bytes, bytes] | None = None
        ended = False
        while not ended:
            with trio.fail_after(self._policy.idle_timeout_s):
                data = bytes(await self._stream.receive_some(_READ_MAX_BYTES))
            delivery = self._http.receive(data) if data else self._http.receive_eof()
            if delivery is None:
                continue
            if delivery.head is not None:
                head = dict(delivery.head)
                if (moved := self._begin(head)) is not None:
                    return moved
            self._take(delivery.data)
            ended = delivery.ended
        if self._inflater is not None:
            self._inflater.finish()
        if head is None or not self._bytes:
            raise EgressRefusedError("There is nothing at the URL.")
        return Fetched(b"".join(self._parts), _content_type(head))

    def _request(self) -> Headers:
        """Nothing of the client's, and nothing that says whose gateway this is."""
        return [
            (b":method", b"GET"),
            (b":scheme", self._target.scheme.encode()),
            (b":authority", self._target.authority.encode()),
            (b":path", self._target.path.encode()),
            (b"accept", ", ".join(self._policy.accept).encode()),
            (b"accept-encoding", b"identity"),
            (b"user-agent", b"parshall"),
        ]

    def _begin(self, head: dict[bytes, bytes]) -> Target | None:
        """Judge a head; where it is a redirect, where to."""
        status = int(head[b":status"])
        if status in _REDIRECTS and (location := head.get(b"location")):
            return parse_target(location.decode("latin-1"), self._target)
        if status >= 500:
            raise EgressFailedError(f"The server of the URL answers with status {status}.")
        if status != 200:
            raise EgressRefusedError(f"The server of the URL answers with status {status}.")
        if _content_type(head) not in self._policy.accept:
            raise EgressRefusedError(
                f"What is at the URL is none of {', '.join(self._policy.accept)}."
            )
        coding = choose_coding(head.get(b"content-encoding", b"").decode("latin-1"))
        length = head.get(b"content-length", b"")
        if length.isdigit() and int(length) > self._policy.max_bytes:
            raise self._too_large()
        if coding is not None:
            limits = InflateLimits(self._policy.max_bytes, ratio_free_bytes=_RATIO_FREE_BYTES)
            self._inflater = Inflater(coding, limits)
        return None

    def _take(self, data: bytes) -> None:
        if self._inflater is not None:
            data = self._inflater.feed(data)
        self._bytes += len(data)
        if self._bytes > self._policy.max_bytes:
            raise self._too_large()
        if data:
            self._weigh(len(data))
            self._parts.append(data)

    def _too_large(self) -> EgressRefusedError:
        return EgressRefusedError(
            f"What is at the URL is larger than {self._policy.max_bytes} bytes."
        )


def _content_type(head: dict[bytes, bytes]) -> str:
    kind = head.get(b"content-type", b"").decode("latin-1")
    return kind.partition(";")[0].strip().lower()
